"""Iterators over the changes of a subscription."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from ..errors import TriggerRealtimeError, WaitTimeout

if TYPE_CHECKING:
    pass

T = TypeVar("T", covariant=True)

# Changes that wait to be asked for, before of the older half only each run's latest is kept.
MOST_WAITING = 1_000


class Updates(Iterator[T], Generic[T]):
    """Yields the current state, then each change; ends when the subscription does.

    Changes that were not yet asked for wait: the last five hundred at least, and of older ones the
    latest of each run. Raises the terminal error of the subscription, or `WaitTimeout` when nothing
    came for `timeout` seconds: it can be asked again after that. Closing it cancels nothing. For
    one thread at a time.
    """

    def __init__(self, what: str, timeout: float | None) -> None:
        self._what = what
        self._timeout = timeout
        self._changed = threading.Condition(threading.Lock())
        self._pending: deque[tuple[Hashable, T]] = deque()
        self._last: dict[Hashable, T] = {}
        self._most = MOST_WAITING
        self._over = False
        self._error: TriggerRealtimeError | None = None

    def __iter__(self) -> Updates[T]:
        return self

    def __next__(self) -> T:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        with self._changed:
            while not self._pending:
                if self._over:
                    self._raise_end()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeout(f"{self._what}: no update within {self._timeout} s")
                self._changed.wait(left)
            return self._pending.popleft()[1]

    def close(self) -> None:
        """Ends the iterator, not the subscription."""
        with self._changed:
            self._pending.clear()
            self._over, self._error = True, None
            self._changed.notify_all()

    def _put(self, key: Hashable, item: T) -> None:  # type: ignore[misc]
        with self._changed:
            if self._over or (key in self._last and self._last[key] == item):
                return
            self._last[key] = item
            self._pending.append((key, item))
            if len(self._pending) > self._most:
                self._coalesce()
            self._changed.notify_all()

    def _coalesce(self) -> None:
        changes = list(self._pending)
        older, newer = changes[: -MOST_WAITING // 2], changes[-MOST_WAITING // 2 :]
        latest = dict(older)
        for key, _ in newer:
            latest.pop(key, None)
        self._pending = deque([*latest.items(), *newer])
        # Each run may have one: this is not done for every change of thousands.
        self._most = max(MOST_WAITING, 2 * len(self._pending))

    def _end(self, error: TriggerRealtimeError | None) -> None:
        with self._changed:
            if not self._over:
                self._over, self._error = True, error
            self._changed.notify_all()

    def _abandon(self) -> None:
        """In a forked child: it has ended, whatever state the lock was in."""
        self._changed = threading.Condition(threading.Lock())
        self.close()

    def _raise_end(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration
