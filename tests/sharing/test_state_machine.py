"""Whatever happens to leaders, to the log and to what is published, every follower is told a legal
coalescing of what happened upstream, and all parts of a stream once and in order."""

from __future__ import annotations

import os
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trigger_realtime_sync._sharing import run_journal
from trigger_realtime_sync._sharing.entries import Codec
from trigger_realtime_sync._sharing.memory_log import MemoryLog, MemoryStore
from trigger_realtime_sync._sharing.plain_rows import PlainRow
from trigger_realtime_sync._sharing.run_replica import RunReplica
from trigger_realtime_sync._sharing.shared_log import ANY, Claim, Listener, Refused, Share
from trigger_realtime_sync._sharing.stream_replica import MissingParts, StreamReplica
from trigger_realtime_sync._sharing.tailing import Tailer
from trigger_realtime_sync._sharing.writers import RunWriter, StreamWriter
from trigger_realtime_sync._wire.positions import PositionV2
from trigger_realtime_sync._wire.stream_parts import PartBatch

RUNS, STREAM = "runs", "stream"
HISTORY = 4000
EXAMPLES = int(os.environ.get("SHARING_EXAMPLES", "60"))


def columns(run: int, version: int) -> dict[str, Any]:
    """A row whose state is its version: only one column changes with it, beside the time."""
    return {
        "id": f"{run}",
        "friendlyId": f"run_{run}",
        "status": "EXECUTING",
        "updatedAt": f"2026-01-01 00:{version // 60:02}:{version % 60:02}",
        "number": str(version),
        "constant": "x" * 20,
    }


class Upstream:
    """What the server has: a version of each run, and the parts of a stream."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.parts = 0

    def rows(self, lag: int = 0) -> dict[str, dict[str, Any]]:
        """All rows, as a replica has them that lags behind by so many changes."""
        return {f"row {n}": columns(int(n), max(1, v - lag)) for n, v in self.versions.items()}

    def batch(self, start: int, most: int) -> PartBatch:
        """Parts from an index on, as a body brings them."""
        end = min(self.parts, start + most)
        batch = PartBatch()
        if end > start:
            first = PositionV2(start, start)
            batch.append_all(list(range(start, end)), start, first.after, 0)
        return batch


@attrs.define
class Leader:
    """A process that leads, or that thinks so."""

    token: str
    writer: Any
    rows: dict[str, Any] = attrs.field(factory=dict)
    read: int = 0


class Follower:
    """A process that follows, and remembers what its callbacks would be told."""

    def __init__(self, store: MemoryStore, upstream: Upstream) -> None:
        self.log = MemoryLog(store)
        self.upstream = upstream
        self.run_tail = Tailer(self.log, RUNS, Codec())
        self.stream_tail = Tailer(self.log, STREAM, Codec())
        self.view: dict[str, PlainRow] = {}
        self.replica = RunReplica(
            lambda row, last: PlainRow(dict(row)),
            lambda keys: {key: self.view[key] for key in keys if key in self.view},
        )
        self.stream = StreamReplica()
        self.told: list[tuple[str, int]] = []
        self.parts: list[int] = []
        self.now = 0.0
        self.log.subscribe([RUNS, STREAM])

    def hear(self) -> None:
        tails = {RUNS: self.run_tail, STREAM: self.stream_tail}
        self.log.listen(
            Listener(
                on_entry=lambda key, id_, blob: tails[key].inbox.post(id_, blob),
                on_hint=lambda key: None,
                on_joined=lambda key: tails[key].inbox.miss(),
            ),
            0,
        )
        self.take()

    def look(self, tails: dict[str, Any]) -> None:
        for key, tail in ((RUNS, self.run_tail), (STREAM, self.stream_tail)):
            tail.inbox.look_at(tails[key], tail.last)
        self.take()

    def take(self) -> None:
        for placed in self.run_tail.entries():
            self.tell(self.replica.take(placed.entry, self.now, is_past=placed.is_past))
        try:
            for placed in self.stream_tail.entries():
                self.add(self.stream.take(placed.entry)[0])
        except MissingParts:
            # From the API, at its own place.
            self.add(self.upstream.batch(self.stream.index, self.upstream.parts))
            self.stream.index = max(self.stream.index, len(self.parts))
            self.stream.place = str(PositionV2(self.stream.index, self.stream.index))
            self.stream_tail.inbox.miss()

    def tell(self, changes: Any) -> None:
        assert not changes.failures
        for key, row in changes.rows.items():
            self.view[key] = row
            self.told.append((key, int(row.columns["number"])))

    def add(self, batch: PartBatch) -> None:
        for part in batch:
            assert str(part.position) == str(PositionV2(part.index + 1, part.index + 1))
            self.parts.append(part.value)


class Fleet(RuleBasedStateMachine):
    """Any order of what can happen."""

    @initialize(count=st.integers(1, 3))
    def begin(self, count):
        self.time = 1000.0
        self.today = 1_000_000
        self.store = MemoryStore(3.0, lambda: self.time, self.now)
        self.upstream = Upstream()
        self.names = 0
        self.leaders: dict[str, list[Leader]] = {RUNS: [], STREAM: []}
        self.followers = [Follower(self.store, self.upstream) for _ in range(count)]
        self.server = MemoryLog(self.store)

    def now(self):
        """The store's clock: no two readings are the same microsecond, though it may go back."""
        self.names += 1
        return self.today * 1000 + self.names % 1000

    # Upstream.

    @rule(run=st.integers(0, 2))
    def change(self, run):
        self.upstream.versions[str(run)] = self.upstream.versions.get(str(run), 0) + 1

    @rule(count=st.integers(1, 30))
    def append(self, count):
        self.upstream.parts += count

    # Leaders.

    @rule(key=st.sampled_from([RUNS, STREAM]), lag=st.integers(0, 2))
    def elect(self, key, lag=0):
        """Somebody takes the lease, if it is free, and begins."""
        self.names += 1
        token = f"t{self.names}"
        claim = Claim(key=key, token=token, wants=True)
        (standing,) = self.server.claim("p", [claim], Share(keys=1, led=0, late=0))
        if standing.token != token:
            return
        if key == RUNS:
            leader = Leader(token, RunWriter(self.server, key, token))
            leader.rows = leader.writer.known()
        else:
            leader = Leader(token, StreamWriter(self.server, key, token, HISTORY))
            leader.writer.begin()
            place = leader.writer.place
            leader.read = PositionV2.parse(place).consumed if place else 0
        self.leaders[key].append(leader)
        self.work(leader, key, lag=lag)

    @rule(key=st.sampled_from([RUNS, STREAM]), which=st.integers(0, 20), most=st.integers(1, 40))
    def lead(self, key, which, most):
        """Any leader writes what it read: one that lost its lease long ago, too."""
        if self.leaders[key]:
            leader = self.leaders[key][which % len(self.leaders[key])]
            self.work(leader, key, most)

    def work(self, leader, key, most=40, lag=0):
        try:
            if key == RUNS:
                rows = self.upstream.rows(lag)
                for name, row in list(rows.items()):
                    known = leader.rows.get(name)
                    if known and int(known["number"]) >= int(row["number"]):
                        del rows[name]  # as its feed judges
                leader.rows.update(rows)
                leader.writer.write(rows, [], lambda: leader.rows)
            else:
                batch = self.upstream.batch(leader.read, most)
                if batch:
                    leader.read += len(batch)
                    leader.writer.write(batch, 10)
        except Refused:
            self.leaders[key].remove(leader)

    @rule(times=st.integers(1, 8), run=st.integers(0, 2), deaf=st.integers(-1, 4))
    def go_on(self, times, run, deaf):
        """All is well for a while, but that somebody may hear nothing."""
        for _ in range(times):
            self.change(run)
            self.append(times)
            for key in (RUNS, STREAM):
                for leader in list(self.leaders[key]):
                    self.work(leader, key)
            for number, follower in enumerate(self.followers):
                if number != deaf:
                    follower.hear()

    @rule(lag=st.integers(0, 2))
    def have_leaders(self, lag):
        """Somebody leads, if nobody does."""
        without = [key for key in (RUNS, STREAM) if not self.leaders[key]]
        if without:
            self.time += 4
            for key in (RUNS, STREAM):
                for leader in self.leaders[key]:
                    self.renew_lease(key, leader)
            for key in without:
                self.elect(key, lag)

    @rule(key=st.sampled_from([RUNS, STREAM]), which=st.integers(0, 20))
    def renew(self, key, which):
        if self.leaders[key]:
            self.renew_lease(key, self.leaders[key][which % len(self.leaders[key])])

    def renew_lease(self, key, leader):
        # Whoever has just lost it takes it again, as a process that lives does.
        claim = Claim(key=key, token=leader.token, wants=True)
        self.server.claim("p", [claim], Share(keys=1, led=0, late=0))

    @rule(key=st.sampled_from([RUNS, STREAM]), which=st.integers(0, 20))
    def kill(self, key, which):
        """One is gone, whatever it was doing."""
        if self.leaders[key]:
            self.leaders[key].pop(which % len(self.leaders[key]))

    @rule(seconds=st.sampled_from([1.0, 4.0]))
    def wait(self, seconds):
        for leader in list(self.leaders[RUNS]):
            self.work(leader, RUNS)
        for follower in self.followers:
            follower.hear()
            follower.look(self.tails())
        self.time += seconds
        self.today += int(seconds * 1000)
        for follower in self.followers:
            follower.now += seconds
            follower.tell(follower.replica.confirmed(follower.now))

    # The store.

    @rule()
    def lose_all(self):
        self.store.logs.clear()

    @rule(key=st.sampled_from([RUNS, STREAM]), count=st.integers(1, 5))
    def lose_tail(self, key, count):
        log = self.store.log(key)
        del log.entries[-count:]

    @rule(key=st.sampled_from([RUNS, STREAM]), count=st.integers(1, 3))
    def trim_streams(self, key, count):
        if key == STREAM:
            del self.store.log(key).entries[:count]

    @rule(seconds=st.integers(1, 100))
    def set_clock_back(self, seconds):
        self.today -= seconds * 1000

    # What followers hear.

    @rule(which=st.integers(0, 5))
    def hear(self, which):
        self.followers[which % len(self.followers)].hear()

    @rule(which=st.integers(0, 5), count=st.sampled_from([1, 2, 1000]))
    def lose_messages(self, which, count):
        messages = self.followers[which % len(self.followers)].log.messages
        for _ in range(min(count, len(messages))):
            messages.popleft()

    @rule(which=st.integers(0, 5))
    def look(self, which):
        self.followers[which % len(self.followers)].look(self.tails())

    def tails(self):
        return {key: self.store.log(key).tail for key in (RUNS, STREAM)}

    @rule()
    def join(self):
        if len(self.followers) < 5:
            self.followers.append(Follower(self.store, self.upstream))

    @invariant()
    def every_state_is_newer(self):
        for follower in getattr(self, "followers", ()):
            last: dict[str, int] = {}
            for key, version in follower.told:
                assert version > last.get(key, 0)
                assert version <= self.upstream.versions[key.removeprefix("row ")]
                last[key] = version

    @invariant()
    def every_part_came_once(self):
        for follower in getattr(self, "followers", ()):
            assert follower.parts == list(range(len(follower.parts)))

    def teardown(self):
        """In the end, with a leader that lives, everybody knows everything."""
        if not hasattr(self, "followers"):
            return
        for key in (RUNS, STREAM):
            for leader in list(self.leaders[key]):
                tail, own = self.store.log(key).tail, leader.writer.log.tail
                if own != ANY and own is not None and (tail is None or tail < own):
                    self.leaders[key].remove(leader)  # it looks where its log ends
                else:
                    self.work(leader, key)
            if not any(one.token == self.store.log(key).token for one in self.leaders[key]):
                self.leaders[key].clear()
                self.time += 10
                self.elect(key)
            token = self.store.log(key).token
            self.leaders[key] = [one for one in self.leaders[key] if one.token == token]
            while (
                self.leaders[key]
                and key == STREAM
                and (self.leaders[key][0].read < self.upstream.parts)
            ):
                self.work(self.leaders[key][0], key)
        for follower in self.followers:
            follower.hear()
            follower.look(self.tails())
            follower.look(self.tails())
            rows = self.upstream.rows()
            assert {key: row.columns for key, row in follower.view.items()} == rows
            follower.take()
            assert len(follower.parts) == self.upstream.parts
        self.every_state_is_newer()
        self.every_part_came_once()


@pytest.fixture(autouse=True, scope="module")
def _short_logs():
    """Begin logs anew often."""
    before = run_journal.MOST_ANSWERS
    run_journal.MOST_ANSWERS = 5
    yield
    run_journal.MOST_ANSWERS = before


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


SCRIPTS = {
    "a log that was put back tells no old state again": [
        ("have_leaders", 0),
        ("go_on", 4, 0, -1),
        ("lose_tail", RUNS, 3),
        ("look", 0),
    ],
    "a message that was lost is read, though later ones came": [
        ("have_leaders", 0),
        ("go_on", 1, 0, -1),
        ("go_on", 1, 1, 0),
        ("lose_messages", 0, 1000),
        ("go_on", 1, 2, -1),
    ],
    "the last message that was lost is found by the tail": [
        ("have_leaders", 0),
        ("go_on", 2, 0, -1),
        ("go_on", 1, 1, 0),
        ("lose_messages", 0, 1000),
        ("look", 0),
    ],
    "a leader of a lagging replica brings no old state": [
        ("have_leaders", 0),
        ("go_on", 3, 0, -1),
        ("lose_all",),
        ("kill", RUNS, 0),
        ("have_leaders", 2),
        ("hear", 0),
    ],
    "a clock that goes back begins no older epoch": [
        ("have_leaders", 0),
        ("go_on", 3, 0, -1),
        ("set_clock_back", 100),
        ("kill", RUNS, 0),
        ("kill", STREAM, 0),
        ("have_leaders", 0),
        ("go_on", 3, 0, -1),
    ],
    "a log that was lost, and begun anew by a clock that went back, is read": [
        ("have_leaders", 0),
        ("go_on", 3, 0, -1),
        ("set_clock_back", 100),
        ("lose_all",),
        ("kill", RUNS, 0),
        ("kill", STREAM, 0),
        ("have_leaders", 0),
        ("look", 0),
        ("go_on", 3, 1, -1),
    ],
    "parts that were trimmed before somebody came are read from the API": [
        ("have_leaders", 0),
        ("go_on", 8, 0, -1),
        ("trim_streams", STREAM, 3),
        ("join",),
        ("hear", 1),
    ],
    "a zombie is refused": [
        ("have_leaders", 0),
        ("go_on", 2, 0, -1),
        ("wait", 4.0),
        ("elect", RUNS, 0),
        ("change", 0),
        ("lead", RUNS, 0, 9),
        ("lead", RUNS, 0, 9),
        ("hear", 0),
    ],
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_what_once_went_wrong(script):
    """Each by itself, so that no luck is needed to find it."""
    fleet = Fleet()
    fleet.begin(1)
    for name, *arguments in script:
        getattr(fleet, name)(*arguments)
        fleet.every_state_is_newer()
        fleet.every_part_came_once()
    fleet.teardown()
