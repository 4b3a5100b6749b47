"""One subscriber: what it was notified of, what waits to be delivered to it, and how it ends.

The channel's threads call `notify…` and `end`; a thread of the callback pool calls `_deliver`, and
so the user's callbacks; everything else may be called on any thread.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import attrs

from .._channel.part_store import PartStore, Taker
from .._dispatch.mailbox import Mailbox
from .._dispatch.pool import WorkerPool
from ..errors import CallbackError, SubscriptionCancelled, TriggerRealtimeError, WaitTimeout
from ..models import AnyRun, State
from .updates import ChangeQueue

logger = logging.getLogger("trigger_realtime_sync")

# Seconds that a cancel waits for a running callback: enough to know that none begins afterwards.
CALLBACK_GRACE = 0.02
# Seconds that a waiter lets `on_error` run before it raises the same error.
ERROR_GRACE = 1.0

# Topics of the mailbox: a run's state is posted under its row key (a str), everything else under a
# tuple whose first item is its kind.
COMPLETE, PARTS, FAILURE, ERROR = "complete", "parts", "failure", "error"
Topic = str | tuple[str, ...]


@attrs.frozen(kw_only=True)
class Callbacks:
    """The callbacks of one subscriber. `on_stream` takes a run's id, a key and new parts."""

    on_update: Callable[[Any], object] | None = None
    on_error: Callable[[TriggerRealtimeError], object] | None = None
    on_complete: Callable[[Any], object] | None = None
    on_stream: Callable[[str, str, list[Any]], object] | None = None


class Phase(enum.Enum):
    """How far a receiver has come.

    COMPLETING: notified of everything, of which some still waits to be delivered.
    FAILING: failed, and `on_error` has not returned yet.
    """

    FOLLOWING = enum.auto()
    COMPLETING = enum.auto()
    COMPLETED = enum.auto()
    FAILING = enum.auto()
    FAILED = enum.auto()
    CANCELLED = enum.auto()


_STATE_OF_PHASE = {
    Phase.COMPLETED: State.COMPLETED,
    Phase.FAILING: State.FAILED,
    Phase.FAILED: State.FAILED,
    Phase.CANCELLED: State.CANCELLED,
}
# The phases that may still change; FAILING only into FAILED.
_OPEN = frozenset({Phase.FOLLOWING, Phase.COMPLETING})


class Registered(Protocol):
    """A receiver's seat in the registry, as far as the receiver knows it."""

    @property
    def id(self) -> str: ...

    def disconnect(self) -> None:
        """Stop being notified by the channel."""

    def leave(self) -> None:
        """Give up the seat for good."""


class Receiver:
    """The inside of a subscription: notified by a channel, it delivers to the user's callbacks.

    Args:
        pool: lends the threads that callbacks run on.
        callbacks: of the user.
        throttle: the least seconds between two rounds of callbacks.
        stops_on_completion: whether it wants no more of a single run once that is complete.
        label: names the target in thread names, errors and logs.
    """

    def __init__(
        self,
        pool: WorkerPool,
        callbacks: Callbacks,
        throttle: float,
        *,
        stops_on_completion: bool,
        label: str,
    ) -> None:
        self.label = label
        self.stops_on_completion = stops_on_completion
        # Set by the registry before anything else happens.
        self.seat: Registered
        self._pool = pool
        self._callbacks = callbacks
        self._throttle = throttle
        self._mailbox = Mailbox(
            pool, self._deliver, throttle, name=lambda: f"trigger-realtime callbacks {label}"
        )
        # Protects the phase; notified when a waiter should re-check its condition.
        self._changed = threading.Condition(threading.Lock())
        self._phase = Phase.FOLLOWING
        self.error: TriggerRealtimeError | None = None
        # The runs whose `on_complete` has returned, by id.
        self.completed: dict[str, AnyRun] = {}
        self._delivered: dict[str, AnyRun] = {}
        # A tuple, replaced as a whole: every change looks at it, and it is mostly empty.
        self._queues: tuple[weakref.ref[ChangeQueue[Any]], ...] = ()
        self._taker = Taker() if callbacks.on_stream is not None else None
        self._store: PartStore | None = None
        # After the last part that was delivered, or that an iterator yielded.
        self.position: Any = None

    @property
    def ended_as(self) -> State | None:
        """The state it ended in, or None."""
        return _STATE_OF_PHASE.get(self._phase)

    @property
    def is_complete(self) -> bool:
        """Whether it was notified of everything, though some may still wait to be delivered."""
        return self._phase is Phase.COMPLETING

    @property
    def expects_more(self) -> bool:
        """Whether the channel may still notify it."""
        return self._phase is Phase.FOLLOWING

    @property
    def takes_parts(self) -> bool:
        """Whether parts are delivered to an `on_stream`."""
        return self._taker is not None

    @property
    def is_delivering_here(self) -> bool:
        """Whether the calling thread is inside one of its callbacks."""
        return self._mailbox.on_own_thread

    # Called by the channel; all but `end` and `wake` under its lock.

    def notify(
        self, runs: Mapping[str, AnyRun], finished: Collection[str], complete: Collection[str]
    ) -> None:
        """Post changed runs, and the ends of those that are complete."""
        if self.is_complete:
            return
        posts = self._with_ends(runs, complete) if complete else runs
        ends = posts.keys() - runs.keys() if complete else ()
        self._mailbox.post_all(posts, urgent=[*finished, *ends])
        for queue in self._live_queues():
            for row_key, run in runs.items():
                queue.post(row_key, run)

    def notify_complete(self, row_key: str, run: AnyRun) -> None:
        """Post the end of a run that it knows to be finished."""
        if not self.is_complete:
            end = self._end_of(row_key, run)
            self._mailbox.post_all(end, urgent=end)

    def notify_parts(self, run_id: str, key: str) -> None:
        """Post that a stream may have new parts."""
        if self._taker is not None and not self.is_complete:
            self._mailbox.post((PARTS, run_id, key), None)

    def notify_failure(self, topic: str, error: TriggerRealtimeError) -> None:
        """Post an error that does not end the subscription."""
        error.terminal = False
        self._mailbox.post((FAILURE, topic), error)

    def take_from(self, store: PartStore) -> None:
        """Take parts from this store from now on; the store waits for it."""
        if self._taker is not None:
            store.add(self._taker)
            self._store = store

    def forget_delivered(self) -> None:
        """Deliver every run again when it is next notified, changed or not."""
        self._delivered.clear()

    def end(self, error: TriggerRealtimeError | None) -> None:
        """Deliver what waits, then be COMPLETED; or be FAILED with an error at once."""
        if error is None:
            self._advance(Phase.COMPLETING)
            self._end_queues(None)
            self._mailbox.finish(self._everything_delivered)
            return
        error.terminal = True
        self.error = error
        self.seat.disconnect()
        if self._advance(Phase.FAILING):
            self._end_queues(error)
            self._mailbox.post((ERROR,), error, urgent=True)
            self._mailbox.finish(self._error_delivered)

    def wake(self) -> None:
        """Make waiters re-check their condition."""
        with self._changed:
            self._changed.notify_all()

    # Called by the registry, under its lock.

    def cancel(self) -> None:
        """Deliver nothing more, and give up the seat. Idempotent."""
        cancelled = self._advance(Phase.CANCELLED)
        self._mailbox.close()
        self.seat.leave()
        if cancelled:
            self._close_queues()
        else:
            self._error_delivered()

    def stop_taking(self) -> None:
        """Let the store no longer wait for it."""
        if self._store is not None and self._taker is not None:
            self._store.remove(self._taker)

    def drop_waiting(self) -> None:
        """Drop what is posted and not delivered."""
        self._mailbox.drop()

    def start_over(self) -> None:
        """Forget everything that was delivered, parts included."""
        self._delivered.clear()
        if self._taker is not None:
            self._taker.taken.clear()

    def inherited(self) -> Receiver:
        """Return its twin for a forked child, where no thread but this one exists.

        The twin has ended, CANCELLED if nothing else, and has locks of its own.
        """
        twin = Receiver(
            self._pool,
            self._callbacks,
            self._throttle,
            stops_on_completion=self.stops_on_completion,
            label=self.label,
        )
        twin.seat = self.seat
        twin._phase = Phase.CANCELLED if self._phase in _OPEN else self._phase
        twin.error, twin.position = self.error, self.position
        twin.completed = dict(self.completed)
        for queue in self._live_queues():
            queue.abandon()
        # A callback that forked returns into it.
        self._mailbox.abandon()
        return twin

    # Iterating and waiting.

    def add_queue(self, queue: ChangeQueue[Any]) -> None:
        """Post changes to an iterator's queue too.

        The caller must check for the end *after* this: the end only ends registered queues.
        """
        with self._changed:
            self._queues = tuple(map(weakref.ref, [*self._live_queues(), queue]))

    def wait(self, is_done: Callable[[], bool], timeout: float | None) -> None:
        """Block until `is_done()`.

        Args:
            is_done: called under a lock whenever anything changed.
            timeout: seconds; None for no bound.

        Raises:
            WaitTimeout: it was not done in time.
            SubscriptionCancelled, TriggerRealtimeError: it never will be.
            RuntimeError: called from inside one of its own callbacks.
        """
        if self.is_delivering_here:
            raise RuntimeError(f"waiting for {self.label} inside its own callback would never end")
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not is_done():
                self._raise_if_ended()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeout(f"{self.label} did not finish within {timeout} s")
                self._changed.wait(left)

    def settle(self, deadline: float) -> None:
        """Wait while a callback runs on another thread, up to a time of `time.monotonic()`."""
        self._mailbox.wait_for_turn_to_end(deadline)

    def _raise_if_ended(self) -> None:
        if self._phase is Phase.CANCELLED:
            raise SubscriptionCancelled(f"{self.label}: the subscription was cancelled")
        if self.error is not None and self.ended_as is State.FAILED:
            grace = time.monotonic() + ERROR_GRACE
            while self._phase is Phase.FAILING and self._changed.wait(
                max(0.0, grace - time.monotonic())
            ):
                pass
            raise self.error

    # Ends.

    def _with_ends(self, runs: Mapping[str, AnyRun], complete: Collection[str]) -> dict[Topic, Any]:
        posts: dict[Topic, Any] = {}
        for row_key, run in runs.items():
            posts[row_key] = run
            if row_key in complete:
                posts.update(self._end_of(row_key, run))
        return posts

    def _end_of(self, row_key: str, run: AnyRun) -> dict[Topic, Any]:
        """Return what remains to be posted for a complete run."""
        posts: dict[Topic, Any] = {}
        if self._store is not None:
            for run_id, key in self._store.streams(run.id):
                posts[PARTS, run_id, key] = None
        if run.id not in self.completed:
            posts[COMPLETE, row_key] = run
        if self.stops_on_completion:
            self._advance(Phase.COMPLETING)
        return posts

    def _everything_delivered(self) -> None:
        self.seat.leave()
        self._advance(Phase.COMPLETED)

    def _error_delivered(self) -> None:
        self.seat.leave()
        with self._changed:
            if self._phase is Phase.FAILING:
                self._phase = Phase.FAILED
            self._changed.notify_all()

    def _advance(self, phase: Phase) -> bool:
        """Enter a phase, unless it has ended.

        Returns:
            Whether it entered the phase.
        """
        with self._changed:
            if self._phase not in _OPEN:
                return False
            self._phase = phase
            self._changed.notify_all()
            return True

    def _end_queues(self, error: TriggerRealtimeError | None) -> None:
        for queue in self._live_queues():
            queue.end(error)

    def _close_queues(self) -> None:
        for queue in self._live_queues():
            queue.close()

    def _live_queues(self) -> list[ChangeQueue[Any]]:
        queues = [reference() for reference in self._queues]
        return [queue for queue in queues if queue is not None]

    # On a thread of the callback pool.

    def _deliver(self, topic: Topic, item: Any) -> None:
        if isinstance(topic, str):
            self._deliver_run(topic, item)
        elif topic[0] == COMPLETE:
            self._deliver_complete(item)
        elif topic[0] == PARTS:
            self._deliver_parts(topic[1], topic[2])
        else:
            self._call("on_error", self._callbacks.on_error, item)

    def _deliver_run(self, row_key: str, run: AnyRun) -> None:
        delivered = self._delivered.get(row_key)
        if delivered is run or (delivered is not None and delivered == run):
            return
        self._delivered[row_key] = run
        self._call("on_update", self._callbacks.on_update, run)

    def _deliver_complete(self, run: AnyRun) -> None:
        if run.id in self.completed:
            return
        self._call("on_complete", self._callbacks.on_complete, run)
        with self._changed:
            self.completed[run.id] = run
            self._changed.notify_all()

    def _deliver_parts(self, run_id: str, key: str) -> None:
        if self._store is None or self._taker is None:
            return
        values, position = self._store.take(self._taker, (run_id, key))
        if values:
            self.position = position
            self._call("on_stream", self._callbacks.on_stream, run_id, key, values)

    def _call(self, name: str, callback: Callable[..., object] | None, *arguments: Any) -> None:
        if callback is None or self._mailbox.closed:
            return
        try:
            callback(*arguments)
        except BaseException as error:
            failure = CallbackError(
                f"{name} of subscription {self.seat.id} raised {type(error).__name__}",
                callback=name,
            )
            failure.__cause__ = error
            logger.error("%s", failure, exc_info=error)
            if name != "on_error":
                self._call("on_error", self._callbacks.on_error, failure)


def settle(receivers: Iterable[Receiver]) -> None:
    """Wait a moment for callbacks that are running: after this, none begins."""
    deadline = time.monotonic() + CALLBACK_GRACE
    for receiver in receivers:
        receiver.settle(deadline)
