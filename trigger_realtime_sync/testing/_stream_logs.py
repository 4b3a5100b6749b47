"""The logs of the streams: Redis entries (v1) and S2 records (v2)."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from ._replies import to_json
from ._store import Store, Subject

StreamVersion = Literal["v1", "v2"]
# A run's id and the key of its stream.
StreamName = tuple[str, str]
# Milliseconds and a counter, as Redis numbers the entries of a stream.
EntryId = tuple[int, int]

# Entries that a v1 stream keeps: the server trims to about that many.
_KEPT_ENTRIES = 1000
# Records and metered bytes in one batch of v2: the limits of S2.
_BATCH_RECORDS = 1000
_BATCH_BYTES = 1024 * 1024


@attrs.frozen
class RedisEntry:
    """One write to a v1 stream: any piece of text, not necessarily whole lines."""

    id: EntryId
    text: str


@attrs.frozen
class S2Record:
    """One record of a v2 stream, rendered, with its metered size in bytes."""

    seq_num: int
    size: int
    json: bytes


@attrs.define
class _StreamLog:
    entries: list[RedisEntry] = attrs.field(factory=list)
    last_id: EntryId = (0, 0)
    records: list[S2Record] = attrs.field(factory=list)
    tail: int = 0
    tail_timestamp: int = 0


def subject_of(stream: StreamName) -> Subject:
    return ("stream", *stream)


class StreamLogs:
    """The log of every stream of every run. Safe from any thread."""

    def __init__(self, version: StreamVersion, store: Store) -> None:
        self.version = version
        self._store = store
        self._envelope_ids = itertools.count(1)
        self._envelope_prefix = secrets.token_hex(3)
        # Protects the logs.
        self._lock = threading.Lock()
        self._logs: dict[StreamName, _StreamLog] = {}

    def append(self, stream: StreamName, parts: Sequence[Any]) -> None:
        if self.version == "v1":
            self.append_raw(stream, [to_json(part).decode() + "\n" for part in parts])
        else:
            bodies = [{"data": part, "id": self._envelope_id()} for part in parts]
            self.append_records(stream, [{"body": body} for body in bodies])

    def append_raw(self, stream: StreamName, texts: Sequence[str]) -> list[str]:
        self._open("v1", stream)
        ids = []
        with self._lock:
            log = self._log(stream)
            for text in texts:
                log.last_id = _next_id(log.last_id)
                log.entries.append(RedisEntry(log.last_id, text))
                ids.append(f"{log.last_id[0]}-{log.last_id[1]}")
            # Cut in steps, so that a long stream does not shift its list for every entry.
            if len(log.entries) > 2 * _KEPT_ENTRIES:
                del log.entries[:-_KEPT_ENTRIES]
        self._store.wake([subject_of(stream)])
        return ids

    def append_records(self, stream: StreamName, records: Sequence[Mapping[str, Any]]) -> list[int]:
        self._open("v2", stream)
        with self._lock:
            log = self._log(stream)
            first = log.tail
            for record in records:
                log.tail_timestamp = max(log.tail_timestamp, int(time.time() * 1000))
                log.records.append(_rendered(log.tail, log.tail_timestamp, record))
                log.tail += 1
            seq_nums = list(range(first, log.tail))
        self._store.wake([subject_of(stream)])
        return seq_nums

    def trim(self, stream: StreamName, keep: int) -> None:
        with self._lock:
            log = self._log(stream)
            for items in (log.entries, log.records):
                del items[: max(0, len(items) - keep)]

    def entries(self, stream: StreamName, after: EntryId) -> list[RedisEntry]:
        with self._lock:
            entries = self._log(stream).entries[-_KEPT_ENTRIES:]
            if not entries or entries[-1].id <= after:
                return []
            return entries[bisect_right(entries, after, key=lambda entry: entry.id) :]

    def last_entry(self, stream: StreamName) -> EntryId:
        with self._lock:
            return self._log(stream).last_id

    def records(self, stream: StreamName, start: int) -> list[S2Record]:
        """Return the records of the next batch, from number `start` on."""
        with self._lock:
            records = self._log(stream).records
            first = bisect_right(records, start - 1, key=lambda record: record.seq_num)
            chosen = records[first : first + _BATCH_RECORDS]
        size = 0
        for count, record in enumerate(chosen):
            size += record.size
            if size > _BATCH_BYTES and count > 0:
                return chosen[:count]
        return chosen

    def tail(self, stream: StreamName) -> dict[str, int]:
        """Return the number of the next record, and the time of the last one in milliseconds."""
        with self._lock:
            log = self._log(stream)
            return {"seq_num": log.tail, "timestamp": log.tail_timestamp}

    def _open(self, version: StreamVersion, stream: StreamName) -> None:
        if self.version != version:
            raise ValueError(f"the streams of this server are {self.version}, not {version}")
        self._store.add_stream(*stream)

    def _log(self, stream: StreamName) -> _StreamLog:
        return self._logs.setdefault(stream, _StreamLog())

    def _envelope_id(self) -> str:
        return f"{self._envelope_prefix}{next(self._envelope_ids):x}"


def _next_id(last: EntryId) -> EntryId:
    now = int(time.time() * 1000)
    return (now, 0) if now > last[0] else (last[0], last[1] + 1)


def _rendered(seq_num: int, timestamp: int, given: Mapping[str, Any]) -> S2Record:
    record: dict[str, Any] = {"seq_num": seq_num, "timestamp": timestamp, **given}
    body = record.get("body")
    if body is not None and not isinstance(body, str):
        body = record["body"] = to_json(body).decode()
    headers = record.get("headers") or ()
    # The metered size as S2 defines it.
    size = 8 + 2 * len(headers) + sum(len(text) for pair in headers for text in pair)
    return S2Record(record["seq_num"], size + len(body or ""), to_json(record))
