"""One subscriber: what it is notified of, what waits to be delivered, and how it ends.

The channel's threads call `notify…` and `end`; everything else may be called on any thread.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

from .._channel.part_store import PartStore
from .._clock import monotonic
from .._decode.kept_runs import LeftRun
from .._dispatch.mailbox import Mailbox
from .._dispatch.pool import WorkerPool
from .._dispatch.waiters import Waiter, Waiters
from ..errors import SubscriptionCancelled, TriggerRealtimeError, WaitTimeout
from ..models import AnyRun, State
from .delivery import (
    ALL_BUT,
    COMPLETE,
    DRAINED,
    ERROR,
    FAILURE,
    LEFT,
    PARTS,
    Callbacks,
    Delivery,
    Topic,
)
from .updates import ChangeQueue, ChangeQueues

# Seconds that a cancel waits for a running callback: enough to know that none begins afterwards.
CALLBACK_GRACE = 0.02
# Seconds that a waiter lets `on_error` run before it raises the same error.
ERROR_GRACE = 1.0


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

    @property
    def ended_as(self) -> State | None:
        """The state of a subscription that has ended, or None."""
        return _ENDED_AS.get(self)


_FATE = "fate"
_ENDED_AS = {
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
        self._throttle = throttle
        self.delivery = Delivery(callbacks, self)
        self._mailbox = Mailbox(
            pool,
            self.delivery.deliver,
            throttle,
            name=lambda: f"trigger-realtime callbacks {label}",
        )
        # Protects the phase.
        self._lock = threading.Lock()
        # Notified when a waiter should re-check its condition.
        self._waiters = Waiters()
        self._phase = Phase.FOLLOWING
        # How it ends: what is set first. A dictionary, since `setdefault` takes no lock.
        self._fate: dict[str, Phase] = {}
        self.error: TriggerRealtimeError | None = None
        self._queues = ChangeQueues()

    @property
    def id(self) -> str:
        """The id of its subscription."""
        return self.seat.id

    @property
    def phase(self) -> Phase:
        """How far it has come. CANCELLED as soon as that is its fate."""
        return Phase.CANCELLED if self._fate.get(_FATE) is Phase.CANCELLED else self._phase

    @property
    def ended_as(self) -> State | None:
        """The state it ended in, or None."""
        return self.phase.ended_as

    @property
    def is_complete(self) -> bool:
        """Whether it was notified of everything, though some may still wait to be delivered."""
        return self.phase is Phase.COMPLETING

    @property
    def expects_more(self) -> bool:
        """Whether the channel may still notify it."""
        return self.phase is Phase.FOLLOWING

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be delivered any more."""
        return self._mailbox.closed

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
        posts: dict[Topic, Any] = {}
        for row_key, run in runs.items() if complete else ():
            posts[row_key] = run
            if row_key in complete:
                posts.update(self._end_of(row_key, run))
        self._mailbox.post_all(posts or runs, urgent=[*finished, *(posts.keys() - runs.keys())])
        for queue in self._queues:
            for row_key, run in runs.items():
                queue.post(row_key, run)

    def notify_left(self, row_key: str, left: LeftRun) -> None:
        """Let go of a run, once all that is posted of it is delivered."""
        for queue in self._queues:
            queue.reduce(row_key, left)
        if not self.is_complete:
            self._mailbox.post((LEFT, row_key), left)

    def notify_all_there_are(self, row_keys: Collection[str]) -> None:
        """Let go of all runs but these."""
        if not self.is_complete and self.delivery.has_delivered:
            self._mailbox.post((ALL_BUT,), frozenset(row_keys))
        for queue in self._queues:
            queue.reduce_all_but(row_keys)

    def notify_drained(self, row_key: str, run: AnyRun) -> None:
        """Post what is known of a finished run and, after its parts, that it is complete, while
        more may still come."""
        if self.is_complete or self.delivery.was_told_complete(run.id):
            return
        posts: dict[Topic, Any] = {row_key: run}
        for run_id, key in self.delivery.streams_of(run.id):
            posts[PARTS, run_id, key] = None
        posts[DRAINED, row_key] = run
        self._mailbox.post_all(posts, urgent=posts)

    def notify_complete(self, row_key: str, run: AnyRun | None) -> None:
        """Post the end of a run that it knows to be finished; None: of a session."""
        if not self.is_complete:
            end = self.delivery.end_of_session() if run is None else self._end_of(row_key, run)
            self._mailbox.post_all(end, urgent=end)

    def notify_parts(self, run_id: str, key: str) -> None:
        """Post that a stream may have new parts."""
        if self.delivery.takes_parts and not self.is_complete:
            self._mailbox.post((PARTS, run_id, key), None)

    def notify_failure(
        self, topic: str, error: TriggerRealtimeError, *, urgent: bool = False
    ) -> None:
        """Post an error that does not end the subscription."""
        error.terminal = False
        self._mailbox.post((FAILURE, topic), error, urgent=urgent)

    def take_from(self, store: PartStore) -> None:
        """Take parts from this store from now on; the store waits for it."""
        self.delivery.take_from(store)

    def forget_delivered(self) -> None:
        """Deliver every run again when it is next notified, changed or not."""
        self.delivery.forget()

    def end(self, error: TriggerRealtimeError | None) -> None:
        """Deliver what waits, then be COMPLETED; or be FAILED with an error at once."""
        if error is None:
            self._enter(Phase.COMPLETING)
            for queue in self._queues:
                queue.end(None)
            self._mailbox.finish(self._everything_delivered)
            return
        error.terminal = True
        self.seat.disconnect()
        if _decide(self._fate, Phase.FAILED):
            self.error = error
            self._enter(Phase.FAILING)
            for queue in self._queues:
                queue.end(error)
            self._mailbox.post((ERROR,), error, urgent=True)
            self._mailbox.finish(self._error_delivered)

    def wake(self) -> None:
        """Make waiters re-check their condition."""
        self._waiters.notify()

    # The end by the user.

    def stop(self) -> None:
        """Deliver nothing more, and be CANCELLED if it has not ended. Takes no lock; `cancel` must
        follow."""
        if _decide(self._fate, Phase.CANCELLED):
            for queue in self._queues:
                queue.stop()
        self._mailbox.stop()

    # Called by the registry, under its lock.

    def cancel(self) -> None:
        """Deliver nothing more, and give up the seat. Idempotent."""
        self.stop()
        self._mailbox.close()
        if self.phase is Phase.CANCELLED:
            self.seat.leave()
            for queue in self._queues:
                queue.close()
            self.wake()
        else:
            self._error_delivered()

    def drop_waiting(self) -> None:
        """Drop what is posted and not delivered."""
        self._mailbox.drop()

    def inherited(self) -> Receiver:
        """Return its twin for a forked child, where no thread but this one exists.

        The twin has ended, CANCELLED if nothing else, and has locks of its own.
        """
        twin = Receiver(
            self._pool,
            self.delivery.callbacks,
            self._throttle,
            stops_on_completion=self.stops_on_completion,
            label=self.label,
        )
        twin.seat = self.seat
        ended = Phase.FAILED if self.phase is Phase.FAILING else self.phase
        if ended in _OPEN:
            _decide(twin._fate, Phase.CANCELLED)
        else:
            twin._phase = twin._fate[_FATE] = ended
        twin.error = self.error
        twin.delivery.position = self.delivery.position
        twin.delivery.control_position = self.delivery.control_position
        twin.delivery.completed = self.delivery.completed.inherited()
        for queue in self._queues:
            queue.abandon()
        # A callback that forked returns into it.
        self._lock = threading.Lock()
        self._mailbox.abandon()
        return twin

    # Iterating and waiting.

    def add_queue(self, queue: ChangeQueue[Any]) -> None:
        """Post changes to an iterator's queue too.

        The caller must check for the end *after* this: the end only ends registered queues.
        """
        with self._lock:
            self._queues.add(queue)

    def wait(self, is_done: Callable[[], bool], timeout: float | None) -> None:
        """Block until `is_done()`.

        Args:
            is_done: called whenever anything changed.
            timeout: seconds; None for no bound.

        Raises:
            WaitTimeout: it was not done in time.
            SubscriptionCancelled, TriggerRealtimeError: it never will be.
            RuntimeError: called from inside one of its own callbacks.
        """
        if self.is_delivering_here:
            raise RuntimeError(f"waiting for {self.label} inside its own callback would never end")
        deadline = None if timeout is None else monotonic() + timeout
        waiter = self._waiters.join()
        while not is_done():
            self._raise_if_ended(waiter)
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                raise WaitTimeout(f"{self.label} did not finish within {timeout} s")
            waiter.wait(left)

    def settle(self, deadline: float) -> None:
        """Wait while a callback runs on another thread, up to a time of `time.monotonic()`."""
        self._mailbox.wait_for_turn_to_end(deadline)

    def _raise_if_ended(self, waiter: Waiter) -> None:
        if self.phase is Phase.CANCELLED:
            raise SubscriptionCancelled(f"{self.label}: the subscription was cancelled")
        if self.error is not None and self.ended_as is State.FAILED:
            grace = monotonic() + ERROR_GRACE
            while self.phase is Phase.FAILING and (left := grace - monotonic()) > 0:
                waiter.wait(left)
            raise self.error

    # Ends.

    def _end_of(self, row_key: str, run: AnyRun) -> dict[Topic, Any]:
        """Return what remains to be posted for a complete run."""
        posts: dict[Topic, Any] = {}
        for run_id, key in self.delivery.streams_of(run.id):
            posts[PARTS, run_id, key] = None
        if run.id not in self.delivery.completed:
            posts[COMPLETE, row_key] = run
        if self.stops_on_completion:
            self._enter(Phase.COMPLETING)
        return posts

    def _everything_delivered(self) -> None:
        if _decide(self._fate, Phase.COMPLETED):
            self.seat.leave()
            self._enter(Phase.COMPLETED)

    def _error_delivered(self) -> None:
        self.seat.leave()
        with self._lock:
            if self._phase is Phase.FAILING:
                self._phase = Phase.FAILED
        self.wake()

    def _enter(self, phase: Phase) -> None:
        """Enter a phase, unless the last one was entered."""
        with self._lock:
            if self._phase in _OPEN:
                self._phase = phase
        self.wake()


def _decide(fates: dict[str, Phase], fate: Phase) -> bool:
    """Return True if this is the fate: if nothing was decided before. Takes no lock."""
    return fates.setdefault(_FATE, fate) is fate


def settle(receivers: Iterable[Receiver]) -> None:
    """Wait a moment for callbacks that are running: after this, none begins."""
    deadline = monotonic() + CALLBACK_GRACE
    for receiver in receivers:
        receiver.settle(deadline)
