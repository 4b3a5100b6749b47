"""What a leader writes of the runs that it reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .entries import ANSWER, SNAPSHOT, Entry

# After this many answers, or bytes of them, a log is begun anew, so that who joins reads little.
MOST_ANSWERS = 500
MOST_BYTES = 4 << 20

Columns = Mapping[str, Any]


class RunJournal:
    """Turns changed rows into entries, and remembers what it wrote.

    Attributes:
        is_due: whether the log should be begun anew.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Columns] = {}
        self._answers = 0
        self._bytes = 0

    @property
    def is_due(self) -> bool:
        return self._answers >= MOST_ANSWERS or self._bytes >= MOST_BYTES

    def wrote(self, size: int) -> None:
        """Note that an answer of so many bytes was written."""
        self._answers += 1
        self._bytes += size

    def snapshot(self, rows: Mapping[str, Columns]) -> Entry:
        """Return the entry that begins the log anew with these rows."""
        self._rows = dict(rows)
        self._answers = self._bytes = 0
        return Entry(SNAPSHOT, {"rows": dict(rows)})

    def answer(self, rows: Mapping[str, Columns], gone: Iterable[str]) -> Entry | None:
        """Return the entry of some changes; None if they change nothing of what was written."""
        whole: dict[str, Columns] = {}
        partial: dict[str, Columns] = {}
        for row_key, columns in rows.items():
            before = self._rows.get(row_key)
            if before is None or not before.keys() <= columns.keys():
                whole[row_key] = columns
            elif changed := {
                name: value
                for name, value in columns.items()
                if name not in before or before[name] != value
            }:
                partial[row_key] = changed
            self._rows[row_key] = columns
        left = [row_key for row_key in gone if self._rows.pop(row_key, None) is not None]
        if not (whole or partial or left):
            return None
        return Entry(ANSWER, {"rows": whole, "changed": partial, "gone": left})
