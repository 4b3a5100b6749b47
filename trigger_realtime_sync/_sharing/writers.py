"""The append of one leader to its log, for runs and for streams.

A leader that is refused, or that does not know whether an append was done, is of no use any more:
another one begins again, with an epoch of its own. So nothing is ever resolved by guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .._wire.stream_parts import PartBatch
from .entries import OVER, Entry, EntryId, Placed
from .run_journal import Columns, RunJournal
from .run_replica import RowsOfLog
from .shared_log import ALONE, ANY, Append, SharedLog
from .stream_journal import StreamJournal

# How many entries are read at once.
PAGE = 200


def pages(log: SharedLog, key: str, after: EntryId | None) -> Iterable[list[Placed]]:
    """Yield all entries after this one, some at a time."""
    while page := log.read(key, after, PAGE):
        yield page
        after = page[-1].id


class LogWriter:
    """Appends entries, each behind the one before.

    Attributes:
        tail: the id of the last entry, ANY before the first append where that does not matter.
    """

    def __init__(self, log: SharedLog, key: str, token: str) -> None:
        self.log = log
        self.key = key
        self.tail: EntryId | None = ANY
        self._token = token

    def append(
        self, entry: Entry, *, opens: bool = False, keep_from: EntryId | None = None
    ) -> tuple[EntryId, int]:
        """Append an entry; for arguments and errors see `Append` and `SharedLog.append`."""
        done = self.log.append(
            Append(
                key=self.key,
                token=self._token,
                entry=entry,
                opens=opens,
                tail=self.tail,
                keep_from=keep_from,
            )
        )
        self.tail = done.id
        return done


class RunWriter:
    """Writes the runs of one target."""

    def __init__(self, log: SharedLog, key: str, token: str) -> None:
        self.log = LogWriter(log, key, token)
        self._journal = RunJournal()
        self._opened = False

    def known(self) -> dict[str, dict[str, Any]]:
        """Return the rows that the log tells, by whoever."""
        rows = RowsOfLog()
        for page in pages(self.log.log, self.log.key, None):
            for placed in page:
                if placed.entry is None:
                    return {}
                rows.take(placed.entry)
        return rows.rows

    def write(
        self,
        rows: Mapping[str, Columns],
        gone: Iterable[str],
        all_rows: Callable[[], Mapping[str, Columns]],
    ) -> None:
        """Write changes; first, and once in a while, all rows."""
        if not self._opened or self._journal.is_due:
            self.log.append(self._journal.snapshot(all_rows()), opens=True, keep_from=ALONE)
            self._opened = True
            return
        entry = self._journal.answer(rows, gone)
        if entry is not None:
            _, size = self.log.append(entry)
            self._journal.wrote(size)

    @property
    def has_opened(self) -> bool:
        """Whether the log begins with what this one wrote."""
        return self._opened


class StreamWriter:
    """Writes the parts of one stream.

    Args:
        history: bytes of entries to keep.

    Attributes:
        place: where the stream goes on after what the log has, None for its beginning.
    """

    def __init__(self, log: SharedLog, key: str, token: str, history: int) -> None:
        self.log = LogWriter(log, key, token)
        self._journal: StreamJournal
        self._history = history
        self.place: str | None = None

    def begin(self, known: tuple[int, str] | None = None) -> bool:
        """Read where the log ends. Return True if the stream is over there.

        Args:
            known: how many parts this process has read before, and where that was: it goes on there
                if the log was lost. On v1 parts can only be counted from what the server still has.
        """
        index = earlier = 0
        last = self.log.log.tail(self.log.key)
        self.log.tail = None if last is None else last.id
        is_over = False
        if last is not None:
            has_place = last.entry is not None and "place" in last.entry.data
            data = last.entry.data if last.entry and has_place else self._last_place()
            self.place = data.get("place")
            index, earlier = data.get("to", 0), data.get("total", 0) + data.get("size", 0)
            is_over = last.entry is not None and last.entry.kind == OVER
        if self.place is None and known is not None:
            index, self.place = known
        index = index if self.place else 0
        self._journal = StreamJournal(index, self.place, self._history, earlier)
        return is_over

    @property
    def known(self) -> tuple[int, str] | None:
        """How many parts were read, and where that is; None at the beginning."""
        place = self._journal.place
        return None if place is None else (self._journal.index, place)

    def _last_place(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for page in pages(self.log.log, self.log.key, None):
            for placed in page:
                if placed.entry is not None and "place" in placed.entry.data:
                    found = placed.entry.data
        return found

    def write(self, parts: PartBatch, size: int) -> None:
        """Write parts that came in so many bytes."""
        entry, opens = self._journal.entry(parts, size), not self._journal.opened
        done = self.log.append(entry, opens=opens, keep_from=self._journal.keep_from())
        self._journal.wrote(*done)

    def say(self, entry: Entry) -> None:
        """Write an entry without parts."""
        self.log.append(entry)
