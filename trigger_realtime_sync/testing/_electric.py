"""The Electric backend (docs/protocol.md, section 2).

It sends a snapshot first, in parts; then every change, as the columns that differ. Its handles
rotate.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Iterator

from ._replies import to_json
from ._rows import Row, electric, timestamp_of
from ._shapes import Shape, ShapeAnswer, ShapePosition, messages_body, row_key
from ._store import Change, RunState, Store

_MUST_REFETCH = b'[{"headers":{"control":"must-refetch"}}]'
# Bytes of messages in one answer of a snapshot, after which Electric begins the next.
_SNAPSHOT_CHUNK_BYTES = 10_000_000
# Differs from every value of a column: Postgres text holds no NUL.
_ABSENT = "\0"


class _ElectricLog:
    """One shape: the snapshot taken at its birth, and the number from which its changes count."""

    def __init__(self, handle: str, shape: Shape, store: Store) -> None:
        period = shape.period_ms
        self.handle = handle
        self.shape = shape
        # No lower bound at all where the period was not understood.
        self.floor = "" if period is None else timestamp_of(int(time.time() * 1000) - period)
        self.born = store.seq
        self.states = [s for s in store.members(shape.subject) if shape.holds(s, self.floor)]
        # Offsets up to this one belong to a log that a restore lost.
        self.lost = 0
        # False after a restore, until a client starts over: offsets in the snapshot are refused.
        self.fresh = True
        # Protects `chunks` and `states`: the first reader renders the snapshot.
        self.lock = threading.Lock()
        self.chunks: list[bytes] | None = None


class ElectricBackend:
    """Answers from one log per shape.

    Args:
        snapshot_chunk_rows: rows in each answer of a snapshot; bounded by bytes alone if None.
        first_answer_empty: begin each snapshot with an answer without rows.
    """

    def __init__(
        self, store: Store, *, snapshot_chunk_rows: int | None, first_answer_empty: bool
    ) -> None:
        self._store = store
        self._chunk_rows = snapshot_chunk_rows
        self._first_answer_empty = first_answer_empty
        # Protected by the store's lock, as the two attributes below.
        self._logs: dict[Shape, _ElectricLog] = {}
        self._keep_handle = False
        self._send_handle = True

    def rotate(self, *, keep_handle: bool, send_handle: bool) -> None:
        with self._store.lock:
            self._keep_handle, self._send_handle = keep_handle, send_handle
            self._logs.clear()
        self._store.wake()

    def restore(self) -> None:
        with self._store.lock:
            for shape, old in list(self._logs.items()):
                log = self._logs[shape] = _ElectricLog(old.handle, shape, self._store)
                log.lost, log.fresh = self._store.seq, False
        self._store.wake()

    def read(self, shape: Shape, at: ShapePosition, *, stale: bool = False) -> ShapeAnswer | None:
        with self._store.lock:
            log = self._logs.get(shape)
            if log is None:
                log = self._logs[shape] = _ElectricLog(_new_handle(shape), shape, self._store)
        refusal = self._refusal(log, at)
        if refusal is not None:
            return refusal
        if at.offset == "-1":
            log.fresh = True
        if at.offset == "-1" or re.fullmatch(r"0_\d+", at.offset):
            return self._snapshot(log, at.offset)
        return self._stale_changes(log, at) if stale else self._changes(log, at)

    def idle(self, shape: Shape, at: ShapePosition) -> ShapeAnswer:
        return self._complete([], at.handle, at.offset)

    def _refusal(self, log: _ElectricLog, at: ShapePosition) -> ShapeAnswer | None:
        if not re.fullmatch(r"-1|\d{1,20}_(\d{1,20}|inf)", at.offset):
            return _invalid("offset", "has invalid format")
        first = at.offset == "-1"
        if first and at.live:
            return _invalid("live", "can't be true when offset == -1")
        if not first and not at.handle:
            return _invalid("handle", "can't be blank when offset != -1")
        if at.handle and at.handle != log.handle and not (first and self._keep_handle):
            named = at.handle if self._keep_handle else log.handle
            return ShapeAnswer(_MUST_REFETCH, named if self._send_handle else None, status=409)
        lsn = int(at.offset.partition("_")[0]) if not first else -1
        if 0 < lsn <= log.lost or (lsn == 0 and not log.fresh) or lsn > self._store.seq:
            return _invalid("offset", "out of bounds for this shape")
        return None

    # --- the snapshot

    def _snapshot(self, log: _ElectricLog, offset: str) -> ShapeAnswer:
        chunks = self._chunks(log)
        index = 0 if offset == "-1" else int(offset.partition("_")[2][:9]) + 1
        if index >= len(chunks):
            return _invalid("offset", "out of bounds for this shape")
        last = index == len(chunks) - 1
        return ShapeAnswer(chunks[index], log.handle, "0_inf" if last else f"0_{index}")

    def _chunks(self, log: _ElectricLog) -> list[bytes]:
        with log.lock:
            if log.chunks is None:
                log.chunks = list(self._render(log))
                log.states = []
            return log.chunks

    def _render(self, log: _ElectricLog) -> Iterator[bytes]:
        if self._first_answer_empty:
            yield b"[]"
        messages: list[bytes] = []
        size = 0
        for state in log.states:
            full = self._chunk_rows is not None and len(messages) >= self._chunk_rows
            if full or size > _SNAPSHOT_CHUNK_BYTES:
                yield messages_body(messages)
                messages, size = [], 0
            row = log.shape.columns(electric(state.row, snapshot=True))
            headers = {"operation": "insert", "relation": ["public", "TaskRun"]}
            messages.append(to_json({"key": row_key(state), "value": row, "headers": headers}))
            size += len(messages[-1])
        end = {"control": "snapshot-end", "xmin": str(log.born), "xmax": str(log.born + 1)}
        yield messages_body([*messages, to_json({"headers": {**end, "xip_list": []}})])

    # --- the changes since

    def _changes(self, log: _ElectricLog, at: ShapePosition) -> ShapeAnswer | None:
        changes = self._store.changes(log.shape.subject, _seq_of(log, at.offset))
        messages = _messages(log, changes)
        if not messages and at.live:
            return None
        return self._complete(messages, log.handle, _offset_of(changes) or at.offset)

    def _stale_changes(self, log: _ElectricLog, at: ShapePosition) -> ShapeAnswer:
        # The last change once more, at the offset of the one before it, or of the client's position
        # in the log, if that is earlier.
        changes = self._store.changes(log.shape.subject, log.born)
        offset = _offset_of(changes[:-1]) or "0_inf"
        if changes[1:] and changes[-2].seq > _seq_of(log, at.offset):
            offset = at.offset
        return self._complete(_messages(log, changes[-1:]), log.handle, offset)

    def _complete(self, messages: list[bytes], handle: str | None, offset: str) -> ShapeAnswer:
        end = {"control": "up-to-date", "global_last_seen_lsn": str(self._store.seq)}
        body = messages_body([*messages, to_json({"headers": end})])
        return ShapeAnswer(body, handle, offset, complete=True)


def _seq_of(log: _ElectricLog, offset: str) -> int:
    return log.born if offset.startswith("0_") else int(offset.partition("_")[0])


def _offset_of(changes: list[Change]) -> str | None:
    return f"{changes[-1].seq}_0" if changes else None


def _messages(log: _ElectricLog, changes: list[Change]) -> list[bytes]:
    return [text for change in changes if (text := _message(log, change))]


def _message(log: _ElectricLog, change: Change) -> bytes | None:
    before = change.before if log.shape.holds(change.before, log.floor) else None
    after = change.after if log.shape.holds(change.after, log.floor) else None
    state = after or before
    if state is None:
        return None
    value, operation = _value(log.shape, before, after)
    if operation == "update" and len(value) == 1:
        # Only columns changed that the client skips.
        return None
    headers = {
        "last": True,
        "relation": ["public", "TaskRun"],
        "operation": operation,
        "lsn": str(change.seq),
        "op_position": 0,
        "txids": [change.seq],
    }
    return to_json({"key": row_key(state), "value": value, "headers": headers})


def _value(shape: Shape, before: RunState | None, after: RunState | None) -> tuple[Row, str]:
    if after is None:
        return {"id": before.row["id"] if before is not None else None}, "delete"
    row = shape.columns(electric(after.row, snapshot=False))
    if before is None:
        return row, "insert"
    old = shape.columns(electric(before.row, snapshot=False))
    changed = {k: v for k, v in row.items() if k == "id" or old.get(k, _ABSENT) != v}
    return changed, "update"


def _new_handle(shape: Shape) -> str:
    digest = int(hashlib.sha256(repr(shape).encode()).hexdigest()[:7], 16)
    return f"{digest}-{time.time_ns() // 1000}{secrets.randbelow(10)}"


def _invalid(field: str, why: str) -> ShapeAnswer:
    body = to_json({"message": "Invalid request", "errors": {field: [why]}})
    return ShapeAnswer(body, status=400)
