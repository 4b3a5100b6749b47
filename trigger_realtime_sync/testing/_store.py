"""The server's data: runs, batches, packets, and the log of every change, under one lock.

A *subject* is what a feed can be about: a run, a tag, a batch or a stream. Changes are logged, and
waiting requests woken, per subject, so that a change costs nothing to the requests about others.
"""

from __future__ import annotations

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

    def subjects(self) -> set[Subject]:
        subjects: set[Subject] = {("tag", tag) for tag in self.tags}
        subjects.add(("run", self.id))
        if self.batch is not None:
            subjects.add(("batch", self.batch))
        return subjects


@attrs.frozen
class Change:
    """A run went from one state to another; None before it exists, and after it is deleted."""

    seq: int
    before: RunState | None
    after: RunState | None

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
        self._states: dict[str, RunState] = {}
        # Runs that exist, but have not reached the replica that the feeds read.
        self._lagging: set[str] = set()
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

    def need(self, run_id: str) -> RunState:
        state = self.get(run_id)
        if state is None:
            raise KeyError(f"this server has no run {run_id!r}")
        return state

    def members(self, subject: Subject) -> list[RunState]:
        """Return the runs in a snapshot of the subject, oldest first."""
        with self.lock:
            states = [self._states[run_id] for run_id in self._members.get(subject, ())]
        return sorted(states, key=lambda state: state.row.get("createdAt") or "")

    def changes(self, subject: Subject, after: int) -> list[Change]:
        """Return the changes of the subject after the number `after`, in order."""
        with self.lock:
            log = self._logs.get(subject)
            if not log or log[-1].seq <= after:
                return []
            return log[bisect_right(log, after, key=lambda change: change.seq) :]

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
                self._publish(None, state)
        return run_id

    def update(self, run_id: str, values: Mapping[str, Any]) -> None:
        row = to_row(values)
        with self.lock:
            before = self.need(run_id)
            moment = max(timestamp_ms(now()), before.updated_ms + 1)
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

    def catch_up(self, run_id: str) -> None:
        with self.lock:
            if run_id in self._lagging:
                self._change(self.need(run_id), self.need(run_id))

    def delete(self, run_id: str) -> None:
        with self.lock:
            before = self.need(run_id)
            self._lagging.discard(run_id)
            self._publish(before, None)

    def _change(self, before: RunState, after: RunState) -> None:
        lagging = before.id in self._lagging
        self._lagging.discard(before.id)
        self._publish(None if lagging else before, after)

    def _publish(self, before: RunState | None, after: RunState | None) -> None:
        change = Change(self.tick(), before, after)
        old = before.subjects() if before is not None else set()
        new = after.subjects() if after is not None else set()
        if after is None:
            self._states.pop(change.id, None)
        else:
            self._states[change.id] = after
        for subject in old - new:
            self._members[subject].pop(change.id, None)
        for subject in new - old:
            self._members[subject][change.id] = None
        for subject in old | new:
            self._logs[subject].append(change)
        self.wake(old | new)

    def _add_columns(self, row: Row) -> None:
        for name in row:
            if name not in COLUMNS and (name not in OPTIONAL_COLUMNS or row[name] is not None):
                self.extra_columns[name] = None


def _state(row: Row, batch: str | None) -> RunState:
    return RunState(row, frozenset(array_items(row.get("runTags"))), batch)
