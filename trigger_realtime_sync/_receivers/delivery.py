"""What was posted for one subscriber is delivered to its callbacks, one at a time.

`deliver` runs on a thread of the callback pool, and so do the user's callbacks. The rest is called
under the lock of the channel or the registry; what is public may be read on any thread.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Collection
from typing import Any, Protocol

import attrs

from .._channel.part_store import PartStore, StreamKey, Taker
from .._decode.kept_runs import LeftRun, digest_of
from .._http.mask import Secret
from ..errors import CallbackError, TriggerRealtimeError
from ..models import AnyRun
from .completed_runs import CompletedRuns

logger = logging.getLogger("trigger_realtime_sync")

# Topics of the mailbox: a run's state is posted under its row key (a str), everything else under a
# tuple whose first item is its kind.
COMPLETE, PARTS, FAILURE, ERROR = "complete", "parts", "failure", "error"
# A run whose `on_complete` is due, though its streams may still bring parts.
DRAINED = "drained"
# The close of a session, which has no run.
CLOSED = "closed"
# Runs that are no longer part of what is followed: one of them, or all but some.
LEFT, ALL_BUT = "left", "all but"
Topic = str | tuple[str, ...]


@attrs.frozen(kw_only=True)
class Callbacks:
    """The callbacks of one subscriber. `on_stream` takes a run's id, a key and new parts;
    `on_control`, of a session, a name and headers; `report_failure`, which is no user's, a terminal
    error and the id of the subscription."""

    on_update: Callable[[Any], object] | None = None
    on_error: Callable[[TriggerRealtimeError], object] | None = None
    on_complete: Callable[[Any], object] | None = None
    on_stream: Callable[[str, str, list[Any]], object] | None = None
    on_control: Callable[[str, dict[str, str]], object] | None = None
    report_failure: Callable[[TriggerRealtimeError, str], None] | None = None


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
        position: after the last part that was delivered, or that an iterator yielded.
        control_position: after the last control record, where parts are not delivered.
    """

    def __init__(self, callbacks: Callbacks, addressee: Addressee) -> None:
        self.callbacks = callbacks
        self.completed = CompletedRuns()
        self.position: Any = None
        self.control_position: Any = None
        self._addressee = addressee
        # The ids of runs whose `on_complete` was called, and that are not completed yet.
        self._told_complete: set[str] = set()
        # The last delivered states by row key; of runs that left, digests of these by id.
        self._delivered: dict[str, AnyRun] = {}
        self._digests: dict[str, bytes] = {}
        takes = callbacks.on_stream is not None or callbacks.on_control is not None
        self._taker = Taker() if takes else None
        self._store: PartStore | None = None

    @property
    def takes_parts(self) -> bool:
        """Whether parts are delivered to an `on_stream`, or control records among them."""
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

    def streams_of(self, run_id: str | None) -> list[StreamKey]:
        """Return the streams of a run that have parts to take; None for all."""
        return [] if self._store is None else self._store.streams(run_id)

    def end_of_session(self) -> dict[Topic, Any]:
        """Return what remains to be posted of a session that is closed."""
        return {**{(PARTS, *stream): None for stream in self.streams_of(None)}, (CLOSED,): None}

    @property
    def has_delivered(self) -> bool:
        """Whether any run was delivered."""
        return bool(self._delivered)

    def was_told_complete(self, run_id: str) -> bool:
        """Return True if `on_complete` was called for a run."""
        # In this order: it moves from the one to the other.
        return run_id in self._told_complete or run_id in self.completed

    def forget(self) -> None:
        """Forget which states of runs were delivered."""
        self._delivered.clear()
        self._digests.clear()

    def start_over(self) -> None:
        """Forget everything that was delivered, parts included."""
        self.forget()
        if self._taker is not None:
            self._taker.taken.clear()

    def deliver(self, topic: Topic, item: Any) -> None:
        """Call the callback that a topic is for."""
        if isinstance(topic, str):
            self._deliver_run(topic, item)
        elif topic[0] == LEFT:
            self._leave(topic[1], item)
        elif topic[0] == ALL_BUT:
            self._leave_all_but(item)
        elif topic[0] == DRAINED:
            self._tell_complete(item)
        elif topic[0] == COMPLETE:
            self._deliver_complete(item)
        elif topic[0] == PARTS:
            self._deliver_parts(topic[1], topic[2])
        elif topic[0] == CLOSED:
            self.call("on_complete", self.callbacks.on_complete, None)
        else:
            if topic[0] == ERROR and self.callbacks.report_failure is not None:
                self.callbacks.report_failure(item, self._addressee.id)
            self.call("on_error", self.callbacks.on_error, item)

    def _deliver_run(self, row_key: str, run: AnyRun) -> None:
        delivered = self._delivered.get(row_key)
        if delivered is run or (delivered is not None and delivered == run):
            return
        digest = self._digests.pop(run.id, None) if delivered is None else None
        self._delivered[row_key] = run
        if digest is not None and digest == digest_of(run):
            # It is back, as it was.
            return
        self.call("on_update", self.callbacks.on_update, run)

    def _deliver_complete(self, run: AnyRun) -> None:
        if run.id in self.completed:
            return
        self._tell_complete(run)
        self.completed.add(run)
        self._told_complete.discard(run.id)
        self._addressee.wake()

    def _tell_complete(self, run: AnyRun) -> None:
        if not self.was_told_complete(run.id):
            self._told_complete.add(run.id)
            self.call("on_complete", self.callbacks.on_complete, run)

    def _leave(self, row_key: str, left: LeftRun) -> None:
        """Keep no more of a run than what tells a state that was delivered from another one, and,
        if it is completed, what it is returned by."""
        delivered = self._delivered.pop(row_key, None)
        if delivered is not None:
            self._digests[left.run.id] = left.digest_of(delivered)
        self.completed.leave(left.run.id, delivered)

    def _leave_all_but(self, row_keys: Collection[str]) -> None:
        for row_key, run in list(self._delivered.items()):
            if row_key not in row_keys:
                self._leave(row_key, LeftRun(run))

    def _deliver_parts(self, run_id: str, key: str) -> None:
        if self._store is None or self._taker is None:
            return
        if self._store.has_controls:
            self._deliver_in_order(self._store, self._taker, (run_id, key))
            return
        values, position = self._store.take(self._taker, (run_id, key))
        if values:
            self.position = position
            self.call("on_stream", self.callbacks.on_stream, run_id, key, values)

    def _deliver_in_order(self, store: PartStore, taker: Taker, stream: StreamKey) -> None:
        """Deliver parts, and each control record in its place among them."""
        # Imported here, because most clients read no session.
        from .._wire.session_turns import FRESH_TOKEN
        from .._wire.stream_parts import Control

        for item, position in store.take(taker, stream)[0]:
            if self._addressee.is_closed:
                return
            if self.callbacks.on_stream is not None:
                self.position = position
            if isinstance(item, Control):
                self.control_position = position
                headers = {
                    name: Secret(text) if name == FRESH_TOKEN else text
                    for name, text in item.headers.items()
                }
                self.call("on_control", self.callbacks.on_control, item.name, headers)
            else:
                self.call("on_stream", self.callbacks.on_stream, *stream, item)

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
            ids = (self._addressee.id,)
            logger.error("%s", failure, exc_info=error, extra={"subscription_ids": ids})
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
