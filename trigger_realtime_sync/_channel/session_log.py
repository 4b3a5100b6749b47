"""The parts of one channel of a session that are kept, with control records among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .._wire.stream_parts import Control
from ..models import Parts
from .part_log import PartLog

if TYPE_CHECKING:
    from .._wire.session_turns import Turn
    from .._wire.stream_parts import Position, Positions

# How many turns are remembered to have ended.
MOST_TURNS = 10_000


class SessionLog(PartLog):
    """The parts of one channel; control records count as parts where places are about them.

    Attributes:
        turns: those that are over, whether their control records are kept or not.
    """

    __slots__ = ("_controls", "turns")

    def __init__(self) -> None:
        super().__init__()
        # Replaced as a whole: it is read without the store's lock.
        self.turns: tuple[Turn, ...] = ()
        # How many control records are kept.
        self._controls = 0

    def append(
        self, values: Sequence[Any], positions: Iterable[tuple[int, Positions]], position: Position
    ) -> None:
        super().append(values, positions, position)
        self._controls += sum(map(_is_control, values))

    def add_turns(self, turns: Sequence[Turn]) -> None:
        """Remember turns that are over."""
        if turns:
            self.turns = (*self.turns, *turns)[-MOST_TURNS:]

    def since(self, index: int) -> Parts[Any]:
        """Return what is kept, from this one on, as pairs with the position after each: `Parts`
        that follow each other, and control records."""
        found: list[tuple[Any, Position]] = []
        for number in range(max(index, self.base), self.end):
            value, position = self.at(number), self.position_after(number)
            if _is_control(value):
                found.append((value, position))
                continue
            if not found or _is_control(found[-1][0]):
                found.append((Parts((), number), position))
            parts = found[-1][0]
            parts.append(value)
            found[-1] = (parts, position)
        return Parts(found, index)

    def keeps(self, control: Control) -> bool:
        """Return True if a control record is kept."""
        return any(value is control for value in super().newest(None))

    def newest(self, count: int | None) -> list[Any]:
        parts = [value for value in super().newest(None) if not _is_control(value)]
        return parts if count is None else parts[len(parts) - min(count, len(parts)) :]

    def surplus(self, most: int) -> int:
        left = self.end - self.base - self._controls - most
        count = 0
        while left > 0:
            left -= not _is_control(self.at(self.base + count))
            count += 1
        return count

    def parts_in(self, count: int) -> int:
        return count - self._controls_in(count)

    def drop(self, count: int) -> int:
        self._controls -= self._controls_in(count)
        return super().drop(count)

    def copy(self) -> SessionLog:
        log = super().copy()
        assert isinstance(log, SessionLog)
        log._values = super().newest(None)
        log.turns, log._controls = self.turns, self._controls
        return log

    def _controls_in(self, count: int) -> int:
        return sum(_is_control(self.at(self.base + n)) for n in range(count))


def _is_control(value: Any) -> bool:
    return type(value) is Control
