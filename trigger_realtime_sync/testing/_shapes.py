"""The two backends of the run feeds, each with its own habits (PROTOCOL, section 2).

A backend answers at once: `read` gives the answer, or None when a live poll has to be held.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import attrs

from ._rows import Row, electric
from ._store import Change, State, Store, Subject

UP_TO_DATE = b'{"headers":{"control":"up-to-date"}}'
MUST_REFETCH = b'[{"headers":{"control":"must-refetch"}}]'
_SNAPSHOT_CHUNK_BYTES = 10_000_000


@attrs.frozen
class Shape:
    """Which runs, and which of their columns, a request is about."""

    kind: str
    subject: Subject
    tags: frozenset[str] = frozenset()
    period_ms: int | None = None
    skipped: frozenset[str] = frozenset()

    def holds(self, state: State | None, created_after: str = "") -> bool:
        if state is None:
            return False
        if self.kind == "run":
            return state.id == self.subject[1]
        if self.kind == "batch":
            return state.batch == self.subject[1]
        return self.tags <= state.tags and (state.row.get("createdAt") or "") >= created_after

    def columns(self, row: Row) -> Row:
        if not self.skipped:
            return row
        return {name: value for name, value in row.items() if name not in self.skipped}


@attrs.frozen
class Position:
    """Where in the log the client says it is."""

    offset: str
    handle: str | None
    live: bool


@attrs.frozen
class Answer:
    """A 200 carries a handle and an offset; anything else is a refusal, told by its body."""

    body: bytes
    handle: str | None = None
    offset: str | None = None
    status: int = 200
    # Electric: the answer ends with `up-to-date`, which a header says too.
    complete: bool = False


class Backend(Protocol):
    def read(self, shape: Shape, at: Position, *, stale: bool = False) -> Answer | None:
        """The answer as of now; None when there is nothing new and the poll is live."""

    def idle(self, shape: Shape, at: Position) -> Answer:
        """The answer to a live poll that was held in vain."""


def dump(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Lone surrogates are escaped, as JavaScript does.
        return json.dumps(value, separators=(",", ":")).encode()


def _key(state: State) -> str:
    return f'"public"."TaskRun"/"{state.row["id"]}"'


def _array(messages: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(messages) + b"]"


class Native:
    """Whole rows, each run once per answer, everything and `up-to-date` in the first one."""

    snapshot_cap = 1000

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, shape: Shape, at: Position, *, stale: bool = False) -> Answer | None:
        with self._store.lock:
            after = _after(at.offset)
            if after is None:
                return self._snapshot(shape, at, stale)
            if stale:
                return self._stale(shape, at, after)
            floor = self._floor(shape, at.handle)
            return self._news(shape, at, after, floor)

    def idle(self, shape: Shape, at: Position) -> Answer:
        return Answer(_array([UP_TO_DATE]), self._handle(shape, at), at.offset)

    def _snapshot(self, shape: Shape, at: Position, stale: bool) -> Answer:
        handle = self._handle(shape, at)
        floor = self._floor(shape, handle)
        states = [one for one in self._store.members(shape.subject) if shape.holds(one, floor)]
        if stale:
            states = [self._earlier(shape, one) for one in states]
        states = states[-self.snapshot_cap :]
        messages = [self._message(shape, one, "insert") for one in states]
        # A lagging replica: with an offset from which the newer rows come again.
        offset = f"{states[0].updated_ms}_0" if stale and states else self._offset(states)
        return Answer(_array([*messages, UP_TO_DATE]), handle, offset)

    def _news(self, shape: Shape, at: Position, after: int, floor: str) -> Answer | None:
        latest: dict[str, State] = {}
        entered: set[str] = set()
        for change in self._store.changes(shape.subject, after):
            if not shape.holds(change.after, floor) or change.after is None:
                # A run that left, or was deleted, is never mentioned again.
                latest.pop(change.id, None)
                continue
            if change.id not in latest and not shape.holds(change.before, floor):
                entered.add(change.id)
            latest.pop(change.id, None)
            latest[change.id] = change.after
        if not latest:
            return None if at.live else self.idle(shape, at)
        many = shape.kind != "run"
        messages = [
            self._message(shape, state, "insert" if many and run_id in entered else "update")
            for run_id, state in latest.items()
        ]
        offset = self._offset(latest.values())
        return Answer(_array([*messages, UP_TO_DATE]), self._handle(shape, at), offset)

    def _stale(self, shape: Shape, at: Position, after: int) -> Answer:
        # A lagging replica: the rows as they were, and an offset from which they come again, never
        # past what the client was sent.
        changes = self._store.changes(shape.subject, 0)
        before = min(changes[-2].seq if len(changes) > 1 else 0, after)
        latest = {one.id: one.after for one in changes if shape.holds(one.after)}
        states = [self._earlier(shape, one) for one in latest.values() if one is not None]
        messages = [self._message(shape, one, "update") for one in states[-1:]]
        offset = f"{states[-1].updated_ms if states else 0}_{before}"
        return Answer(_array([*messages, UP_TO_DATE]), self._handle(shape, at), offset)

    def _earlier(self, shape: Shape, state: State) -> State:
        changes = [c for c in self._store.changes(("run", state.id), 0) if c.before is not None]
        before = changes[-1].before if changes else None
        return before if before is not None and shape.holds(before) else state

    def _message(self, shape: Shape, state: State, operation: str) -> bytes:
        value = shape.columns(state.row)
        return dump(
            {"key": _key(state), "value": value, "headers": {"operation": operation}},
        )

    def _offset(self, states: Iterable[State]) -> str:
        newest = max((state.updated_ms for state in states), default=int(time.time() * 1000))
        return f"{newest}_{self._store.tick()}"

    def _handle(self, shape: Shape, at: Position) -> str:
        if at.handle:
            return at.handle
        name = shape.subject[1]
        if shape.kind == "run":
            return "run-" + name.removeprefix("run_")
        digest = hashlib.sha256(repr(shape).encode()).hexdigest()[:8]
        if shape.kind == "batch":
            return f"batch_{name}_{self._store.tick()}_{digest}"
        floor = int(time.time() * 1000) - (shape.period_ms or 0)
        return f"runs_{floor - floor % 60_000}_{self._store.tick()}_{digest}"

    def _floor(self, shape: Shape, handle: str | None) -> str:
        # The window is pinned by the handle: it does not move while a client follows it.
        found = re.match(r"runs_(\d{1,15})_", handle or "")
        return _moment(int(found[1])) if found and shape.kind == "runs" else ""


def _after(offset: str) -> int | None:
    """The sequence number in an offset, None when the offset asks for a snapshot."""
    found = re.fullmatch(r"\d{1,20}_(\d{1,20})", offset)
    return int(found[1]) if found else None


def _moment(ms: int) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms / 1000))
    return f"{whole}.{ms % 1000:03d}"


class _Log:
    """One shape of Electric: a snapshot of its birth, and every change since."""

    def __init__(self, handle: str, shape: Shape, store: Store) -> None:
        period = shape.period_ms
        self.handle = handle
        self.shape = shape
        # No lower bound at all where the period was not understood.
        self.floor = "" if period is None else _moment(int(time.time() * 1000) - period)
        self.born = store.seq
        self.states = [s for s in store.members(shape.subject) if shape.holds(s, self.floor)]
        # Offsets up to here are of a log that a restore took away.
        self.lost = 0
        self.fresh = True
        # Protects the chunks, rendered by whoever asks first.
        self.lock = threading.Lock()
        self.chunks: list[bytes] | None = None


class Electric:
    """Snapshot first, in parts; then partial updates, every one of them; handles that rotate."""

    def __init__(
        self, store: Store, *, snapshot_chunk_rows: int | None, first_answer_empty: bool
    ) -> None:
        self._store = store
        self._chunk_rows = snapshot_chunk_rows
        self._first_answer_empty = first_answer_empty
        # Protected by the store's lock, like the logs.
        self._logs: dict[Shape, _Log] = {}
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
                log = self._logs[shape] = _Log(old.handle, shape, self._store)
                log.lost, log.fresh = self._store.seq, False
        self._store.wake()

    def read(self, shape: Shape, at: Position, *, stale: bool = False) -> Answer | None:
        with self._store.lock:
            log = self._logs.get(shape)
            if log is None:
                log = self._logs[shape] = _Log(_new_handle(shape), shape, self._store)
        refusal = self._refuse(log, at)
        if refusal is not None:
            return refusal
        if at.offset == "-1":
            log.fresh = True
        if at.offset == "-1" or re.fullmatch(r"0_\d+", at.offset):
            return self._snapshot(log, at.offset)
        return self._changes(log, at, stale)

    def idle(self, shape: Shape, at: Position) -> Answer:
        return Answer(_array([self._up_to_date()]), at.handle, at.offset, complete=True)

    def _refuse(self, log: _Log, at: Position) -> Answer | None:
        if not re.fullmatch(r"-1|\d{1,20}_(\d{1,20}|inf)", at.offset):
            return _invalid("offset", "has invalid format")
        first = at.offset == "-1"
        if first and at.live:
            return _invalid("live", "can't be true when offset == -1")
        if not first and not at.handle:
            return _invalid("handle", "can't be blank when offset != -1")
        if at.handle and at.handle != log.handle and not (first and self._keep_handle):
            told = at.handle if self._keep_handle else log.handle
            return Answer(MUST_REFETCH, told if self._send_handle else None, status=409)
        lsn = int(at.offset.partition("_")[0]) if not first else -1
        if 0 < lsn <= log.lost or (lsn == 0 and not log.fresh) or lsn > self._store.seq:
            return _invalid("offset", "out of bounds for this shape")
        return None

    def _snapshot(self, log: _Log, offset: str) -> Answer:
        chunks = self._chunks(log)
        index = 0 if offset == "-1" else int(offset.partition("_")[2][:9]) + 1
        if index >= len(chunks):
            return _invalid("offset", "out of bounds for this shape")
        last = index == len(chunks) - 1
        return Answer(chunks[index], log.handle, "0_inf" if last else f"0_{index}")

    def _chunks(self, log: _Log) -> list[bytes]:
        with log.lock:
            if log.chunks is None:
                log.chunks = list(self._render(log))
                log.states = []
            return log.chunks

    def _render(self, log: _Log) -> Iterator[bytes]:
        if self._first_answer_empty:
            yield b"[]"
        messages: list[bytes] = []
        size = 0
        for state in log.states:
            full = self._chunk_rows is not None and len(messages) >= self._chunk_rows
            if full or size > _SNAPSHOT_CHUNK_BYTES:
                yield _array(messages)
                messages, size = [], 0
            row = log.shape.columns(electric(state.row, snapshot=True))
            headers = {"operation": "insert", "relation": ["public", "TaskRun"]}
            messages.append(dump({"key": _key(state), "value": row, "headers": headers}))
            size += len(messages[-1])
        end = {"control": "snapshot-end", "xmin": str(log.born), "xmax": str(log.born + 1)}
        yield _array([*messages, dump({"headers": {**end, "xip_list": []}})])

    def _changes(self, log: _Log, at: Position, stale: bool) -> Answer | None:
        after = log.born
        if not at.offset.startswith("0_"):
            after = int(at.offset.partition("_")[0])
        changes = self._store.changes(log.shape.subject, log.born if stale else after)
        if stale:
            # The last change once more, at the offset of the one before it, or of the client's
            # place in the log, if that is earlier.
            offset = f"{changes[-2].seq}_0" if changes[1:] else "0_inf"
            if changes[1:] and changes[-2].seq > after:
                offset = at.offset
            changes = changes[-1:]
        messages = [text for change in changes if (text := self._message(log, change))]
        if not messages and at.live and not stale:
            return None
        if changes and not stale:
            offset = f"{changes[-1].seq}_0"
        elif not stale:
            offset = at.offset
        body = _array([*messages, self._up_to_date()])
        return Answer(body, log.handle, offset, complete=True)

    def _message(self, log: _Log, change: Change) -> bytes | None:
        before = change.before if log.shape.holds(change.before, log.floor) else None
        after = change.after if log.shape.holds(change.after, log.floor) else None
        state = after or before
        if state is None:
            return None
        value, operation = self._value(log.shape, before, after)
        if operation == "update" and len(value) == 1:
            return None
        headers = {
            "last": True,
            "relation": ["public", "TaskRun"],
            "operation": operation,
            "lsn": str(change.seq),
            "op_position": 0,
            "txids": [change.seq],
        }
        return dump({"key": _key(state), "value": value, "headers": headers})

    def _value(self, shape: Shape, before: State | None, after: State | None) -> tuple[Row, str]:
        if after is None:
            return {"id": before.row["id"] if before is not None else None}, "delete"
        row = shape.columns(electric(after.row, snapshot=False))
        if before is None:
            return row, "insert"
        old = shape.columns(electric(before.row, snapshot=False))
        changed = {k: v for k, v in row.items() if k == "id" or old.get(k, _NEVER) != v}
        return changed, "update"

    def _up_to_date(self) -> bytes:
        headers = {"control": "up-to-date", "global_last_seen_lsn": str(self._store.seq)}
        return dump({"headers": headers})


_NEVER = "\0"


def _new_handle(shape: Shape) -> str:
    digest = int(hashlib.sha256(repr(shape).encode()).hexdigest()[:7], 16)
    return f"{digest}-{time.time_ns() // 1000}{secrets.randbelow(10)}"


def _invalid(field: str, why: str) -> Answer:
    return Answer(dump({"message": "Invalid request", "errors": {field: [why]}}), status=400)
