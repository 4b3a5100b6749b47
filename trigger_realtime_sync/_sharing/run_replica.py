"""What a follower makes of the entries about runs. Pure.

The leader has judged which states are news, so that the order of the log is the order of the
states. Only a snapshot may be older than what this process told before: the leader may be another
one, that was answered by a replica which lags behind, or the log may have been lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from .._wire.changes import Changes
from .._wire.row_judge import DOUBT_SECONDS, is_finished, went_back
from .._wire.shape_log import Decode, Told
from ..errors import ProtocolError
from .entries import ANSWER, SNAPSHOT, Entry

RowT = TypeVar("RowT")


@attrs.frozen
class _Doubt(Generic[RowT]):
    row: RowT
    since: float


class RowsOfLog:
    """The columns of all rows, as the log tells them."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def take(self, entry: Entry) -> tuple[dict[str, dict[str, Any]], list[str]]:
        """Apply an entry.

        Returns:
            The rows that changed, whole, and the keys of those that are gone.
        """
        data = entry.data
        if entry.kind == SNAPSHOT:
            before, self.rows = self.rows, dict(data["rows"])
            changed = {key: row for key, row in self.rows.items() if before.get(key) != row}
            return changed, [key for key in before if key not in self.rows]
        if entry.kind != ANSWER:
            return {}, []
        touched = dict(data.get("rows", {}))
        for key, columns in data.get("changed", {}).items():
            touched[key] = {**self.rows.get(key, {}), **columns}
        self.rows.update(touched)
        gone = [key for key in data.get("gone", ()) if self.rows.pop(key, None) is not None]
        return touched, gone


class RunReplica(Generic[RowT]):
    """Turns entries into changes.

    Args:
        decode: makes a row of its columns; see `ShapeLog`.
        told: returns the last known states of rows, by anyone's account.

    Attributes:
        has_snapshot: whether all rows are known.
    """

    def __init__(self, decode: Decode[RowT], told: Told[RowT]) -> None:
        self._decode = decode
        self._told = told
        self._log = RowsOfLog()
        self._rows: dict[str, RowT] = {}
        self._doubts: dict[str, _Doubt[RowT]] = {}
        self._forgotten: set[str] = set()
        self.has_snapshot = False

    def forget_seen(self) -> None:
        """Report every row as changed when the next snapshot has it, even if it is equal."""
        self._forgotten = set(self._rows)

    @property
    def doubts_end(self) -> float | None:
        """When a doubt is next resolved, by the clock that `take` was given; None without any."""
        if not self._doubts:
            return None
        return min(doubt.since for doubt in self._doubts.values()) + DOUBT_SECONDS

    def take(self, entry: Entry, now: float, *, is_past: bool = False) -> Changes[RowT]:
        """Apply an entry. Other kinds than snapshots and answers change nothing.

        Args:
            now: seconds of a clock that does not go back.
            is_past: whether it may be older than what was told.
        """
        is_snapshot = entry.kind == SNAPSHOT
        if not is_snapshot and not self.has_snapshot:
            return Changes()
        touched, gone = self._log.take(entry)
        if is_past:
            # What was told since then is not gone.
            gone = []
        elif is_snapshot:
            gone = [row_key for row_key in self._rows if row_key not in self._log.rows]
        if is_snapshot:
            self.has_snapshot = True
            for row_key in self._forgotten & self._log.rows.keys():
                touched.setdefault(row_key, self._log.rows[row_key])
        changes: Changes[RowT] = Changes(news=bool(touched))
        told = self._told(touched)
        for row_key, columns in touched.items():
            self._settle(
                row_key, columns, told, changes, may_be_old=is_snapshot or is_past, now=now
            )
        for row_key in gone:
            self._doubts.pop(row_key, None)
            if self._rows.pop(row_key, None) is not None:
                changes.gone.append(row_key)
        return changes

    def confirmed(self, now: float) -> Changes[RowT]:
        """Return the older states that are true after all: nothing newer came since."""
        changes: Changes[RowT] = Changes()
        for row_key, doubt in list(self._doubts.items()):
            if now - doubt.since >= DOUBT_SECONDS:
                del self._doubts[row_key]
                self._rows[row_key] = changes.rows[row_key] = doubt.row
        return changes

    def _settle(
        self,
        row_key: str,
        columns: Mapping[str, Any],
        told: Mapping[str, RowT],
        changes: Changes[RowT],
        *,
        may_be_old: bool,
        now: float,
    ) -> None:
        last = self._rows.get(row_key)
        before = told.get(row_key, last)
        try:
            row = self._decode(columns, before)
        except ProtocolError as error:
            changes.failures[row_key] = error
            return
        self._doubts.pop(row_key, None)
        if before is not None:
            if is_finished(before) and not is_finished(row):
                row = before
            elif may_be_old and not is_finished(row) and went_back(before, row):
                self._doubts[row_key] = _Doubt(row, now)
                row = before
        self._rows[row_key] = row
        if last is None or row != before or row_key in self._forgotten:
            self._forgotten.discard(row_key)
            changes.rows[row_key] = row


def row_keys(placed: Iterable[Entry]) -> dict[str, dict[str, Any]]:
    """Return the rows that some entries lead to, the first of which is a snapshot."""
    log = RowsOfLog()
    for entry in placed:
        log.take(entry)
    return log.rows
