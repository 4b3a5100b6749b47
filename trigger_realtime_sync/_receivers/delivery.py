"""What was posted for one subscriber is delivered to its callbacks, one at a time.

`deliver` runs on a thread of the callback pool, and so do the user's callbacks. The rest is called
under the lock of the channel or the registry; what is public may be read on any thread.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from .._channel.part_store import PartStore, StreamKey, Taker
from ..errors import CallbackError, TriggerRealtimeError
from ..models import AnyRun

logger = logging.getLogger("trigger_realtime_sync")

# Topics of the mailbox: a run's state is posted under its row key (a str), everything else under a
# tuple whose first item is its kind.
COMPLETE, PARTS, FAILURE, ERROR = "complete", "parts", "failure", "error"
# A run whose `on_complete` is due, though its streams may still bring parts.
DRAINED = "drained"
Topic = str | tuple[str, ...]


@attrs.frozen(kw_only=True)
class Callbacks:
    """The callbacks of one subscriber. `on_stream` takes a run's id, a key and new parts."""

    on_update: Callable[[Any], object] | None = None
    on_error: Callable[[TriggerRealtimeError], object] | None = None
    on_complete: Callable[[Any], object] | None = None
    on_stream: Callable[[str, str, list[Any]], object] | None = None


class Addressee(Protocol):
    """What the delivery needs of its receiver."""

    @property
    def id(self) -> str:
        """The id of the subscription."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be delivered any more."""

    def wake(self) -> None:
        """Make waiters re-check their condition."""


class Delivery:
    """What one subscriber has been given so far, and how it is given more.

    Args:
        callbacks: of the user.
        addressee: the receiver whose callbacks they are.

    Attributes:
        completed: the runs of which everything was delivered, by id.
        told_complete: the ids of the runs whose `on_complete` was called.
        position: after the last part that was delivered, or that an iterator yielded.
    """

    def __init__(self, callbacks: Callbacks, addressee: Addressee) -> None:
        self.callbacks = callbacks
        self.completed: dict[str, AnyRun] = {}
        self.told_complete: set[str] = set()
        self.position: Any = None
        self._addressee = addressee
        self._delivered: dict[str, AnyRun] = {}
        self._taker = Taker() if callbacks.on_stream is not None else None
        self._store: PartStore | None = None

    @property
    def takes_parts(self) -> bool:
        """Whether parts are delivered to an `on_stream`."""
        return self._taker is not None

    def take_from(self, store: PartStore) -> None:
        """Take parts from this store from now on; the store waits for it."""
        if self._taker is not None:
            store.add(self._taker)
            self._store = store

    def stop_taking(self) -> None:
        """Let the store no longer wait for it."""
        if self._store is not None and self._taker is not None:
            self._store.remove(self._taker)

    def streams_of(self, run_id: str) -> list[StreamKey]:
        """Return the streams of a run that have parts to take."""
        return [] if self._store is None else self._store.streams(run_id)

    def forget(self) -> None:
        """Forget which states of runs were delivered."""
        self._delivered.clear()

    def start_over(self) -> None:
        """Forget everything that was delivered, parts included."""
        self._delivered.clear()
        if self._taker is not None:
            self._taker.taken.clear()

    def deliver(self, topic: Topic, item: Any) -> None:
        """Call the callback that a topic is for."""
        if isinstance(topic, str):
            self._deliver_run(topic, item)
        elif topic[0] == DRAINED:
            self._tell_complete(item)
        elif topic[0] == COMPLETE:
            self._deliver_complete(item)
        elif topic[0] == PARTS:
            self._deliver_parts(topic[1], topic[2])
        else:
            self.call("on_error", self.callbacks.on_error, item)

    def _deliver_run(self, row_key: str, run: AnyRun) -> None:
        delivered = self._delivered.get(row_key)
        if delivered is run or (delivered is not None and delivered == run):
            return
        self._delivered[row_key] = run
        self.call("on_update", self.callbacks.on_update, run)

    def _deliver_complete(self, run: AnyRun) -> None:
        if run.id in self.completed:
            return
        self._tell_complete(run)
        self.completed[run.id] = run
        self._addressee.wake()

    def _tell_complete(self, run: AnyRun) -> None:
        if run.id not in self.told_complete:
            self.told_complete.add(run.id)
            self.call("on_complete", self.callbacks.on_complete, run)

    def _deliver_parts(self, run_id: str, key: str) -> None:
        if self._store is None or self._taker is None:
            return
        values, position = self._store.take(self._taker, (run_id, key))
        if values:
            self.position = position
            self.call("on_stream", self.callbacks.on_stream, run_id, key, values)

    def call(self, name: str, callback: Callable[..., object] | None, *arguments: Any) -> None:
        """Call a callback, unless nothing may be delivered any more."""
        if callback is None or self._addressee.is_closed:
            return
        try:
            _refuse_what_never_ran(callback(*arguments))
        except BaseException as error:
            failure = CallbackError(
                f"{name} of subscription {self._addressee.id} raised {type(error).__name__}",
                callback=name,
            )
            failure.__cause__ = error
            logger.error("%s", failure, exc_info=error)
            if name != "on_error":
                self.call("on_error", self.callbacks.on_error, failure)


def _refuse_what_never_ran(result: object) -> None:
    """Raise TypeError for what must be awaited or iterated over: nobody does, so it never runs."""
    if result is None:
        return
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError(f"it returned an awaitable ({type(result).__name__}), which nobody awaits")
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError(f"it returned a generator ({type(result).__name__}), which nobody runs")
