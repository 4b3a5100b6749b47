"""The server's data: runs, batches, packets, and the log of every change, under one lock.

A *subject* is what a feed can be about: a run, a tag, a batch, every run, or a stream. Changes are
logged, and waiting requests woken, per subject, so that a change costs nothing to the requests
about others.

REST reads the runs as they were written. The feeds read a replica, which may lag behind
(docs/protocol.md, section 2, item 7).
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs

from ._rows import (
    COLUMNS,
    OPTIONAL_COLUMNS,
    Row,
    array,
    array_items,
    timestamp_ms,
    timestamp_of,
    to_row,
)

Subject = tuple[str, ...]
# A place in the log: the number of a transaction, and the change within it.
Position = tuple[int, float]

EVERY_RUN: Subject = ("every run",)
END = math.inf

# What the numbers of two changes of one transaction differ by, as Electric counts.
_OP_STEP = 2
# The first number of the sequence. Far from 0, so that no test relies on small numbers.
_FIRST_SEQ = 16000


def now() -> str:
    """Return the time as a stored timestamp."""
    return timestamp_of(int(time.time() * 1000))


@attrs.frozen
class RunState:
    """One state of one run: its row, its tags and its batch."""

    row: Row
    tags: frozenset[str]
    batch: str | None

    @property
    def id(self) -> str:
        return self.row["friendlyId"] or ""

    @property
    def updated_ms(self) -> int:
        return timestamp_ms(self.row.get("updatedAt"))

    def resources(self) -> list[tuple[str, str | None]]:
        """What the scope of a public token may name to cover the run."""
        resources: list[tuple[str, str | None]] = [("tags", tag) for tag in self.tags]
        resources += [("runs", self.id), ("tasks", self.row.get("taskIdentifier"))]
        return resources if self.batch is None else [*resources, ("batch", self.batch)]

    def subjects(self) -> set[Subject]:
        subjects: set[Subject] = {("tag", tag) for tag in self.tags}
        subjects |= {("run", self.id), EVERY_RUN}
        if self.batch is not None:
            subjects.add(("batch", self.batch))
        return subjects


@attrs.frozen
class Change:
    """A run went from one state to another; None before it exists, and after it is deleted.

    Attributes:
        seq: the number of its transaction.
        op: its number in the transaction.
    """

    seq: int
    op: int
    before: RunState | None
    after: RunState | None

    @property
    def position(self) -> Position:
        return self.seq, self.op

    @property
    def id(self) -> str:
        state = self.after or self.before
        return state.id if state is not None else ""


@attrs.define
class StoredBatch:
    id: str
    run_count: int | None = None
    runs: list[str] = attrs.field(factory=list)
    errors: list[dict[str, Any]] = attrs.field(factory=list)
    created_at: str = attrs.field(factory=now)
    completed_at: str | None = None
    # Set where batches are filled by clients.
    key: str | None = None
    status: str | None = None


class Waiter:
    """Wakes a request whose subject changed, or (with `gone` set) whose client went away."""

    __slots__ = ("_event", "gone")

    def __init__(self) -> None:
        self._event = threading.Event()
        self.gone = False

    def wait(self, seconds: float) -> None:
        self._event.wait(max(0.0, seconds))
        self._event.clear()

    def wake(self) -> None:
        self._event.set()


class Store:
    """Runs, batches and packets. Safe from any thread."""

    def __init__(self) -> None:
        # Protects every attribute below.
        self.lock = threading.RLock()
        self.seq = _FIRST_SEQ
        self.batches: dict[str, StoredBatch] = {}
        self.packets: dict[str, tuple[bytes, str]] = {}
        self.extra_columns: dict[str, None] = {}
        # As they were written, and as they have reached the replica.
        self._states: dict[str, RunState] = {}
        self._replica: dict[str, RunState] = {}
        # Runs whose creation has not reached the replica.
        self._lagging: set[str] = set()
        # The environments of runs that are not in all of them.
        self.environments: dict[str, str] = {}
        # Runs that REST finds, and the feeds don't know.
        self._buffered: set[str] = set()
        # Writes that wait for the end of a hold, while there is one.
        self._held: list[tuple[RunState | None, RunState | None]] | None = None
        # The number of the open transaction, and how many changes it has; None outside of one.
        self._transaction: tuple[int, int] | None = None
        self._members: defaultdict[Subject, dict[str, None]] = defaultdict(dict)
        self._logs: defaultdict[Subject, list[Change]] = defaultdict(list)
        self._waiters: defaultdict[Subject, set[Waiter]] = defaultdict(set)

    # --- waiting

    @contextmanager
    def waiting(self, subject: Subject) -> Iterator[Waiter]:
        """Yield a waiter that every change of the subject wakes until the end of the block."""
        waiter = Waiter()
        with self.lock:
            self._waiters[subject].add(waiter)
        try:
            yield waiter
        finally:
            with self.lock:
                self._waiters[subject].discard(waiter)

    def wake(self, subjects: Iterable[Subject] | None = None) -> None:
        """Wake the requests that wait for these subjects; all of them if None."""
        with self.lock:
            chosen = list(self._waiters) if subjects is None else subjects
            waiters = [waiter for one in chosen for waiter in self._waiters.get(one, ())]
        for waiter in waiters:
            waiter.wake()

    # --- reading

    def tick(self) -> int:
        """Return the next number of the sequence behind offsets, cursors and transaction ids."""
        with self.lock:
            self.seq += 1
            return self.seq

    def get(self, run_id: str) -> RunState | None:
        with self.lock:
            return self._states.get(run_id)

    def is_in(self, environment: str, run_id: str) -> bool:
        """Return True if who asks from the environment sees the run, if there is one."""
        with self.lock:
            return self.environments.get(run_id, environment) == environment

    def need(self, run_id: str) -> RunState:
        state = self.get(run_id)
        if state is None:
            raise KeyError(f"this server has no run {run_id!r}")
        return state

    def newest(self) -> list[RunState]:
        """Return every run, the newest first."""
        with self.lock:
            states = list(self._states.values())
        states.reverse()
        return sorted(states, key=lambda state: state.row.get("createdAt") or "", reverse=True)

    def replica(self, run_id: str) -> RunState | None:
        """Return the run as the feeds see it."""
        with self.lock:
            return self._replica.get(run_id)

    def members(self, subject: Subject) -> list[RunState]:
        """Return the runs in a snapshot of the subject, oldest first."""
        with self.lock:
            states = [self._replica[run_id] for run_id in self._members.get(subject, ())]
        return sorted(states, key=lambda state: state.row.get("createdAt") or "")

    def count(self, subject: Subject) -> int:
        """Return how many runs the subject has, whatever their age."""
        with self.lock:
            return len(self._members.get(subject, ()))

    def changes(self, subject: Subject, after: Position) -> list[Change]:
        """Return the changes of the subject after that position, in order."""
        with self.lock:
            log = self._logs.get(subject)
            if not log or log[-1].position <= after:
                return []
            return log[bisect_right(log, after, key=lambda change: change.position) :]

    # --- writing

    def create(
        self, run_id: str | None, values: Mapping[str, Any], *, batch: str | None, lag: bool
    ) -> str:
        run_id = run_id or f"run_cm{secrets.token_hex(11)}"
        moment = now()
        row: Row = dict.fromkeys(COLUMNS)
        row.update(
            id=run_id.removeprefix("run_"),
            friendlyId=run_id,
            createdAt=moment,
            updatedAt=moment,
            queuedAt=moment,
            number="1",
            usageDurationMs="0",
            costInCents="0",
            baseCostInCents="0",
            realtimeStreams="{}",
        )
        row.update(to_row(values))
        state = _state(row, batch)
        with self.lock:
            if run_id in self._states:
                raise ValueError(f"this server already has a run {run_id!r}")
            self._add_columns(row)
            if lag:
                self._states[run_id] = state
                self._lagging.add(run_id)
            else:
                self._write(None, state)
        return run_id

    def update(
        self, run_id: str, values: Mapping[str, Any], *, stamp_back: float | None = None
    ) -> None:
        row = to_row(values)
        with self.lock:
            before = self.need(run_id)
            moment = max(timestamp_ms(now()), before.updated_ms + 1)
            if stamp_back is not None:
                moment = before.updated_ms - round(stamp_back * 1000)
            after = {**before.row, "updatedAt": timestamp_of(moment), **row}
            self._add_columns(row)
            self._change(before, _state(after, before.batch))

    def join_batch(self, run_id: str, batch: str) -> None:
        with self.lock:
            before = self.need(run_id)
            self._change(before, attrs.evolve(before, batch=batch))

    def add_stream(self, run_id: str, key: str) -> None:
        """Add the stream to the run's row, as a server does when a stream is first written to."""
        with self.lock:
            keys = array_items(self.need(run_id).row.get("realtimeStreams"))
            if key not in keys:
                self.update(run_id, {"realtimeStreams": array([*keys, key])})

    def buffer(self, run_id: str) -> None:
        """Keep the run from the feeds, which say that there is none, until `unbuffer`."""
        with self.lock:
            self._buffered.add(run_id)

    def unbuffer(self, run_id: str) -> None:
        with self.lock:
            self._buffered.discard(run_id)
            self.catch_up(run_id)

    def is_buffered(self, run_id: str) -> bool:
        with self.lock:
            return run_id in self._buffered

    def catch_up(self, run_id: str) -> None:
        with self.lock:
            if run_id in self._lagging:
                self._change(self.need(run_id), self.need(run_id))

    def delete(self, run_id: str) -> None:
        with self.lock:
            before = self.need(run_id)
            if run_id not in self._lagging:
                self._write(before, None)
            self._states.pop(run_id, None)
            self._lagging.discard(run_id)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Let the changes of the block reach the log as one transaction."""
        # Whoever is woken in the meantime waits for the lock.
        with self.lock:
            self._transaction = (self.tick(), 0)
            try:
                yield
            finally:
                self._transaction = None

    def hold_replication(self) -> None:
        """Keep what is written from now on from the feeds."""
        with self.lock:
            if self._held is None:
                self._held = []

    def release_replication(self) -> None:
        """Let the feeds see what was kept from them, in the order of the writes."""
        with self.lock:
            held, self._held = self._held or [], None
            for before, after in held:
                self._publish(before, after)

    def _change(self, before: RunState, after: RunState) -> None:
        lagging = before.id in self._lagging
        self._lagging.discard(before.id)
        self._write(None if lagging else before, after)

    def _write(self, before: RunState | None, after: RunState | None) -> None:
        if after is not None:
            self._states[after.id] = after
        if self._held is not None:
            self._held.append((before, after))
        else:
            self._publish(before, after)

    def _publish(self, before: RunState | None, after: RunState | None) -> None:
        change = Change(*self._next_position(), before, after)
        old = before.subjects() if before is not None else set()
        new = after.subjects() if after is not None else set()
        if after is None:
            self._replica.pop(change.id, None)
        else:
            self._replica[change.id] = after
        for subject in old - new:
            self._members[subject].pop(change.id, None)
        for subject in new - old:
            self._members[subject][change.id] = None
        for subject in old | new:
            self._logs[subject].append(change)
        self.wake(old | new)

    def _next_position(self) -> tuple[int, int]:
        if self._transaction is None:
            return self.tick(), 0
        seq, count = self._transaction
        self._transaction = (seq, count + 1)
        return seq, count * _OP_STEP

    def _add_columns(self, row: Row) -> None:
        for name in row:
            if name not in COLUMNS and (name not in OPTIONAL_COLUMNS or row[name] is not None):
                self.extra_columns[name] = None


def _state(row: Row, batch: str | None) -> RunState:
    return RunState(row, frozenset(array_items(row.get("runTags"))), batch)
