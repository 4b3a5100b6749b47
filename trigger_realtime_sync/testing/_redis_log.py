"""One v1 stream as Redis keeps it: entries of text, about the last thousand of them."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Sequence

import attrs

# Milliseconds and a counter, as Redis numbers the entries of a stream.
EntryId = tuple[int, int]

# Entries that a v1 stream keeps, and entries that Redis drops at a time: `MAXLEN ~ 1000` drops
# whole nodes only.
_KEPT_ENTRIES = 1000
_NODE_ENTRIES = 100
# Entries that one XREAD returns.
READ_ENTRIES = 100

# What servers before 4.1.2 write when the writer is done. Later ones skip it.
END_OF_STREAM = "<<CLOSE_STREAM>>"


@attrs.frozen
class RedisEntry:
    """One write to a v1 stream: any piece of text, not necessarily whole lines."""

    id: EntryId
    text: str


class RedisLog:
    """The entries of one stream."""

    def __init__(self) -> None:
        # Protects everything below.
        self._lock = threading.Lock()
        self._entries: list[RedisEntry] = []
        self._last_id: EntryId = (0, 0)

    def append(self, texts: Sequence[str]) -> list[str]:
        """Write an entry for each text. Return their ids."""
        ids = []
        with self._lock:
            for text in texts:
                self._last_id = _next_id(self._last_id)
                self._entries.append(RedisEntry(self._last_id, text))
                ids.append(f"{self._last_id[0]}-{self._last_id[1]}")
            nodes = max(0, len(self._entries) - _KEPT_ENTRIES) // _NODE_ENTRIES
            del self._entries[: nodes * _NODE_ENTRIES]
        return ids

    def trim(self, keep: int) -> None:
        with self._lock:
            del self._entries[: max(0, len(self._entries) - keep)]

    def last_id(self) -> EntryId:
        with self._lock:
            return self._last_id

    def after(self, last: EntryId) -> list[RedisEntry]:
        """Return the next entries, as many as one XREAD does."""
        with self._lock:
            first = bisect_right(self._entries, last, key=lambda entry: entry.id)
            return self._entries[first : first + READ_ENTRIES]


def _next_id(last: EntryId) -> EntryId:
    now = int(time.time() * 1000)
    return (now, 0) if now > last[0] else (last[0], last[1] + 1)
