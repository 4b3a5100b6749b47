"""The parts of a stream, one at a time, for whoever iterates."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._channel.part_store import PartStore, StreamKey, Taker
from ..errors import WaitTimeout

if TYPE_CHECKING:
    from .handle import Subscription

T = TypeVar("T", covariant=True)


class PartUpdates(Iterator[T], Generic[T]):
    """Yields the parts of a stream so far, then each new one; ends when the stream does.

    Raises the terminal error of the subscription, or `WaitTimeout` when nothing came for `timeout`
    seconds: it can be asked again after that. Closing it cancels nothing. For one thread at a time.
    """

    def __init__(self, handle: Subscription, stream: StreamKey, timeout: float | None) -> None:
        self._handle = handle
        self._stream = stream
        self._timeout = timeout
        self._taker = Taker()
        self._store: PartStore | None = None
        self._closed = False

    def __iter__(self) -> PartUpdates[T]:
        return self

    def __next__(self) -> T:
        if self._handle._mailbox.on_own_thread and self._handle._taker is not None:
            what = self._handle._what()
            raise RuntimeError(
                f"waiting for parts of {what} inside its own callback would never end"
            )
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while not self._closed:
            over = self._handle._is_over
            item = self._take(0 if over else _wait_until(deadline))
            if item is not None:
                self._handle._place = item[1]
                return item[0]  # type: ignore[no-any-return]
            if over:
                self._end()
            elif deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(f"{self._handle._what()}: no part within {self._timeout} s")
        raise StopIteration

    def close(self) -> None:
        """Ends the iterator, not the subscription."""
        self._closed = True
        if self._store is not None:
            self._store.remove(self._taker)

    def _take(self, seconds: float) -> tuple[Any, Any] | None:
        store = self._handle._view.parts
        if store is None or self._handle._ended_by_cancel:
            return None
        if store is not self._store:
            store.add(self._taker)
            self._store = store
        item = store.take_one(self._taker, self._stream, seconds)
        if item is None and seconds and store.closed:
            # Disabled, or about to end: this store has no more, and would not wait.
            time.sleep(min(seconds, CLOSED_SLICE_SECONDS))
        return item

    def _end(self) -> None:
        self.close()
        error = self._handle.error
        if error is not None:
            raise error


# A subscription that ends or is disabled is noticed at the latest after this time.
SLICE_SECONDS = 0.25
CLOSED_SLICE_SECONDS = 0.02


def _wait_until(deadline: float | None) -> float:
    if deadline is None:
        return SLICE_SECONDS
    return max(0.0, min(SLICE_SECONDS, deadline - time.monotonic()))
