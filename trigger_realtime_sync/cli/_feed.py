"""From the callbacks' threads to the main one, which alone writes to the terminal."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from .. import State
from ..errors import TriggerRealtimeError
from ..models import AnyRun
from ..subscription import Subscription

TICK_SECONDS = 0.1
ENDED = frozenset({State.COMPLETED, State.CANCELLED, State.FAILED})


@attrs.frozen
class RunChanged:
    run: AnyRun


@attrs.frozen
class PartsCame:
    key: str
    parts: list[Any]


@attrs.frozen
class Trouble:
    error: TriggerRealtimeError


Event = RunChanged | PartsCame | Trouble


class Feed:
    """What happened, in order. Short, so that a slow terminal holds the callbacks back: run states
    coalesce then, and streams are read no faster than they are shown."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Event] = queue.Queue(maxsize=32)
        self._closed = threading.Event()

    def on_update(self, run: AnyRun) -> None:
        self._put(RunChanged(run))

    def on_stream(self, key: str, parts: list[Any]) -> None:
        self._put(PartsCame(key, parts))

    def on_error(self, error: TriggerRealtimeError) -> None:
        if not error.terminal:
            self._put(Trouble(error))

    def events(self, subscriptions: Sequence[Subscription]) -> Iterator[Event | None]:
        """Everything until all have ended; None when nothing happened for a moment.

        Raises:
            TriggerRealtimeError: what ended one of them.
        """
        while True:
            # Looked at before the queue: what ends a subscription comes after all it delivered.
            over = all(one.state in ENDED for one in subscriptions)
            failed = next((one.error for one in subscriptions if one.error is not None), None)
            event = self._get(0 if over or failed else TICK_SECONDS)
            if event is not None:
                yield event
            elif failed is not None:
                raise failed
            elif over:
                return
            else:
                yield None

    def close(self) -> None:
        """Lets go of callbacks that wait for room."""
        self._closed.set()

    def _put(self, event: Event) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(event, timeout=TICK_SECONDS)
            except queue.Full:
                continue
            return

    def _get(self, timeout: float) -> Event | None:
        try:
            return self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
        except queue.Empty:
            return None
