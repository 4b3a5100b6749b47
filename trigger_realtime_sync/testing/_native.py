"""The native backend of Trigger.dev (docs/protocol.md, section 2).

It sends whole rows, each run once per answer, and everything with `up-to-date` in the first one.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable

from ._replies import to_json
from ._rows import timestamp_of
from ._shapes import Shape, ShapeAnswer, ShapePosition, messages_body, row_key
from ._store import RunState, Store

_UP_TO_DATE = b'{"headers":{"control":"up-to-date"}}'
# Rows in a snapshot: the server sends the newest ones only.
_MAX_SNAPSHOT_ROWS = 1000


class NativeBackend:
    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, shape: Shape, at: ShapePosition, *, stale: bool = False) -> ShapeAnswer | None:
        with self._store.lock:
            after = _seq_of(at.offset)
            if after is None:
                return self._snapshot(shape, at, stale)
            if stale:
                return self._stale_news(shape, at, after)
            return self._news(shape, at, after)

    def idle(self, shape: Shape, at: ShapePosition) -> ShapeAnswer:
        return ShapeAnswer(messages_body([_UP_TO_DATE]), self._handle(shape, at), at.offset)

    def _snapshot(self, shape: Shape, at: ShapePosition, stale: bool) -> ShapeAnswer:
        handle = self._handle(shape, at)
        floor = _created_after(shape, handle)
        states = [one for one in self._store.members(shape.subject) if shape.holds(one, floor)]
        if stale:
            states = [self._earlier(shape, one) for one in states]
        states = states[-_MAX_SNAPSHOT_ROWS:]
        messages = [_message(shape, one, "insert") for one in states]
        # A lagging replica: with an offset from which the newer rows come again.
        offset = f"{states[0].updated_ms}_0" if stale and states else self._offset(states)
        return ShapeAnswer(messages_body([*messages, _UP_TO_DATE]), handle, offset)

    def _news(self, shape: Shape, at: ShapePosition, after: int) -> ShapeAnswer | None:
        floor = _created_after(shape, at.handle)
        latest: dict[str, RunState] = {}
        entered: set[str] = set()
        for change in self._store.changes(shape.subject, after):
            if not shape.holds(change.after, floor) or change.after is None:
                # A run that left, or was deleted, is never mentioned again.
                latest.pop(change.id, None)
                continue
            if change.id not in latest and not shape.holds(change.before, floor):
                entered.add(change.id)
            # Popped first, so that the run changed last comes last.
            latest.pop(change.id, None)
            latest[change.id] = change.after
        if not latest:
            return None if at.live else self.idle(shape, at)
        many = shape.kind != "run"
        messages = [
            _message(shape, state, "insert" if many and run_id in entered else "update")
            for run_id, state in latest.items()
        ]
        offset = self._offset(latest.values())
        body = messages_body([*messages, _UP_TO_DATE])
        return ShapeAnswer(body, self._handle(shape, at), offset)

    def _stale_news(self, shape: Shape, at: ShapePosition, after: int) -> ShapeAnswer:
        # A lagging replica: the rows as they were, and an offset from which they come again, never
        # past what the client was sent.
        changes = self._store.changes(shape.subject, 0)
        before = min(changes[-2].seq if len(changes) > 1 else 0, after)
        latest = {one.id: one.after for one in changes if shape.holds(one.after)}
        states = [self._earlier(shape, one) for one in latest.values() if one is not None]
        messages = [_message(shape, one, "update") for one in states[-1:]]
        offset = f"{states[-1].updated_ms if states else 0}_{before}"
        body = messages_body([*messages, _UP_TO_DATE])
        return ShapeAnswer(body, self._handle(shape, at), offset)

    def _earlier(self, shape: Shape, state: RunState) -> RunState:
        changes = [c for c in self._store.changes(("run", state.id), 0) if c.before is not None]
        before = changes[-1].before if changes else None
        return before if before is not None and shape.holds(before) else state

    def _offset(self, states: Iterable[RunState]) -> str:
        newest = max((state.updated_ms for state in states), default=int(time.time() * 1000))
        return f"{newest}_{self._store.tick()}"

    def _handle(self, shape: Shape, at: ShapePosition) -> str:
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


def _created_after(shape: Shape, handle: str | None) -> str:
    # The window is pinned by the handle: it does not move while a client follows it.
    found = re.match(r"runs_(\d{1,15})_", handle or "")
    return timestamp_of(int(found[1])) if found and shape.kind == "runs" else ""


def _seq_of(offset: str) -> int | None:
    """Return the sequence number in an offset; None if the offset asks for a snapshot."""
    found = re.fullmatch(r"\d{1,20}_(\d{1,20})", offset)
    return int(found[1]) if found else None


def _message(shape: Shape, state: RunState, operation: str) -> bytes:
    value = shape.columns(state.row)
    return to_json({"key": row_key(state), "value": value, "headers": {"operation": operation}})
