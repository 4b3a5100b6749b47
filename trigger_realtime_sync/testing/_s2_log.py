"""One v2 stream as S2 keeps it: records, the appends they came in, trims and losses."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from ._replies import to_json

# Records and metered bytes in one append, and in one batch of a backlog: the limits of S2.
_BATCH_RECORDS = 1000
_BATCH_BYTES = 1024 * 1024
# Appends that S2 holds for a reader that follows. One that is further behind reads from the disk.
_HELD_APPENDS = 25
# The bytes of a command's number, as the JSON of a record shows them.
_TRIM_BYTES = 8
_NOT_UTF8 = "\ufffd"

# How an open body ends: cut off, or with `event: error` once what was written has been sent.
Ending = Literal["cut", "error"]


@attrs.frozen
class S2Record:
    """One record, rendered, with its metered size in bytes."""

    seq_num: int
    size: int
    json: bytes


@attrs.frozen
class S2Batch:
    """Records that go out as one event; `tail` is named where the reader follows."""

    records: Sequence[S2Record]
    tail: Mapping[str, int] | None = None


@attrs.define
class Lease:
    """What a body holds on to while it is open. Once `ending` is set, the body ends."""

    ending: Ending | None = None


class S2Log:
    """The records of one stream. Numbers have no holes."""

    def __init__(self) -> None:
        # Protects everything below.
        self._lock = threading.Lock()
        # The records from number `_base` on, and the time of each record that there ever was.
        self._base = 0
        self._records: list[S2Record] = []
        self._timestamps: list[int] = []
        # Of each append, the number after its last record.
        self._ends: list[int] = []
        # The first record that is not trimmed.
        self._first = 0
        self._lease = Lease()

    @property
    def _tail(self) -> int:
        return len(self._timestamps)

    # --- writing

    def append(self, given: Sequence[Mapping[str, Any]]) -> list[int]:
        """Write records, in as many appends as the limits of S2 ask for. Return their numbers."""
        with self._lock:
            first = self._tail
            self._append(given)
            for seq_num, record in enumerate(given, first):
                # As far as the command itself, and no later record.
                self._trim_below(min(_trim_point(record), seq_num + 1))
            return list(range(first, self._tail))

    def trim(self, keep: int) -> None:
        """Drop all but the last `keep` records without a command, as retention does."""
        with self._lock:
            self._trim_below(self._tail - keep)

    def delete(self) -> None:
        """Write the command that trims everything. Bodies end with an error after it."""
        with self._lock:
            self._append([trim_command(_NOT_UTF8 * _TRIM_BYTES)])
            self._end("error")

    def rewind(self, to: int) -> None:
        """Forget the records from number `to` on. Bodies are cut."""
        with self._lock:
            del self._timestamps[to:]
            self._ends = [end for end in self._ends if end < to]
            if self._timestamps:
                self._ends.append(self._tail)
            self._first = min(self._first, self._tail)
            self._base = min(self._base, self._tail)
            del self._records[self._tail - self._base :]
            self._end("cut")

    def end_bodies(self, ending: Ending) -> None:
        with self._lock:
            self._end(ending)

    def _append(self, given: Sequence[Mapping[str, Any]]) -> None:
        first = self._tail
        now = max(int(time.time() * 1000), self._timestamps[-1] if self._timestamps else 0)
        rendered = [_rendered(first + n, now, record) for n, record in enumerate(given)]
        self._records += rendered
        self._timestamps += [now] * len(rendered)
        self._ends += [batch[-1].seq_num + 1 for batch in _batches(rendered)]

    def _end(self, ending: Ending) -> None:
        self._lease.ending = ending
        self._lease = Lease()

    def _trim_below(self, seq_num: int) -> None:
        self._first = max(self._first, seq_num)
        # A reader that follows is sent an append even if it was trimmed in the meantime.
        held = self._ends[-_HELD_APPENDS - 1] if len(self._ends) > _HELD_APPENDS else 0
        dropped = min(self._first, held) - self._base
        if dropped > 0:
            del self._records[:dropped]
            self._base += dropped

    # --- reading

    def lease(self) -> Lease:
        with self._lock:
            return self._lease

    def tail(self) -> dict[str, int]:
        """Return the number of the next record, and the time of the last one in milliseconds."""
        with self._lock:
            return self._position(self._tail)

    def backlog(self, start: int, end: int) -> S2Batch | None:
        """Return the next batch of what lies between two numbers; None where nothing is left."""
        with self._lock:
            first = max(start, self._first)
            last = min(end, first + _BATCH_RECORDS)
            found = self._slice(first, last)
        return S2Batch(next(_batches(found))) if found else None

    def followed(self, start: int) -> S2Batch | None:
        """Return the append that begins at a number, if it has been written."""
        with self._lock:
            if start >= self._tail:
                return None
            end = self._ends[bisect_right(self._ends, start)]
            return S2Batch(self._slice(start, end), self._position(end))

    def left(self) -> list[S2Record]:
        """Return every record that is not trimmed."""
        with self._lock:
            return self._slice(self._first, self._tail)

    def is_lagging(self, start: int) -> bool:
        """Return True if a reader there is too far behind to follow."""
        with self._lock:
            return len(self._ends) - bisect_right(self._ends, start) > _HELD_APPENDS

    def _slice(self, start: int, end: int) -> list[S2Record]:
        return self._records[max(0, start - self._base) : max(0, end - self._base)]

    def _position(self, seq_num: int) -> dict[str, int]:
        timestamp = self._timestamps[seq_num - 1] if seq_num else 0
        return {"seq_num": seq_num, "timestamp": timestamp}


def trim_command(body: str) -> dict[str, Any]:
    return {"headers": [["", "trim"]], "body": body}


def trim_body(before: int) -> str:
    """Return a record's number as the body of a trim command has it: eight bytes, as text."""
    return before.to_bytes(_TRIM_BYTES, "big").decode("utf-8", "replace")


def _trim_point(record: Mapping[str, Any]) -> int:
    """Return the number before which a record lets S2 trim; 0 if it is no trim command."""
    body = record.get("body")
    if not _is_trim(record) or not isinstance(body, str):
        return 0
    data = body.encode("utf-8", "replace")
    return int.from_bytes(data, "big") if len(data) == _TRIM_BYTES else 0


def _is_trim(record: Mapping[str, Any]) -> bool:
    headers: Sequence[Any] = record.get("headers") or ()
    return bool(headers) and list(headers[0]) == ["", "trim"]


def _batches(records: Sequence[S2Record]) -> Iterator[Sequence[S2Record]]:
    """Cut records into batches of at most as many, and as many bytes, as S2 sends in one."""
    first = size = 0
    for place, record in enumerate(records):
        full = place - first == _BATCH_RECORDS or size + record.size > _BATCH_BYTES
        if full and place > first:
            yield records[first:place]
            first, size = place, 0
        size += record.size
    if records:
        yield records[first:]


def _rendered(seq_num: int, timestamp: int, given: Mapping[str, Any]) -> S2Record:
    record: dict[str, Any] = {"seq_num": seq_num, "timestamp": timestamp, **given}
    body = record.get("body")
    if body is not None and not isinstance(body, str):
        body = record["body"] = to_json(body).decode()
    headers = record.get("headers") or ()
    # S2 leaves out what is empty.
    for name in ("headers", "body"):
        if not record.get(name):
            record.pop(name, None)
    # The metered size as S2 defines it, in bytes: eight for a trim, whatever its text.
    texts = [text for pair in headers for text in pair]
    texts.append("." * _TRIM_BYTES if _is_trim(record) else body or "")
    size = 8 + 2 * len(headers) + sum(len(text.encode("utf-8", "replace")) for text in texts)
    return S2Record(record["seq_num"], size, to_json(record))
