"""The native backend of Trigger.dev (docs/protocol.md, section 2).

It sends whole rows, each run once per answer, and everything with `up-to-date` in the first one. A
live poll is told of a run only if its `updatedAt` is later than what was last sent (item 6): than
the offset, in the feed of a run; than the working set of the handle, in those of tags and batches.
"""

from __future__ import annotations

import random
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterable

import attrs

from ._replies import to_json
from ._rows import BackendName, timestamp_of
from ._shapes import Shape, ShapeAnswer, ShapePosition, messages_body, row_key
from ._store import END, Position, RunState, Store

_UP_TO_DATE = b'{"headers":{"control":"up-to-date"}}'
# Rows in a snapshot: the server sends the newest ones only.
_MAX_SNAPSHOT_ROWS = 1000
# The widest window of a feed by tags, in milliseconds; its lower bound is floored to a minute.
_DAY_MS = 86_400_000
_BUCKET_MS = 60_000
# Polls are held for the configured time, give or take this share of it.
_HOLD_JITTER = 0.15
# Working sets that are kept before the oldest is dropped, as in the server's cache.
_MAX_SETS = 10_000


@attrs.define
class _WorkingSet:
    """What a handle was last sent of each run: its `updatedAt`, by the run's id.

    Whoever polls with the handle moves the set, before the answer leaves: an answer that is lost is
    not sent again, and two readers of one handle take each other's news (docs/protocol.md,
    section 2, item 5).
    """

    stamps: dict[str, int]
    # The changes up to here are in the set.
    seen: Position


class NativeBackend:
    name: BackendName = "native"

    def __init__(self, store: Store) -> None:
        self._store = store
        # Protected by the store's lock.
        self._sets: OrderedDict[str, _WorkingSet] = OrderedDict()

    def hold_seconds(self, hold: float) -> float:
        return hold * random.uniform(1 - _HOLD_JITTER, 1 + _HOLD_JITTER)

    def read(
        self, shape: Shape, at: ShapePosition, *, stale: bool = False, leave_out: int = 0
    ) -> ShapeAnswer | None:
        with self._store.lock:
            if at.offset == "-1" or not at.handle or not at.live:
                return self._snapshot(shape, at, stale)
            if stale:
                return self._stale_news(shape, at, at.handle)
            if shape.kind == "run":
                return self._news_of_run(shape, at)
            return self._news_of_set(shape, at, at.handle)

    def idle(self, shape: Shape, at: ShapePosition) -> ShapeAnswer:
        if shape.kind == "run" or not at.handle:
            return self._answer([], at.handle or self._handle(shape, at), at.offset)
        # All runs are compared once more, and those that left are forgotten.
        with self._store.lock:
            members = self._members(shape, at.handle)
            known = self._sets.get(at.handle)
            messages = self._compare(shape, at, members, known)
            self._remember(at.handle, members)
            newest = max([_stamp_of(at.offset), *(one.updated_ms for one in members)])
            return self._answer(messages, at.handle, self._offset(newest))

    # --- the snapshot

    def _snapshot(self, shape: Shape, at: ShapePosition, stale: bool) -> ShapeAnswer:
        handle = self._handle(shape, at)
        states = self._members(shape, handle)
        if stale:
            states = [self._earlier(shape, one) for one in states]
        if shape.kind != "run":
            self._remember(handle, states, reread=stale)
        messages = [_message(shape, one, "insert") for one in states]
        newest = max((one.updated_ms for one in states), default=0)
        # What is not there has no number either.
        missing = shape.kind == "run" and not states
        return self._answer(messages, handle, "0_0" if missing else self._offset(newest))

    def _members(self, shape: Shape, handle: str) -> list[RunState]:
        floor = _created_after(shape, handle)
        states = [one for one in self._store.members(shape.subject) if shape.holds(one, floor)]
        return states[-_MAX_SNAPSHOT_ROWS:]

    def _remember(self, handle: str, states: list[RunState], *, reread: bool = False) -> None:
        seen = (0, 0) if reread else (self._store.seq, END)
        self._sets[handle] = _WorkingSet({one.id: one.updated_ms for one in states}, seen)
        self._sets.move_to_end(handle)
        if len(self._sets) > _MAX_SETS:
            self._sets.popitem(last=False)

    # --- news

    def _news_of_run(self, shape: Shape, at: ShapePosition) -> ShapeAnswer | None:
        state = self._store.replica(shape.subject[1])
        if state is None or state.updated_ms <= _stamp_of(at.offset):
            return None
        message = _message(shape, state, "update")
        return self._answer([message], at.handle, self._offset(state.updated_ms))

    def _news_of_set(self, shape: Shape, at: ShapePosition, handle: str) -> ShapeAnswer | None:
        known = self._sets.get(handle)
        if known is None:
            states = self._members(shape, handle)
            messages = self._compare(shape, at, states, None)
            self._remember(handle, states)
        else:
            states = self._changed(shape, handle, known.seen)
            messages = self._compare(shape, at, states, known)
            known.stamps.update({one.id: one.updated_ms for one in states})
            known.seen = (self._store.seq, END)
        if not messages:
            return None
        newest = max([_stamp_of(at.offset), *(one.updated_ms for one in states)])
        return self._answer(messages, handle, self._offset(newest))

    def _changed(self, shape: Shape, handle: str, after: Position) -> list[RunState]:
        # Each run once, the one changed last at the end. One that left is never mentioned again.
        ids = [change.id for change in self._store.changes(shape.subject, after)]
        latest = dict.fromkeys(reversed(ids))
        if not latest:
            return []
        floor = _created_after(shape, handle)
        states = [state for run_id in reversed(latest) if (state := self._store.replica(run_id))]
        states = [one for one in states if shape.holds(one, floor)]
        if self._store.count(shape.subject) <= _MAX_SNAPSHOT_ROWS:
            return states
        within = {one.id for one in self._members(shape, handle)}
        return [one for one in states if one.id in within]

    def _compare(
        self, shape: Shape, at: ShapePosition, states: list[RunState], known: _WorkingSet | None
    ) -> list[bytes]:
        if known is None:
            # A set that the server has forgotten, or never had.
            floor = _stamp_of(at.offset)
            return [_message(shape, one, "update") for one in states if one.updated_ms > floor]
        messages = []
        for state in states:
            before = known.stamps.get(state.id)
            if before is None:
                messages.append(_message(shape, state, "insert"))
            elif state.updated_ms > before:
                messages.append(_message(shape, state, "update"))
        return messages

    # --- a replica that lags

    def _stale_news(self, shape: Shape, at: ShapePosition, handle: str) -> ShapeAnswer:
        # The row that changed last as it was, and a position from which it comes again.
        changes = self._store.changes(shape.subject, (0, 0))
        latest = {one.id: one.after for one in changes if shape.holds(one.after)}
        states = [self._earlier(shape, one) for one in latest.values() if one is not None][-1:]
        if shape.kind != "run":
            known = self._sets.setdefault(handle, _WorkingSet({}, (0, 0)))
            known.stamps.update({one.id: one.updated_ms for one in states})
            known.seen = (0, 0)
        messages = [_message(shape, one, "update") for one in states]
        newest = min([_stamp_of(at.offset), *(one.updated_ms for one in states)])
        return self._answer(messages, handle, self._offset(newest))

    def _earlier(self, shape: Shape, state: RunState) -> RunState:
        changes = [c for c in self._store.changes(("run", state.id), (0, 0)) if c.before]
        before = changes[-1].before if changes else None
        return before if before is not None and shape.holds(before) else state

    # --- answers

    def _answer(self, messages: Iterable[bytes], handle: str | None, offset: str) -> ShapeAnswer:
        return ShapeAnswer(messages_body([*messages, _UP_TO_DATE]), handle, offset)

    def _offset(self, newest: int) -> str:
        return f"{newest}_{self._store.tick()}"

    def _handle(self, shape: Shape, at: ShapePosition) -> str:
        # A feed by tags never keeps its handle at -1; a batch does.
        if at.handle and (at.offset != "-1" or shape.kind == "batch"):
            return at.handle
        name = shape.subject[-1]
        if shape.kind == "run":
            # The same one for everybody.
            return "run-" + name.removeprefix("run_")
        unique = f"{self._store.tick()}_{secrets.token_hex(4)}"
        if shape.kind == "batch":
            return f"batch_{name}_{unique}"
        return f"runs_{_bucket(_now_ms() - (shape.period_ms or 0))}_{unique}"


def _created_after(shape: Shape, handle: str) -> str:
    # The window is pinned by the handle, but a day at most: that bound moves with each request
    # (docs/protocol.md, section 2, item 6).
    if shape.kind != "runs":
        return ""
    found = re.match(r"runs_(\d{1,15})_", handle)
    pinned = int(found[1]) if found else _now_ms() - (shape.period_ms or 0)
    return timestamp_of(_bucket(max(pinned, _now_ms() - _DAY_MS)))


def _now_ms() -> int:
    return int(time.time() * 1000)


def _bucket(ms: int) -> int:
    return ms - ms % _BUCKET_MS


def _stamp_of(offset: str) -> int:
    """Return the `updatedAt` in an offset, in milliseconds; 0 if there is none."""
    found = re.match(r"\d{1,20}", offset)
    return int(found[0]) if found else 0


def _message(shape: Shape, state: RunState, operation: str) -> bytes:
    value = shape.columns(state.row)
    return to_json({"key": row_key(state), "value": value, "headers": {"operation": operation}})
