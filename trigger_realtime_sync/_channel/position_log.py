"""The position after each part of a stream, by the number of the part."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._wire.stream_parts import Position, Positions

# Single parts share lists of up to this many; `drop_before` frees whole lists.
LONGEST_LIST = 500


class PositionLog:
    """Positions as they came, many at once, so that none is made before it is asked for."""

    __slots__ = ("_end", "_firsts", "_runs", "_singles")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._runs: list[Positions] = []
        # The last run, while more single parts may join it.
        self._singles: list[Position] | None = None
        self._end = 0

    def add(self, count: int, positions: Positions) -> None:
        """Append the positions of the next `count` parts, which came together."""
        if count == 1:
            if self._singles is None or len(self._singles) >= LONGEST_LIST:
                self._singles = []
                self._begin(self._singles.__getitem__)
            self._singles.append(positions(0))
        elif count:
            self._singles = None
            self._begin(positions)
        self._end += count

    def _begin(self, run: Positions) -> None:
        self._firsts.append(self._end)
        self._runs.append(run)

    def __getitem__(self, number: int) -> Position:
        run = bisect_right(self._firsts, number) - 1
        return self._runs[run](number - self._firsts[run])

    def drop_before(self, number: int) -> None:
        """Forget positions of parts before this one."""
        useless = bisect_right(self._firsts, number) - 1
        if useless > 0:
            del self._firsts[:useless], self._runs[:useless]

    def copy(self) -> PositionLog:
        log = PositionLog()
        log._end = self._end
        # The runs are shared: this log begins a new list, and never asks for what the other adds.
        log._firsts, log._runs = list(self._firsts), list(self._runs)
        return log
