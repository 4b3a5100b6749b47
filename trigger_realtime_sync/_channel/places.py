"""The place after each part of a stream, by the number of the part."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._wire.stream_parts import Place, Places

# Parts that come one by one share a list, up to so many: what is dropped is dropped by the list.
LONGEST_LIST = 500


class PlaceLog:
    """Places as they came, many at once, so that each need not be made before it is asked for."""

    __slots__ = ("_end", "_firsts", "_runs")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._runs: list[Places] = []
        self._end = 0

    def add(self, places: Places) -> None:
        """Those of the next parts."""
        last = self._runs[-1] if self._runs else None
        if isinstance(places, list) and isinstance(last, list) and len(last) < LONGEST_LIST:
            last += places
        elif places:
            self._firsts.append(self._end)
            self._runs.append(places)
        self._end += len(places)

    def __getitem__(self, number: int) -> Place:
        run = bisect_right(self._firsts, number) - 1
        return self._runs[run][number - self._firsts[run]]

    def drop_before(self, number: int) -> None:
        """Forgets places of parts before this one."""
        useless = bisect_right(self._firsts, number) - 1
        if useless > 0:
            del self._firsts[:useless], self._runs[:useless]

    def copy(self) -> PlaceLog:
        log = PlaceLog()
        log._end = self._end
        log._firsts = list(self._firsts)
        log._runs = [list(run) if isinstance(run, list) else run for run in self._runs]
        return log
