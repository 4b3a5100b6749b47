"""Whether a row that an answer brings is news, or an old state sent again. Pure.

Order is the log's, and `updatedAt` is no order: writers take it before they commit, each by its own
clock. It only judges whole rows, which a cache or a lagging replica may send again. Source:
docs/protocol.md, section 2, "Order".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import attrs

from . import names as wire
from .postgres import parse_timestamp

RowT = TypeVar("RowT")

_UPDATED_AT = wire.RUN_COLUMNS["updated_at"]
# After this many seconds neither replica lag nor a cache explains an older state: it is the last.
DOUBT_SECONDS = 30.0


def is_finished(row: Any) -> bool:
    """Return True if a row says of itself that it will not change any more."""
    return bool(getattr(row, "is_finished", False))


def went_back(before: Any, after: Any) -> bool:
    """Return True if a state has an earlier `updated_at` than the one before it."""
    earlier = getattr(before, "updated_at", None)
    later = getattr(after, "updated_at", None)
    return earlier is not None and later is not None and later < earlier


def is_older(value: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Return True if a row's columns are older than the known ones: merging them would bring old
    values back."""
    later, earlier = value.get(_UPDATED_AT), known.get(_UPDATED_AT)
    if later == earlier or not isinstance(later, str) or not isinstance(earlier, str):
        return False
    try:
        return parse_timestamp(later) < parse_timestamp(earlier)
    except ValueError:
        return False


class GoneRow(NamedTuple):
    """What is left of a row that is no longer in the shape, and not kept whole."""

    is_finished: bool
    updated_at: datetime | None = None


@attrs.frozen
class _Doubt(Generic[RowT]):
    """An older state that is not told, since when, and whether the log goes on from it."""

    row: RowT
    since: float
    is_base: bool


class RowJudge(Generic[RowT]):
    """Decides on the rows of one log, a round at a time: all answers up to an up-to-date one."""

    def __init__(self) -> None:
        self._whole: set[str] = set()
        self._held: dict[str, dict[str, Any]] = {}
        self._doubts: dict[str, _Doubt[RowT]] = {}

    @property
    def doubts(self) -> bool:
        """Whether a state is held back that another answer may confirm."""
        return bool(self._doubts)

    def came_whole(self, row_keys: Iterable[str]) -> None:
        """Note rows that came whole, and that the log goes on from."""
        self._whole.update(row_keys)
        if self._held:
            for row_key in row_keys:
                self._held.pop(row_key, None)

    def hold(self, row_key: str, columns: dict[str, Any]) -> None:
        """Note a whole row that is older than the one that the log goes on from."""
        self._held[row_key] = columns

    def went_on(self, row_key: str) -> None:
        """Note a change of the log itself."""
        self._held.pop(row_key, None)

    def forget(self, row_key: str) -> None:
        """Note that the row was deleted."""
        self._whole.discard(row_key)
        self._held.pop(row_key, None)
        self._doubts.pop(row_key, None)

    def start_over(self) -> None:
        """Begin another round, of another log say. What is doubted stays."""
        self._whole.clear()
        self._held.clear()

    def columns(self, row_key: str, base: dict[str, Any]) -> dict[str, Any]:
        """Return the columns to be judged: those held, or else those that the log goes on from."""
        return self._held.get(row_key, base)

    def accepts(
        self, row_key: str, before: RowT | GoneRow | None, row: RowT, *, live: bool, now: float
    ) -> bool:
        """Return True if a touched row is to be told.

        Args:
            before: what was told of it last, by whoever, or what is left of that.
            live: whether the answer is that of a long poll.
            now: seconds of any clock that does not go back.
        """
        if before is not None and is_finished(before) and not is_finished(row):
            # Nothing starts a finished run again, whatever its stamp says.
            self._doubts.pop(row_key, None)
            return False
        if not self._is_doubtful(row_key, before, row, live=live):
            self._doubts.pop(row_key, None)
            return True
        doubt = self._doubts.get(row_key)
        if doubt is None or doubt.row != row:
            self._doubts[row_key] = _Doubt(row, now, row_key not in self._held)
            return False
        if live or now - doubt.since < DOUBT_SECONDS:
            return False
        del self._doubts[row_key]
        return True

    def confirmed(self, touched: Mapping[str, Any], now: float) -> Iterator[tuple[str, RowT]]:
        """Yield the doubted rows that are true after all: an answer that says what follows the
        offset brought nothing on them."""
        for row_key, doubt in list(self._doubts.items()):
            if row_key in touched:
                continue
            if not doubt.is_base:
                del self._doubts[row_key]
            elif now - doubt.since >= DOUBT_SECONDS:
                del self._doubts[row_key]
                yield row_key, doubt.row

    def _is_doubtful(
        self, row_key: str, before: RowT | GoneRow | None, row: RowT, *, live: bool
    ) -> bool:
        if before is None or is_finished(row):
            return False
        # The log goes on from a state that is doubted, but a catch-up may be old as well.
        doubted = row_key in self._doubts and not live
        came_whole = row_key in self._whole or row_key in self._held
        return (doubted or came_whole) and went_back(before, row)
