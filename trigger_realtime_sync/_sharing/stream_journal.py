"""What a leader writes of a stream that it reads. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any

from .._wire.positions import PositionV2
from .._wire.stream_parts import BadPart, Part, PartBatch, Positions, Stretch
from .entries import CONTINUATION, PARTS, Entry, EntryId
from .shared_log import ALONE

# The share of `history` that a leader writes before what others wrote is dropped. So a log takes
# one and a half times `history` at most.
EARLIER_SHARE = 0.5


class StreamJournal:
    """Turns parts into entries.

    Args:
        index: how many parts came before.
        place: where that is, None at the beginning.
        history: bytes of entries to keep.
        earlier: bytes of entries that are there already.
    """

    def __init__(self, index: int, place: str | None, history: int, earlier: int = 0) -> None:
        self.index = index
        self.place = place
        self.opened = False
        self._history = history
        self._earlier = earlier
        self._written: deque[tuple[EntryId, int]] = deque()
        self._bytes = 0

    def entry(self, parts: PartBatch, size: int) -> Entry:
        """Return the entry of some parts.

        Args:
            size: bytes of the body that they came in.
        """
        first, at = self.index, self.place
        self.place = str(parts.position)
        items = [self._item(item) for item in parts.items]
        data = {
            "from": first,
            "to": self.index,
            "at": at,
            "place": self.place,
            "items": items,
            "size": size,
            "total": self._earlier + self._bytes,
        }
        return Entry(PARTS if self.opened else CONTINUATION, data)

    def _item(self, item: Any) -> list[Any]:
        if isinstance(item, Part):
            item = Stretch([item.value], item.index, [item.position].__getitem__)
        if isinstance(item, Stretch):
            self.index = max(self.index, item.index + len(item.values))
            return ["s", item.index, item.values, _places(item.positions, len(item.values))]
        assert isinstance(item, BadPart)
        report = None if item.report is None else item.report.__name__
        self.index = max(self.index, item.index + (report is None))
        return ["b", item.index, item.reason, item.raw, str(item.position), report]

    def wrote(self, id_: EntryId, size: int) -> None:
        """Note where an entry is, and its bytes."""
        self.opened = True
        self._written.append((id_, size))
        self._bytes += size

    def keep_from(self) -> EntryId | None:
        """Return the oldest entry to keep, beside the next one; None for all.

        What others wrote before is not known piece by piece: it goes as a whole, once this leader
        has written a share of what is to be kept.
        """
        if self._bytes + self._earlier <= self._history:
            return None
        is_early = self._bytes < self._history * EARLIER_SHARE
        if self._earlier and is_early and self._earlier <= self._history:
            return None
        self._earlier = 0
        while self._bytes > self._history and len(self._written) > 1:
            self._bytes -= self._written.popleft()[1]
        return self._written[0][0] if self._written else ALONE


def _places(positions: Positions, count: int) -> list[Any]:
    """Return the positions after parts as texts; of consecutive records only the first."""
    first, last = positions(0), positions(count - 1)
    if isinstance(first, PositionV2) and isinstance(last, PositionV2) and not first.bare:
        records, parts = last.next_seq_num - first.next_seq_num, last.consumed - first.consumed
        if records == parts == count - 1:
            return [str(first)]
    return [str(positions(n)) for n in range(count)]
