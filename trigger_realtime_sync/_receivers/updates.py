"""The changes of a subscription, one at a time, for whoever iterates."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Collection, Hashable, Iterator
from typing import Any, Generic, TypeVar

from .._clock import monotonic
from .._decode.kept_runs import LeftRun, digest_of
from .._dispatch.waiters import Waiter, Waiters
from ..errors import TriggerRealtimeError, WaitTimeout
from ..models import AnyRun

ItemT = TypeVar("ItemT", bound=AnyRun)
T = TypeVar("T", bound=AnyRun, covariant=True)

# How many unread changes are kept before the older half is coalesced to the latest of each run.
MOST_WAITING = 1_000


class ChangeQueue(Generic[ItemT]):
    """Changes that nobody has asked for yet: a receiver posts, one iterator takes."""

    def __init__(self) -> None:
        # Notified when there is something to take, or the end is there.
        self._waiters = Waiters()
        # Protects everything below.
        self._lock = threading.Lock()
        self._pending: deque[tuple[Hashable, ItemT]] = deque()
        # The last change of each row; of runs that left, its digest by id.
        self._last: dict[Hashable, ItemT] = {}
        self._digests: dict[str, bytes] = {}
        self._most = MOST_WAITING
        self._ended = False
        self._error: TriggerRealtimeError | None = None
        # Set without the lock; never becomes False again.
        self._stopped = False

    def post(self, row_key: Hashable, item: ItemT) -> None:
        """Append a change, unless it equals the last one of its row."""
        with self._lock:
            if self._ended:
                return
            is_last = self._is_last(row_key, item)
            self._last[row_key] = item
            if is_last:
                return
            self._pending.append((row_key, item))
            if len(self._pending) > self._most:
                self._coalesce()
        self._waiters.notify()

    def reduce(self, row_key: Hashable, left: LeftRun) -> None:
        """Keep no more of the last change of a run that left than a digest. What is not taken
        stays."""
        with self._lock:
            last = self._last.pop(row_key, None)
            if last is not None:
                self._digests[last.id] = left.digest_of(last)

    def reduce_all_but(self, row_keys: Collection[Hashable]) -> None:
        """Do so with the runs of all rows but these."""
        with self._lock:
            gone = {key: run for key, run in self._last.items() if key not in row_keys}
        for row_key, run in gone.items():
            self.reduce(row_key, LeftRun(run))

    def take(self, label: str, timeout: float | None) -> ItemT:
        """Return the next change, blocking for it.

        Raises:
            WaitTimeout: none came within `timeout` seconds.
            StopIteration, TriggerRealtimeError: there are no more.
        """
        deadline = None if timeout is None else monotonic() + timeout
        waiter: Waiter | None = None
        while True:
            with self._lock:
                if self._pending and not self._stopped:
                    return self._pending.popleft()[1]
                if self._ended or self._stopped:
                    self._raise_end()
            if waiter is None:
                # Then it is looked again.
                waiter = self._waiters.join()
                continue
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                raise WaitTimeout(f"{label}: no update within {timeout} s")
            waiter.wait(left)

    def end(self, error: TriggerRealtimeError | None) -> None:
        """Let the iterator end, with this error if any, after what is pending."""
        with self._lock:
            if not self._ended:
                self._ended, self._error = True, error
        self._waiters.notify()

    def stop(self) -> None:
        """Hand out nothing more. Takes no lock; whoever waits is woken by `close`."""
        self._stopped = True

    def close(self) -> None:
        """Let the iterator end now."""
        with self._lock:
            self._pending.clear()
            self._ended, self._error = True, None
        self._waiters.notify()

    def abandon(self) -> None:
        """Close it in a forked child, where a thread that is gone may hold its lock."""
        self._lock = threading.Lock()
        self.close()

    def _is_last(self, row_key: Hashable, item: ItemT) -> bool:
        if row_key in self._last:
            return self._last[row_key] == item
        digest = self._digests.pop(item.id, None)
        return digest is not None and digest == digest_of(item)

    def _coalesce(self) -> None:
        changes = list(self._pending)
        older, newer = changes[: -MOST_WAITING // 2], changes[-MOST_WAITING // 2 :]
        latest = dict(older)
        for row_key, _ in newer:
            latest.pop(row_key, None)
        self._pending = deque([*latest.items(), *newer])
        # With thousands of runs, coalesce again only once the queue has doubled.
        self._most = max(MOST_WAITING, 2 * len(self._pending))

    def _raise_end(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration


class ChangeQueues:
    """The queues of a receiver's iterators, for as long as each iterator is referenced."""

    def __init__(self) -> None:
        # A tuple, replaced as a whole: every change looks at it, and it is mostly empty.
        self._queues: tuple[weakref.ref[ChangeQueue[Any]], ...] = ()

    def add(self, queue: ChangeQueue[Any]) -> None:
        """Post to this queue too."""
        self._queues = tuple(map(weakref.ref, [*self, queue]))

    def __iter__(self) -> Iterator[ChangeQueue[Any]]:
        for reference in self._queues:
            queue = reference()
            if queue is not None:
                yield queue


class Updates(Iterator[T], Generic[T]):
    """An iterator over the current state and each change after it; ends with the subscription.

    At least the last five hundred unread changes are kept, and of older ones the latest of each
    run. Raises the terminal error of the subscription, or `WaitTimeout` when nothing came for
    `timeout` seconds: it can be asked again after that. For one thread at a time.
    """

    def __init__(self, queue: ChangeQueue[T], label: str, timeout: float | None) -> None:
        self._queue = queue
        self._label = label
        self._timeout = timeout

    def __iter__(self) -> Updates[T]:
        return self

    def __next__(self) -> T:
        return self._queue.take(self._label, self._timeout)

    def close(self) -> None:
        """End the iterator, not the subscription."""
        self._queue.close()
