"""What a follower makes of the entries about a stream. Pure.

Each entry says how many parts came before it, so that every part is taken once and in order,
whichever leader wrote it and how often.
"""

from __future__ import annotations

from typing import Any

from .. import errors
from .._wire.positions import PositionV1, PositionV2
from .._wire.stream_parts import BadPart, PartBatch, Position, Positions
from ..errors import ProtocolReport
from .entries import CONTINUATION, DRAINED, OVER, PARTS, Entry


class MissingParts(Exception):
    """Parts before those of an entry are not known.

    Attributes:
        until: the index from which on the entry has them.
    """

    def __init__(self, until: int) -> None:
        super().__init__(until)
        self.until = until


class OtherParts(Exception):
    """The parts of an entry are counted from elsewhere than those that were taken: its leader began
    where the server's oldest entry was, say. Nothing was taken."""


class StreamReplica:
    """Turns entries into parts.

    Args:
        index: how many parts were taken before.
        place: where that is, as text; None at the beginning.

    Attributes:
        over: whether the stream is over.
        drained: whether its end was proven, if only for that moment.
    """

    def __init__(self, index: int = 0, place: str | None = None) -> None:
        self.index = index
        self.place = place
        self.over = False
        self.drained = False

    def take(self, entry: Entry) -> tuple[PartBatch, int]:
        """Return the parts of an entry that are new, and the number of bytes that it came in.

        Raises:
            MissingParts, OtherParts: see there. Nothing was taken.
        """
        parts = PartBatch()
        if entry.kind == OVER:
            self.over = True
        elif entry.kind == DRAINED:
            self.drained = True
        if entry.kind not in (PARTS, CONTINUATION):
            return parts, 0
        data = entry.data
        if data["from"] > self.index:
            raise MissingParts(data["from"])
        is_known = data["to"] < self.index or data["from"] < data["to"] <= self.index
        if is_known:
            return parts, 0
        there = _place_at(data, self.index)
        if self.place is not None and there is not None and not _is_same(self.place, there):
            raise OtherParts
        for item in data["items"]:
            self._add(item, parts)
        self.index, self.place = max(self.index, data["to"]), data["place"]
        return parts, data["size"]

    def _add(self, item: list[Any], parts: PartBatch) -> None:
        index = item[1]
        if item[0] == "s":
            values, places = item[2], item[3]
            parts.append_all(values, index, _positions(places), self.index)
        elif item[0] == "b" and index >= self.index:
            _, _, reason, raw, place, report = item
            kind = None if report is None else _report(report)
            parts.append(BadPart(reason, raw, index, _position(place), kind))


def index_of(place: str) -> int | None:
    """Return how many parts came before a position; None where it does not say."""
    position = _position(place)
    if isinstance(position, PositionV2):
        return None if position.bare else position.consumed
    return position.consumed if isinstance(position, PositionV1) else None


def _place_at(data: dict[str, Any], index: int) -> str | None:
    """Return where an entry is after so many parts, None where it does not say."""
    if index == data["from"]:
        return data.get("at")
    for item in data["items"]:
        if item[0] == "s" and item[1] < index <= item[1] + len(item[2]):
            return str(_positions(item[3])(index - 1 - item[1]))
    return None


def _is_same(one: str, other: str) -> bool:
    """Return True if two places after as many parts may be one place of one stream."""
    a, b = _position(one), _position(other)
    if isinstance(a, PositionV2) and isinstance(b, PositionV2):
        return a.bare or b.bare or a.next_seq_num == b.next_seq_num
    if not (isinstance(a, PositionV1) and isinstance(b, PositionV1)) or not a.current:
        return True
    if a.released is b.released:
        return not b.current or (a.current, a.counted) == (b.current, b.counted)
    # The last part of the one is not counted yet.
    whole, rest = (b, a) if a.released else (a, b)
    return not rest.current or rest.current in (whole.previous, whole.current)


def _positions(places: list[str]) -> Positions:
    """Return the positions after parts, from their texts or, of records, that of the first."""

    def position(n: int) -> Position:
        if n < len(places):
            return _position(places[n])
        first = _position(places[0])
        assert isinstance(first, PositionV2)
        return first._replace(next_seq_num=first.next_seq_num + n, consumed=first.consumed + n)

    return position


def _position(place: str) -> Position:
    return PositionV1.parse(place) if place.startswith("v1:") else PositionV2.parse(place)


def _report(name: str) -> type[ProtocolReport]:
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, ProtocolReport):
        return kind
    return ProtocolReport
