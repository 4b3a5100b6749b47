"""The log of one shape of Electric: its snapshot, its changes, and what a crash leaves of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import attrs

from ._replies import to_json
from ._rows import Row, electric
from ._shapes import Shape, messages_body, row_key
from ._store import END, Change, Position, RunState, Store

# Bytes of messages in one answer, after which Electric begins the next.
_CHUNK_BYTES = 10_000_000
# Differs from every value of a column: Postgres text holds no NUL.
_ABSENT = "\0"
# Where a snapshot ends.
SNAPSHOT_END: Position = (0, END)


@attrs.frozen
class Entry:
    """A change as the shape shows it.

    Attributes:
        last: True for the last row of its transaction in this shape.
    """

    position: Position
    operation: str
    key: str
    value: Row
    last: bool = True

    def message(self) -> bytes:
        lsn, op = self.position
        headers = {
            "relation": ["public", "TaskRun"],
            "operation": self.operation,
            "lsn": str(lsn),
            "op_position": op,
            "txids": [lsn],
        }
        last = {"last": True} if self.last else {}
        return to_json({"key": self.key, "value": self.value, "headers": {**last, **headers}})


class ElectricLog:
    """One shape: the snapshot taken at its birth, and the changes since.

    Args:
        floor: runs that were created before it are not in the shape.
    """

    def __init__(self, handle: str, shape: Shape, floor: str, store: Store) -> None:
        self.handle = handle
        self.shape = shape
        self.floor = floor
        self._store = store
        self.born: Position = (store.seq, END)
        self._states = [s for s in store.members(shape.subject) if shape.holds(s, floor)]
        # Changes up to here are not in the log any more.
        self.lost = self.born
        # True once Electric crashed and forgot where its log ends.
        self.crashed = False
        # False after a restore, until a client starts over: offsets in the snapshot are refused.
        self.fresh = True
        # True after a restart: the next answer repeats changes.
        self.repeats = False
        # Protects `_chunks` and `_states`: the first reader renders the snapshot.
        self._lock = threading.Lock()
        self._chunks: list[bytes] | None = None

    def forget(self) -> None:
        """Lose the changes so far, and the end of the log with them."""
        self.lost = (self._store.seq, END)
        self.crashed = True

    def chunks(self, rows: int | None, *, empty_first: bool) -> list[bytes]:
        """Return the answers that the snapshot takes, of at most `rows` rows each."""
        with self._lock:
            if self._chunks is None:
                self._chunks = list(self._render(rows, empty_first))
                self._states = []
            return self._chunks

    def _render(self, rows: int | None, empty_first: bool) -> Iterator[bytes]:
        if empty_first:
            yield b"[]"
        messages: list[bytes] = []
        size = 0
        for state in self._states:
            if size > _CHUNK_BYTES or (rows is not None and len(messages) >= rows):
                yield messages_body(messages)
                messages, size = [], 0
            row = self.shape.columns(electric(state.row, snapshot=True))
            headers = {"operation": "insert", "relation": ["public", "TaskRun"]}
            messages.append(to_json({"key": row_key(state), "value": row, "headers": headers}))
            size += len(messages[-1])
        born = int(self.born[0])
        end = {"control": "snapshot-end", "xmin": str(born), "xmax": str(born + 1)}
        yield messages_body([*messages, to_json({"headers": {**end, "xip_list": []}})])

    def entries(self, after: Position) -> list[Entry]:
        """Return what the shape shows of the changes after that position, in order."""
        changes = self._store.changes(self.shape.subject, max(after, self.lost))
        entries = [entry for change in changes if (entry := self._entry(change))]
        following = [*(entry.position[0] for entry in entries[1:]), None]
        return [
            attrs.evolve(entry, last=entry.position[0] != lsn)
            for entry, lsn in zip(entries, following, strict=False)
        ]

    def _entry(self, change: Change) -> Entry | None:
        before = change.before if self.shape.holds(change.before, self.floor) else None
        after = change.after if self.shape.holds(change.after, self.floor) else None
        state = after or before
        if state is None:
            return None
        value, operation = _value(self.shape, before, after)
        if operation == "update" and len(value) == 1:
            # Only columns changed that the client skips.
            return None
        return Entry(change.position, operation, row_key(state), value)


def _value(shape: Shape, before: RunState | None, after: RunState | None) -> tuple[Row, str]:
    if after is None:
        return {"id": before.row["id"] if before is not None else None}, "delete"
    row = shape.columns(electric(after.row, snapshot=False))
    if before is None:
        return row, "insert"
    old = shape.columns(electric(before.row, snapshot=False))
    changed = {k: v for k, v in row.items() if k == "id" or old.get(k, _ABSENT) != v}
    whole = shape.replica == "full" and len(changed) > 1
    return (row if whole else changed), "update"


def offset_of(position: Position) -> str:
    """Return the offset of a position: `0_inf` for the end of a snapshot."""
    return f"{position[0]}_{position[1]}"


def position_of(offset: str) -> Position:
    """Return the position of an offset that is not `-1`."""
    lsn, _, op = offset.partition("_")
    return int(lsn), END if op == "inf" else int(op)
