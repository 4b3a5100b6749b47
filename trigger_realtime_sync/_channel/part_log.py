"""The parts of one stream that are kept, and what of the body they came in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..models import Parts
from .position_log import PositionLog

if TYPE_CHECKING:
    from .._wire.stream_parts import Position, Positions

# As many places of dropped parts stay empty at the least before the list is made shorter.
LEAST_EMPTIED = 64


class Batch:
    """Parts that came one after the other.

    Attributes:
        arrival: a number that is higher for what came later, in whichever stream.
        end: the index after the last of them.
        bytes: of the body, for those that are still kept.
    """

    __slots__ = ("arrival", "bytes", "end")

    def __init__(self, arrival: int, end: int, size: int) -> None:
        self.arrival = arrival
        self.end = end
        self.bytes = size

    def needed(self, size: int, count: int) -> int:
        """Return how many of its parts came in this many bytes at the least, each counted alike.

        Args:
            count: of its parts that are kept.
        """
        return count if size >= self.bytes else -(-size * count // self.bytes)


class PartLog:
    """The parts of one stream. Not thread-safe.

    Attributes:
        lineage: another object for a log that was dropped and begun anew: progress in the old one
            means nothing in the new one.
        base: how many parts were dropped.
        end: how many parts came.
        bytes: the size of the body up to the last part.
        position: after everything that was read.
    """

    __slots__ = (
        *("_batches", "_emptied", "_positions", "_values"),
        *("base", "bytes", "end", "lineage", "position"),
    )

    def __init__(self) -> None:
        self.lineage = object()
        self.base = 0
        self.end = 0
        self.bytes = 0
        self.position: Position | None = None
        # The first of these are the places of parts that were dropped. They are removed many at
        # once, since that moves all the others.
        self._values: list[Any] = []
        self._emptied = 0
        self._positions = PositionLog()
        self._batches: deque[Batch] = deque()

    def append(
        self, values: Sequence[Any], positions: Iterable[tuple[int, Positions]], position: Position
    ) -> None:
        """Append parts, with the positions after them and the one after everything."""
        self._values.extend(values)
        self.end += len(values)
        for count, some in positions:
            self._positions.add(count, some)
        self.position = position

    def weigh(self, size: int, arrival: int, largest: float) -> int:
        """Say in how many bytes of the body the parts came that were appended last.

        Args:
            arrival: see `Batch`.
            largest: how many bytes one batch may have, unless they come at once.

        Returns:
            By how much more is kept now: nothing where there is no part.
        """
        self.bytes += size
        last = self._batches[-1] if self._batches else None
        if self.end == (self.base if last is None else last.end):
            return 0
        if last is not None and last.bytes + size <= largest:
            last.end = self.end
            last.bytes += size
        else:
            self._batches.append(Batch(arrival, self.end, size))
        return size

    def at(self, index: int) -> Any:
        """Return a part that is kept."""
        return self._values[index - self.base + self._emptied]

    def position_after(self, index: int) -> Position:
        """Return the position after a part that is kept."""
        return self._positions[index]

    def since(self, index: int) -> Parts[Any]:
        """Return the parts that are kept, from this one on."""
        index = max(index, self.base)
        return Parts(self._values[index - self.base + self._emptied :], index)

    def newest(self, count: int | None) -> list[Any]:
        """Return that many parts at the most, or all that are kept."""
        start = self.base if count is None else max(self.base, self.end - count)
        return self._values[start - self.base + self._emptied :]

    def surplus(self, most: int) -> int:
        """Return how many of the oldest to drop for that many parts to be left."""
        return self.end - self.base - most

    def parts_in(self, count: int) -> int:
        """Return how many parts that many of the oldest are."""
        return count

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """Iterate over what is kept, the oldest first: the index of the first part of each batch,
        and the batch."""
        start = self.base
        for batch in self._batches:
            yield start, batch
            start = batch.end

    def ends_a_batch(self, end: int) -> bool:
        """Return True if this index is after the last part of the oldest batch."""
        return bool(self._batches) and self._batches[0].end == end

    def drop(self, count: int) -> int:
        """Drop the oldest parts, with their positions.

        Returns:
            In how many bytes of the body they came. Of a batch that is dropped in part, each part
            counts alike.
        """
        end = self.base + count
        freed = self._lighten(end)
        first = self._emptied
        self._emptied += count
        self._values[first : self._emptied] = [None] * count
        self.base = end
        if self._emptied >= max(LEAST_EMPTIED, len(self._values) // 2):
            del self._values[: self._emptied]
            self._emptied = 0
            self._positions.drop_before(end)
        return freed

    def _lighten(self, end: int) -> int:
        start, freed = self.base, 0
        while self._batches and self._batches[0].end <= end:
            batch = self._batches.popleft()
            start = batch.end
            freed += batch.bytes
        if self._batches and start < end:
            batch = self._batches[0]
            share = batch.bytes * (end - start) // (batch.end - start)
            batch.bytes -= share
            freed += share
        return freed

    def copy(self) -> PartLog:
        """Return a log that goes on by itself."""
        log = type(self)()
        log.lineage = self.lineage
        log.base, log.end, log.bytes, log.position = self.base, self.end, self.bytes, self.position
        log._values, log._positions = self.newest(None), self._positions.copy()
        log._batches.extend(Batch(one.arrival, one.end, one.bytes) for one in self._batches)
        return log
