"""The parts of a stream, one at a time, for whoever iterates."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from .._channel.part_store import StreamKey, Taker
from .._clock import monotonic
from .._wire.stream_parts import Control
from ..errors import WaitTimeout
from ..models import State
from .registry import Seat

T = TypeVar("T", covariant=True)

# Seconds after which a blocked iterator looks whether its subscription has ended or was disabled.
SLICE_SECONDS = 0.25
# Seconds between two looks at a store that gets no more parts, and so does not wait.
CLOSED_SLICE_SECONDS = 0.02


class PartUpdates(Iterator[T], Generic[T]):
    """An iterator over the parts of a stream that are kept and each new one; ends with the stream.

    Raises the terminal error of the subscription, or `WaitTimeout` when nothing came for `timeout`
    seconds: it can be asked again after that. For one thread at a time.
    """

    def __init__(self, seat: Seat, stream: StreamKey, timeout: float | None) -> None:
        self._seat = seat
        self._label = seat.receiver.label
        self._stream = stream
        self._timeout = timeout
        self._taker = Taker()
        self._closed = False
        seat.add_taker(self._taker)

    def __iter__(self) -> PartUpdates[T]:
        return self

    def __next__(self) -> T:
        receiver = self._seat.receiver
        if receiver.is_delivering_here and receiver.delivery.takes_parts:
            raise RuntimeError(
                f"waiting for parts of {self._label} inside its own callback would never end"
            )
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while not self._closed:
            ending = not receiver.expects_more
            item = self._take(0 if ending else _slice_before(deadline))
            if item is not None:
                value, receiver.delivery.position = item
                if type(value) is not Control:
                    return value  # type: ignore[no-any-return]
                if self._ends_with(value):
                    break
                continue
            if ending:
                self._end()
            elif deadline is not None and monotonic() >= deadline:
                raise WaitTimeout(f"{self._label}: no part within {self._timeout} s")
        raise StopIteration

    def close(self) -> None:
        """End the iterator, not the subscription."""
        self._closed = True
        self._seat.remove_taker(self._taker)

    def _ends_with(self, control: Control) -> bool:
        """Return True if the iterator ends with a control record of a session."""
        return False

    def _take(self, seconds: float) -> tuple[Any, Any] | None:
        store = self._seat.view.parts
        if store is None or self._seat.receiver.ended_as is State.CANCELLED:
            return None
        item = store.take_one(self._taker, self._stream, seconds)
        if item is None and seconds and store.closed:
            time.sleep(min(seconds, CLOSED_SLICE_SECONDS))
        return item

    def _end(self) -> None:
        self.close()
        error = self._seat.receiver.error
        if error is not None:
            raise error


def _slice_before(deadline: float | None) -> float:
    """Return how many seconds to wait before the next look, up to a time of `time.monotonic()`."""
    if deadline is None:
        return SLICE_SECONDS
    return max(0.0, min(SLICE_SECONDS, deadline - monotonic()))
