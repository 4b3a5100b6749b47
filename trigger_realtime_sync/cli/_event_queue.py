"""The way from the callbacks' threads to the main thread, which alone writes to the terminal."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import Subscription, TriggerRealtimeError
from ..models import AnyRun
from ._output import warn
from ._views import View

TICK_SECONDS = 0.1
# Small, so that a slow terminal slows the callbacks down: states of runs coalesce then, and streams
# are read no faster than they are shown.
MAX_EVENTS = 32


# Shows, on the main thread, what happened.
Event = Callable[[View], None]


class EventQueue:
    """The events that are still to be shown, in order. Its `on_…` methods are callbacks."""

    def __init__(self) -> None:
        # Not a `queue.Queue`: its lock is taken in Python code, where Ctrl-C may leave it taken.
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(MAX_EVENTS):
            self._room.put(None)
        self._closed = False

    def on_update(self, run: AnyRun) -> None:
        self.put(lambda view: view.show_run(run))

    def on_stream(self, key: str, parts: list[Any]) -> None:
        self.put(lambda view: view.show_parts(key, parts))

    def on_error(self, error: TriggerRealtimeError) -> None:
        if not error.terminal:
            self.put(lambda view: warn(str(error)))

    def put(self, event: Event) -> None:
        """Add an event. Waits as long as there are too many."""
        while not self._closed:
            try:
                self._room.get(timeout=TICK_SECONDS)
            except queue.Empty:
                continue
            self._events.put(event)
            return

    def events(self, subscriptions: Sequence[Subscription]) -> Iterator[Event | None]:
        """Iterate over the events until all subscriptions have ended.

        Yields None if nothing happens for a moment.

        Raises:
            TriggerRealtimeError: the error that ended one of the subscriptions.
        """
        while True:
            # Read before the queue: a subscription ends after it has delivered everything.
            ended = all(one.state.is_ended for one in subscriptions)
            error = next((one.error for one in subscriptions if one.error is not None), None)
            event = self._get(0 if ended or error else TICK_SECONDS)
            if event is not None:
                yield event
            elif error is not None:
                raise error
            elif ended:
                return
            else:
                yield None

    def close(self) -> None:
        """Release callbacks that wait for room in the queue."""
        self._closed = True

    def _get(self, timeout: float) -> Event | None:
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        self._room.put(None)
        return event
