"""The Electric backend (docs/protocol.md, section 2), and the web application before it.

It sends a snapshot first, in parts; then every change, as the columns that differ. Its handles
rotate.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time

import attrs

from ._electric_log import SNAPSHOT_END, ElectricLog, Entry, offset_of, position_of
from ._replies import to_json
from ._rows import BackendName, timestamp_of
from ._shapes import Shape, ShapeAnswer, ShapePosition, messages_body
from ._store import END, Position, Store

_MUST_REFETCH = b'[{"headers":{"control":"must-refetch"}}]'
# What it tells caches (docs/protocol.md, section 2, under "Caches").
_CACHE_FIRST = "public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746"
_CACHE_LIVE = "public, max-age=5, stale-while-revalidate=5"
_CACHE_CATCH_UP = "public, max-age=60, stale-while-revalidate=300"
_CACHE_MUST_REFETCH = "public, max-age=60, must-revalidate"
_CACHE_MUST_REFETCH_ANYWHERE = "public, max-age=1, must-revalidate"


@attrs.frozen(kw_only=True)
class ElectricHabits:
    """What differs between versions and settings of Electric.

    Attributes:
        snapshot_chunk_rows: rows in each answer of a snapshot; bounded by bytes alone if None.
        log_chunk_rows: rows in each answer of the log; not bounded if None.
        first_answer_empty: begin each snapshot with an answer without rows.
        empty_past_snapshot: answer `[]` once past the last part of a snapshot.
    """

    snapshot_chunk_rows: int | None = None
    log_chunk_rows: int | None = None
    first_answer_empty: bool = False
    empty_past_snapshot: bool = False


class ElectricBackend:
    """Answers from one log per shape."""

    name: BackendName = "electric"

    def __init__(self, store: Store, habits: ElectricHabits) -> None:
        self._store = store
        self._habits = habits
        # All protected by the store's lock. A log by its shape and the lower bound of `createdAt`.
        self._logs: dict[tuple[Shape, str], ElectricLog] = {}
        # The web application's: the lower bound by the handle that was answered with it.
        self._floors: dict[str, str] = {}
        self._keep_handle = False
        self._send_handle = True

    def hold_seconds(self, hold: float) -> float:
        return hold

    # --- what happens to it

    def rotate(self, *, keep_handle: bool, send_handle: bool) -> None:
        with self._store.lock:
            self._keep_handle, self._send_handle = keep_handle, send_handle
            self._logs.clear()
        self._store.wake()

    def restore(self) -> None:
        with self._store.lock:
            for key, old in list(self._logs.items()):
                self._logs[key] = ElectricLog(old.handle, old.shape, old.floor, self._store)
                self._logs[key].fresh = False
        self._store.wake()

    def restart(self) -> None:
        with self._store.lock:
            for log in self._logs.values():
                log.repeats = True
        self._store.wake()

    def crash(self) -> None:
        with self._store.lock:
            for log in self._logs.values():
                log.forget()
        self._store.wake()

    # --- answers

    def read(
        self, shape: Shape, at: ShapePosition, *, stale: bool = False, leave_out: int = 0
    ) -> ShapeAnswer | None:
        if (wrong := _invalid_position(at)) is not None:
            return wrong
        with self._store.lock:
            log = self._log(shape, at)
            refusal = self._refusal(log, at)
            if refusal is not None:
                return refusal
            if at.offset == "-1":
                log.fresh = True
                self._floors[log.handle] = log.floor
            repeats = stale or log.repeats
        # Without the store's lock, because the first reader renders the snapshot.
        if (part := self._part_of_snapshot(log, at)) is not None:
            return part
        if repeats:
            log.repeats = False
            return self._repetition(log, at)
        return self._changes(log, at, leave_out)

    def idle(self, shape: Shape, at: ShapePosition) -> ShapeAnswer:
        return self._answer([], at, at.handle, at.offset)

    def _log(self, shape: Shape, at: ShapePosition) -> ElectricLog:
        floor = self._floor(shape, at)
        log = self._logs.get((shape, floor))
        if log is None:
            log = ElectricLog(_new_handle(shape), shape, floor, self._store)
            self._logs[shape, floor] = log
        return log

    def _floor(self, shape: Shape, at: ShapePosition) -> str:
        # Computed anew for each request without a handle, so that each is about another shape. With
        # a handle that the web application does not know there is no bound whatsoever
        # (docs/protocol.md, section 2, under "Restarts").
        if shape.kind != "runs" or shape.period_ms is None:
            return ""
        if at.handle:
            return self._floors.get(at.handle, "")
        return timestamp_of(int(time.time() * 1000) - shape.period_ms)

    def _refusal(self, log: ElectricLog, at: ShapePosition) -> ShapeAnswer | None:
        first = at.offset == "-1"
        if at.handle and at.handle != log.handle and not (first and self._takes_any(log)):
            return self._must_refetch(log, at)
        if not first and self._is_out_of_bounds(log, at):
            return _invalid("offset", "out of bounds for this shape")
        return None

    def _takes_any(self, log: ElectricLog) -> bool:
        unbounded = log.shape.kind == "runs" and not log.floor
        return self._keep_handle or unbounded

    def _must_refetch(self, log: ElectricLog, at: ShapePosition) -> ShapeAnswer:
        named: str | None = at.handle if self._keep_handle else log.handle
        if at.held or not self._send_handle:
            # A poll that was held is told without a handle.
            named = None
        cache = _CACHE_MUST_REFETCH if named else _CACHE_MUST_REFETCH_ANYWHERE
        headers = {"cache-control": cache, **_etag(at, named, "")}
        return ShapeAnswer(_MUST_REFETCH, named, status=409, headers=headers)

    def _is_out_of_bounds(self, log: ElectricLog, at: ShapePosition) -> bool:
        position = position_of(at.offset)
        if position[0] == 0 and not log.fresh:
            return True
        if position[0] == 0 and position != SNAPSHOT_END:
            return position[1] >= len(self._chunks(log))
        if log.crashed:
            # What it remembers ends with the snapshot, until something changes (item 7).
            entries = log.entries(log.lost)
            return not entries or position > entries[-1].position
        if position == SNAPSHOT_END:
            return False
        return not log.born < position <= (self._store.seq, END)

    # --- the snapshot

    def _part_of_snapshot(self, log: ElectricLog, at: ShapePosition) -> ShapeAnswer | None:
        first = at.offset == "-1"
        position: Position = (0, -1) if first else position_of(at.offset)
        if position[0] != 0 or position == SNAPSHOT_END:
            return None
        chunks, index = self._chunks(log), int(position[1]) + 1
        if index < len(chunks):
            return self._incomplete(chunks[index], log, at, (0, index))
        if self._habits.empty_past_snapshot and not log.crashed and not at.live:
            return self._incomplete(b"[]", log, at, SNAPSHOT_END)
        return None

    def _chunks(self, log: ElectricLog) -> list[bytes]:
        habits = self._habits
        return log.chunks(habits.snapshot_chunk_rows, empty_first=habits.first_answer_empty)

    # --- the changes since

    def _changes(self, log: ElectricLog, at: ShapePosition, leave_out: int) -> ShapeAnswer | None:
        position = position_of(at.offset)
        entries = log.entries(position)
        if not entries:
            if at.live:
                return None
            past_snapshot = position[0] == 0 and not log.crashed
            offset = offset_of(SNAPSHOT_END) if past_snapshot else at.offset
            return self._answer([], at, log.handle, offset)
        shown = entries[: self._habits.log_chunk_rows]
        # A read that crosses a flush: the offset passes what is left out (item 7).
        sent = shown[: max(0, len(shown) - leave_out)]
        end = shown[-1].position
        if len(shown) == len(entries):
            return self._answer(sent, at, log.handle, offset_of(end))
        return self._incomplete(messages_body([one.message() for one in sent]), log, at, end)

    def _repetition(self, log: ElectricLog, at: ShapePosition) -> ShapeAnswer:
        # What follows the client's position, or else the last change once more; at the offset of
        # the change before the last, from which it comes again.
        entries = log.entries(log.lost)
        following = log.entries(position_of(at.offset)) or entries[-1:]
        born: Position = (0, len(self._chunks(log)) - 1) if log.crashed else SNAPSHOT_END
        earlier = entries[-2].position if len(entries) > 1 else born
        return self._answer(following, at, log.handle, offset_of(earlier))

    def _answer(
        self, entries: list[Entry], at: ShapePosition, handle: str | None, offset: str
    ) -> ShapeAnswer:
        end = {"control": "up-to-date", "global_last_seen_lsn": str(self._store.seq)}
        messages = [entry.message() for entry in entries]
        body = messages_body([*messages, to_json({"headers": end})])
        headers = _headers(at, handle, offset)
        if not entries and handle:
            # So that no cache takes it for the answer to the next poll.
            headers["etag"] = f'{headers["etag"][:-1]}:{time.monotonic_ns()}"'
        return ShapeAnswer(body, handle, offset, complete=True, headers=headers)

    def _incomplete(
        self, body: bytes, log: ElectricLog, at: ShapePosition, end: Position
    ) -> ShapeAnswer:
        offset = offset_of(end)
        return ShapeAnswer(body, log.handle, offset, headers=_headers(at, log.handle, offset))


def _headers(at: ShapePosition, handle: str | None, offset: str) -> dict[str, str]:
    cache = _CACHE_FIRST if at.offset == "-1" else _CACHE_LIVE if at.live else _CACHE_CATCH_UP
    return {"cache-control": cache, **_etag(at, handle, offset)}


def _etag(at: ShapePosition, handle: str | None, offset: str) -> dict[str, str]:
    return {"etag": f'"{handle}:{at.offset}:{offset}"'} if handle else {}


def _new_handle(shape: Shape) -> str:
    digest = int(hashlib.sha256(repr(shape).encode()).hexdigest()[:7], 16)
    return f"{digest}-{time.time_ns() // 1000}{secrets.randbelow(10)}"


def _invalid_position(at: ShapePosition) -> ShapeAnswer | None:
    if not re.fullmatch(r"-1|\d{1,20}_(\d{1,20}|inf)", at.offset):
        return _invalid("offset", "has invalid format")
    first = at.offset == "-1"
    if first and at.live:
        return _invalid("live", "can't be true when offset == -1")
    if not first and not at.handle:
        return _invalid("handle", "can't be blank when offset != -1")
    return None


def _invalid(field: str, why: str) -> ShapeAnswer:
    body = to_json({"message": "Invalid request", "errors": {field: [why]}})
    return ShapeAnswer(body, status=400, headers={"cache-control": "no-store"})
