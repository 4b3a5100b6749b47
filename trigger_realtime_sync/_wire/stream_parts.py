"""What a stream brings: parts, parts that did not decode, and the positions after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs

from ..errors import ProtocolReport

Position: TypeAlias = object
"""The position right after a part: its `str()` is the `last_event_id` that resumes there."""

Positions: TypeAlias = Callable[[int], Position]
"""Returns the position after part `n` of some that came together.

Positions are seldom asked for, so they are made then. Made with the parts, they would raise the
cost of a stream from its bytes to the part store by 50 % to 80 % (v1 1.2 to 2.2 µs for each part,
v2 1.8 to 3.0).
"""


@attrs.define
class Part:
    """One part of a stream.

    Attributes:
        value: the decoded JSON, or text.
        index: how many parts came before it, counted from the stream's beginning; from where the
            cursor was started for one that began at the tail or after a server's own id.
        position: right after this part.
    """

    value: Any
    index: int
    position: Position

    @property
    def id(self) -> str:
        """The `last_event_id` that resumes right after this part."""
        return str(self.position)


@attrs.define
class BadPart:
    """A part that did not decode, or a report that parts are gone. Nothing else is lost by it.

    Attributes:
        reason: what was wrong, in words for an error message.
        raw: what came in its place, None when nothing did.
        index: see `Part`; for parts that are gone, the index of the next one.
        position: right after it.
        report: the class of the error that tells of parts that are gone; None for a part that did
            not decode.
    """

    reason: str
    raw: Any
    index: int
    position: Position
    report: type[ProtocolReport] | None = None

    @property
    def id(self) -> str:
        """The `last_event_id` that resumes right after this part."""
        return str(self.position)


AnyPart = Part | BadPart


@attrs.frozen
class Control:
    """A control record of a session's channel: no part, but at its place among them.

    Attributes:
        name: what it says, `"turn-complete"` say.
        headers: the rest of it.
        seq_num: its number.
        position: right after it.
        is_past: whether it stands before the place that is read from: it was told before.
    """

    name: str
    headers: Mapping[str, str]
    seq_num: int
    position: Position
    is_past: bool = False


@attrs.define
class Stretch:
    """Good parts that follow each other, perhaps a thousand, without an object for each.

    Attributes:
        values: of the parts.
        index: of the first part.
        positions: after each of them.
    """

    values: list[Any]
    index: int
    positions: Positions


class PartBatch:
    """Parts in order. Iterating over them makes an object of each.

    Attributes:
        items: the parts, with those that came together kept together; of a session, its control
            records among them.
        skipped: how many came with them that are not wanted, or were returned before.
    """

    __slots__ = ("items", "skipped")

    def __init__(self) -> None:
        self.items: list[AnyPart | Stretch | Control] = []
        self.skipped = 0

    def append(self, part: AnyPart | Control) -> None:
        self.items.append(part)

    def append_all(
        self, values: list[Any], index: int, positions: Positions, skip_until: int
    ) -> None:
        """Append parts that follow each other, but for those with an index below `skip_until`.

        Args:
            values: of the parts.
            index: of the first part.
            positions: after each of them.
        """
        skipped = min(max(skip_until - index, 0), len(values))
        self.skipped += skipped
        if skipped < len(values):
            shifted = (lambda n: positions(n + skipped)) if skipped else positions
            self.items.append(Stretch(values[skipped:], index + skipped, shifted))

    @property
    def position(self) -> Position:
        """The position after the last part."""
        last = self.items[-1]
        if isinstance(last, Stretch):
            return last.positions(len(last.values) - 1)
        return last.position

    def __iter__(self) -> Iterator[AnyPart | Control]:
        for item in self.items:
            if isinstance(item, Stretch):
                for n, value in enumerate(item.values):
                    yield Part(value, item.index + n, item.positions(n))
            else:
                yield item

    def share_of(self, size: int) -> int:
        """Return how many bytes of a body these parts came in, if that many with what was skipped.
        Each counts alike."""
        if not self.skipped or not self.items:
            return size if self.items else 0
        count = len(self)
        return size * count // (count + self.skipped)

    def __len__(self) -> int:
        return sum(len(i.values) if isinstance(i, Stretch) else 1 for i in self.items)

    def __bool__(self) -> bool:
        return bool(self.items)
