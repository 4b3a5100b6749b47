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


class StreamReplica:
    """Turns entries into parts.

    Args:
        index: how many parts were taken before.

    Attributes:
        over: whether the stream is over.
        drained: whether its end was proven, if only for that moment.
    """

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.over = False
        self.drained = False

    def take(self, entry: Entry) -> tuple[PartBatch, int]:
        """Return the parts of an entry that are new, and the number of bytes that it came in.

        Raises:
            MissingParts: see there. Nothing was taken.
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
        for item in data["items"]:
            self._add(item, parts)
        self.index = max(self.index, data["to"])
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
