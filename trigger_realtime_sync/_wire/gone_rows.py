"""The rows that a shape has no longer: what tells late, older states of them from news. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import attrs

from .row_judge import DOUBT_SECONDS, GoneRow, is_finished

RowT = TypeVar("RowT")
Shelve = Callable[[RowT], tuple[RowT, int]]

# How many bytes of rows are kept whole.
MOST_BYTES = 4 << 20
# How many rows are remembered that had not finished, or that are still whole.
GONE_LIMIT = 10_000


_FINISHED = GoneRow(is_finished=True)


@attrs.define
class GoneRows(Generic[RowT]):
    """Rows by row key: the newest whole, of older ones when they were updated, and of all that had
    finished, that they had.

    Attributes:
        shelve: returns a row as it is kept, and its weight in bytes.
    """

    shelve: Shelve[RowT] = attrs.field(eq=False)
    _whole: dict[str, tuple[RowT, int]] = attrs.field(factory=dict)
    _bytes: int = 0
    _unfinished: dict[str, GoneRow] = attrs.field(factory=dict)
    # By a hash of the key, which takes a third of it. A set would take more than a dictionary.
    _finished: dict[int, None] = attrs.field(factory=dict)

    def add(self, row_key: str, row: RowT) -> None:
        """Remember a row."""
        self.forget(row_key)
        self._whole[row_key] = self.shelve(row)
        self._bytes += self._whole[row_key][1]
        while self._bytes > MOST_BYTES or len(self._whole) > GONE_LIMIT:
            self._reduce(next(iter(self._whole)))
        if len(self._whole) + len(self._unfinished) > GONE_LIMIT and self._unfinished:
            del self._unfinished[next(iter(self._unfinished))]

    def take(self, row_key: str) -> RowT | None:
        """Return a row and forget it; None if it is not kept whole."""
        row, size = self._whole.pop(row_key, (None, 0))
        self._bytes -= size
        return row

    def left_of(self, row_key: str) -> GoneRow | None:
        """Return what is known of a row that is not kept whole."""
        return _FINISHED if _short(row_key) in self._finished else self._unfinished.get(row_key)

    def forget(self, row_key: str) -> None:
        """Forget a row, which is back."""
        self.take(row_key)
        self._finished.pop(_short(row_key), None)
        self._unfinished.pop(row_key, None)

    def knows_any_of(self, row_keys: dict[str, None]) -> bool:
        """Return True if any of these rows was in the shape before."""
        known = (self._whole, self._unfinished)
        if any(not rows.keys().isdisjoint(row_keys) for rows in known):
            return True
        return bool(self._finished) and not self._finished.keys().isdisjoint(map(_short, row_keys))

    def _reduce(self, row_key: str) -> None:
        row = self.take(row_key)
        if is_finished(row):
            self._finished[_short(row_key)] = None
        else:
            self._unfinished[row_key] = GoneRow(False, getattr(row, "updated_at", None))


def _short(row_key: str) -> int:
    # 60 bits, since the next one would make it half as large again.
    return hash(row_key) >> 4


class AbsentRows:
    """Finished rows that whole snapshots lack, though nothing said that they are gone."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def gone(self, absent: Iterable[str], now: float) -> list[str]:
        """Return those that are gone: that a snapshot lacked long ago, and this one lacks too.

        Args:
            absent: all that this one lacks.
            now: seconds of any clock that does not go back.
        """
        since = {row_key: self._since.get(row_key, now) for row_key in absent}
        gone = [row_key for row_key, at in since.items() if now - at >= DOUBT_SECONDS]
        self._since = {row_key: since[row_key] for row_key in since.keys() - gone}
        return gone
