"""What was written to the streams: Redis-like entries (v1) and S2 records (v2)."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from ._shapes import dump
from ._store import Store, Subject

StreamVersion = Literal["v1", "v2"]
EntryId = tuple[int, int]

# A v1 stream keeps about that many entries.
_KEPT_ENTRIES = 1000
# One batch of v2 holds no more than that.
BATCH_RECORDS = 1000
BATCH_BYTES = 1024 * 1024


@attrs.frozen
class Entry:
    """One write to a v1 stream: any piece of text, not necessarily whole lines."""

    id: EntryId
    text: str


@attrs.frozen
class Record:
    """One record of a v2 stream, rendered, with its metered size."""

    seq_num: int
    size: int
    json: bytes


@attrs.define
class _Log:
    entries: list[Entry] = attrs.field(factory=list)
    last_id: EntryId = (0, 0)
    records: list[Record] = attrs.field(factory=list)
    tail: int = 0
    tail_timestamp: int = 0


def subject_of(run_id: str, key: str) -> Subject:
    return ("stream", run_id, key)


class StreamLogs:
    """Every stream of every run. Safe from any thread."""

    def __init__(self, version: StreamVersion, store: Store) -> None:
        self.version = version
        self._store = store
        self._envelope_ids = itertools.count(1)
        self._envelope_prefix = secrets.token_hex(3)
        # Protects the logs.
        self._lock = threading.Lock()
        self._logs: dict[tuple[str, str], _Log] = {}

    def append(self, run_id: str, key: str, parts: Sequence[Any]) -> None:
        if self.version == "v1":
            lines = [dump(part).decode() + "\n" for part in parts]
            self.append_raw(run_id, key, lines)
        else:
            bodies = [{"data": part, "id": self._envelope_id()} for part in parts]
            self.append_records(run_id, key, [{"body": body} for body in bodies])

    def append_raw(self, run_id: str, key: str, texts: Sequence[str]) -> list[str]:
        self._need("v1", run_id, key)
        ids = []
        with self._lock:
            log = self._log(run_id, key)
            for text in texts:
                log.last_id = _next_id(log.last_id)
                log.entries.append(Entry(log.last_id, text))
                ids.append(f"{log.last_id[0]}-{log.last_id[1]}")
            # Cut in steps, so that a long stream does not shift its list for every entry.
            if len(log.entries) > 2 * _KEPT_ENTRIES:
                del log.entries[:-_KEPT_ENTRIES]
        self._store.wake([subject_of(run_id, key)])
        return ids

    def append_records(
        self, run_id: str, key: str, records: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        self._need("v2", run_id, key)
        with self._lock:
            log = self._log(run_id, key)
            first = log.tail
            for record in records:
                log.tail_timestamp = max(log.tail_timestamp, int(time.time() * 1000))
                log.records.append(_record(log.tail, log.tail_timestamp, record))
                log.tail += 1
            seq_nums = list(range(first, log.tail))
        self._store.wake([subject_of(run_id, key)])
        return seq_nums

    def trim(self, run_id: str, key: str, keep: int) -> None:
        with self._lock:
            log = self._log(run_id, key)
            for items in (log.entries, log.records):
                del items[: max(0, len(items) - keep)]

    def entries(self, run_id: str, key: str, after: EntryId) -> list[Entry]:
        with self._lock:
            entries = self._log(run_id, key).entries[-_KEPT_ENTRIES:]
            if not entries or entries[-1].id <= after:
                return []
            return entries[bisect_right(entries, after, key=lambda entry: entry.id) :]

    def last_entry(self, run_id: str, key: str) -> EntryId:
        with self._lock:
            return self._log(run_id, key).last_id

    def records(self, run_id: str, key: str, start: int) -> list[Record]:
        """The records of the next batch from that number on."""
        with self._lock:
            records = self._log(run_id, key).records
            first = bisect_right(records, start - 1, key=lambda record: record.seq_num)
            chosen = records[first : first + BATCH_RECORDS]
        size = 0
        for count, record in enumerate(chosen):
            size += record.size
            if size > BATCH_BYTES and count > 0:
                return chosen[:count]
        return chosen

    def tail(self, run_id: str, key: str) -> tuple[int, int]:
        """The number of the next record, and the time of the last one."""
        with self._lock:
            log = self._log(run_id, key)
            return log.tail, log.tail_timestamp

    def _need(self, version: StreamVersion, run_id: str, key: str) -> None:
        if self.version != version:
            raise ValueError(f"the streams of this server are {self.version}, not {version}")
        self._store.add_stream(run_id, key)

    def _log(self, run_id: str, key: str) -> _Log:
        return self._logs.setdefault((run_id, key), _Log())

    def _envelope_id(self) -> str:
        return f"{self._envelope_prefix}{next(self._envelope_ids):x}"


def _next_id(last: EntryId) -> EntryId:
    now = int(time.time() * 1000)
    return (now, 0) if now > last[0] else (last[0], last[1] + 1)


def _record(seq_num: int, timestamp: int, given: Mapping[str, Any]) -> Record:
    record: dict[str, Any] = {"seq_num": seq_num, "timestamp": timestamp, **given}
    body = record.get("body")
    if body is not None and not isinstance(body, str):
        body = record["body"] = dump(body).decode()
    headers = record.get("headers") or ()
    size = 8 + 2 * len(headers) + sum(len(text) for pair in headers for text in pair)
    return Record(record["seq_num"], size + len(body or ""), dump(record))
