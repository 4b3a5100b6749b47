"""One round of chaos: what is subscribed to, what happens to it, and what must hold."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from tests.support.clocks import DOUBT_SECONDS, ServerClock
from tests.support.waiting import eventually
from trigger_realtime_sync import (
    RealtimeClient,
    StreamRewound,
    StreamTrimmed,
    StreamUnreadable,
    WaitTimeout,
)
from trigger_realtime_sync.testing import RealtimeServer

PATIENCE = 40.0
# Seconds that the server holds a live poll.
HOLD = 0.5
# What is told of a stream that lost something. A world in which nothing is lost takes it for wrong.
LOSSES = (StreamRewound, StreamTrimmed)
# The key of a stream that every run names, and no task writes to.
UNWRITTEN = "unwritten"
SECRET = "SECRETofTHEchaosTESTS"
# Seconds that a replica lags, a part of those in which an old answer is not believed.
LAG = 0.15 * DOUBT_SECONDS
# The same at the end, long enough for a second opinion.
LONGEST_LAG = 1.5
# Seconds that an ordered fault waits for its request.
FAULT_SECONDS = 0.5
FEEDS = ("run", "runs", "batch")
# Places for live polls while the environment's limit is low: fewer than there are subscriptions.
FEW_PLACES = 3


class Token:
    """Another token for each request, so that one that was refused can be replaced. It tells the
    proxy whose request it is: the number of the subscription."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._counter = itertools.count()

    def __call__(self) -> str:
        return f"tr_{SECRET}_{self._number}_{next(self._counter)}"


class Watcher:
    """Callbacks that check, as they are called, what must hold of one subscription."""

    def __init__(self, name: str, seconds: float = 0.0) -> None:
        self.name = name
        self._seconds = seconds
        self.called = threading.Event()
        # Protects what is below.
        self._lock = threading.Lock()
        self._running = 0
        self.wrong: list[str] = []
        self.versions: dict[str, int] = {}
        self.completed: list[str] = []
        self.outputs: dict[str, Any] = {}
        self.parts: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self.losses: list[Any] = []
        self.given_up: list[tuple[str, str]] = []
        self.cancelled = False
        self.subscription: Any = None

    @contextmanager
    def _call(self, what: str) -> Iterator[None]:
        with self._lock:
            if self.cancelled:
                self.wrong.append(f"{what} after cancel() returned")
            if self._running:
                self.wrong.append(f"{what} while another callback runs")
            self._running += 1
        self.called.set()
        yield
        time.sleep(self._seconds)
        with self._lock:
            self._running -= 1

    def on_update(self, run: Any) -> None:
        with self._call("on_update"):
            version = run.metadata["version"] if run.metadata else 0
            before = self.versions.get(run.id, -1)
            if version <= before:
                self.wrong.append(f"{run.id}: version {version} after {before}")
            if run.id in self.completed:
                self.wrong.append(f"{run.id}: on_update after on_complete")
            self.versions[run.id] = version

    def on_complete(self, run: Any) -> None:
        with self._call("on_complete"):
            if run.id in self.completed:
                self.wrong.append(f"{run.id}: on_complete twice")
            if not run.is_finished:
                self.wrong.append(f"{run.id}: on_complete as {run.status}")
            self.completed.append(run.id)
            self.outputs[run.id] = run.output

    def on_error(self, error: Any) -> None:
        with self._call("on_error"):
            if isinstance(error, LOSSES):
                self.losses.append(error)
            elif isinstance(error, StreamUnreadable):
                self.given_up.append((error.run_id or "", error.stream or ""))
            else:
                self.wrong.append(f"on_error: {error!r}")

    def on_stream(self, *arguments: Any) -> None:
        with self._call("on_stream"):
            *where, parts = arguments
            run_id = where[0] if len(where) == 2 else ""
            if not parts:
                self.wrong.append("on_stream without parts")
            self.parts[(run_id, where[-1])] += parts

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "on_update": self.on_update,
            "on_complete": self.on_complete,
            "on_error": self.on_error,
        }

    def cancel(self) -> None:
        self.subscription.cancel()
        with self._lock:
            # A callback that runs may finish; none may begin.
            self.cancelled = True


@attrs.frozen
class Habits:
    """What the server and its network do in a seed.

    By `updatedAt` alone an old snapshot can't be told from a new one whose stamp went back: what a
    client may do then is in docs/protocol.md, section 2, "Order", and is not exact. So a seed has
    either the one or the other.

    Attributes:
        stamps_go_back: writes commit in another order than their stamps say; no old answers, and no
            crash, which brings old snapshots back.
        switches: the backend changes under running subscriptions.
        looks: the client looks every second for what live polls do not tell, which would hide that
            it lost an answer. Where it does not, its window does not move either.
        stream_ids: v1: the server sends ids, as it does since 4.1.2.
        creates_streams: v2: reading creates a stream. Where it does not, one that is never written
            to can't be read, and is given up.
        deletes_streams: v2: a stream is deleted while it is read; else it is put back.
        electric: the settings of Electric.
    """

    stamps_go_back: bool
    switches: bool
    looks: bool
    stream_ids: bool
    creates_streams: bool
    deletes_streams: bool
    electric: dict[str, Any]

    @classmethod
    def of(cls, seed: int) -> Habits:
        rng = random.Random(f"habits {seed}")
        electric = {
            "snapshot_chunk_rows": rng.choice([None, 1, 2]),
            "log_chunk_rows": rng.choice([None, 1, 2]),
            "first_answer_empty": rng.random() < 0.3,
            "empty_past_snapshot": rng.random() < 0.3,
        }
        return cls(
            stamps_go_back=seed % 2 == 1,
            switches=seed % 3 == 0,
            looks=seed % 4 != 0,
            stream_ids=seed % 3 != 2,
            creates_streams=seed % 3 != 1,
            deletes_streams=seed % 4 in (1, 2),
            electric=electric,
        )


class World:
    """The server's runs, which only go forward: a run's version counts its states."""

    def __init__(
        self, server: RealtimeServer, client: RealtimeClient, seed: int, clock: ServerClock
    ) -> None:
        self.server = server
        self.client = client
        self.rng = random.Random(seed)
        self.habits = Habits.of(seed)
        self._clock = clock
        self.versions: dict[str, int] = {}
        self._changed_at: dict[str, float] = {}
        self._members: dict[str, list[str]] = {}
        self._lags_until: float | None = None
        self.written: dict[tuple[str, str], list[Any]] = defaultdict(list)
        self.watchers: list[Watcher] = []
        self.waits: list[tuple[Watcher, Callable[[float], Any], list[str]]] = []
        self.victims: list[Watcher] = []
        # Followed, and never finished.
        self.endless = ""
        self._endless_watchers: list[Watcher] = []

    # --- what is there

    def subscribe(self) -> None:
        """Every kind of subscription, and some that will be cancelled on the way."""
        singles = [self._run() for _ in range(2)] + [self._run(lag=True)]
        tagged = [self._run(tags=["chaos"]) for _ in range(5)]
        batched = [self._run() for _ in range(3)]
        reused = [self._run() for _ in range(6)]
        keys = ["a", "b", UNWRITTEN]
        streaming = [self._run(realtime_streams=keys, tags=["streams"]) for _ in range(2)]
        batch = self.server.batch(*batched, reused=reused)
        self._members = {"chaos": tagged, "streams": streaming, batch: batched}
        for run in singles:
            self._follow(f"run {run}", [run], self.client.subscribe_to_run, run)
        self._follow("tag", tagged, self.client.subscribe_to_runs_with_tag, "chaos", many=True)
        self._follow("batch", batched + reused, self.client.subscribe_to_batch, batch)
        with suppress(WaitTimeout):
            # Whoever waits makes the client ask for the runs that were reused.
            self.watchers[-1].subscription.wait_for_completion(0.01)
        for run in streaming:
            self._follow(
                f"streams {run}",
                [run],
                self.client.subscribe_to_run_with_streams,
                run,
                streams=True,
            )
        self._follow(
            "streams of a tag",
            streaming,
            self.client.subscribe_to_runs_with_streams,
            "streams",
            many=True,
            streams=True,
        )
        self._follow_stream(streaming[0], "a")
        for number in range(4):
            self._follow(
                f"victim {number}", [], self.client.subscribe_to_runs_with_tag, "chaos", slow=True
            )
        self.endless = self._run(tags=["endless"])
        self._members["endless"] = [self.endless]
        self._follow("endless run", [], self.client.subscribe_to_run, self.endless)
        self._follow("endless tag", [], self.client.subscribe_to_runs_with_tag, "endless")
        self._endless_watchers = self.watchers[-2:]

    def _run(self, **options: Any) -> str:
        run = self.server.create_run(status="EXECUTING", metadata={"version": 1}, **options)
        self.versions[run] = 1
        return run

    def _follow(
        self,
        name: str,
        runs: list[str],
        subscribe: Callable[..., Any],
        subject: str,
        *,
        many: bool = False,
        streams: bool = False,
        slow: bool = False,
    ) -> None:
        # Slower than `cancel()` waits: what is queued behind a callback must be dropped.
        watcher = Watcher(name, seconds=0.03 if slow else 0.0)
        if slow:
            self.victims.append(watcher)
        more = {"on_stream": watcher.on_stream} if streams else {}
        subscription = watcher.subscription = subscribe(
            subject, **watcher.callbacks, **more, access_token=Token(len(self.watchers))
        )
        self.watchers.append(watcher)
        if runs:
            options = {"expected": len(runs)} if many else {}
            self.waits.append(
                (watcher, lambda most: subscription.wait_for_completion(most, **options), runs)
            )

    def _follow_stream(self, run: str, key: str) -> None:
        watcher = Watcher(f"stream {key} of {run}")
        self.watchers.append(watcher)
        subscription = watcher.subscription = self.client.subscribe_to_stream(
            run,
            key,
            on_stream=watcher.on_stream,
            on_error=watcher.on_error,
            access_token=Token(len(self.watchers)),
        )
        self.waits.append((watcher, subscription.wait_for_completion, []))

    # --- what happens

    def storm(self, seconds: float) -> None:
        """Changes, rotations, dropped connections and cancellations, in an order that the seed
        decides."""
        actions = self._actions()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.rng.choices(list(actions), list(actions.values()))[0]()
            time.sleep(self.rng.uniform(0.0, 0.02))
            if self._lags_until is not None and time.monotonic() > self._lags_until:
                self._catch_up()

    def _actions(self) -> dict[Callable[[], None], float]:
        """Return what may happen, with weights."""
        actions: dict[Callable[[], None], float] = {
            self._change_any: 44,
            self._write: 38,
            self._drop_connections: 3,
            self._cancel_one: 2,
            self._lose_the_shape: 1.5,
            self._change_together: 3,
            self._lag: 1.5,
            self._limit: 1.5,
            self._spoil: 3,
            self.server.restart: 1,
        }
        if self.habits.looks:
            actions[self._move_window] = 0.5
        if not self.habits.stamps_go_back:
            actions[self._crash] = 1
        if self.habits.switches:
            actions[self._switch] = 1.5
        return actions

    def _change_any(self) -> None:
        self._change(self.rng.choice(list(self.versions)))

    def _change(self, run: str) -> None:
        self.versions[run] += 1
        self._changed_at[run] = time.monotonic()
        self.server.update_run(
            run, metadata={"version": self.versions[run]}, stamp_back=self._stamp_back()
        )

    def _stamp_back(self) -> float | None:
        """How far the stamp of the next write goes back: committed in another order, or stamped by
        a server whose clock is behind."""
        if not self.habits.stamps_go_back:
            return None
        return self.rng.choice([None, None, 0.0, 0.05, 3.0])

    def _change_all(self) -> None:
        for run in self.versions:
            self._change(run)

    def _change_together(self) -> None:
        """A transaction of several rows, some of which change twice."""
        with self.server.transaction():
            for _ in range(self.rng.randint(2, 8)):
                self._change_any()

    def _drop_connections(self) -> None:
        self.server.drop_connections(reset=self.rng.random() < 0.5)

    def _cancel_one(self) -> None:
        if self.victims:
            self.victims.pop().cancel()

    def _lose_the_shape(self) -> None:
        how = self.rng.random()
        if how < 0.5:
            self.server.rotate(keep_handle=how < 0.1, send_handle=how < 0.3)
        else:
            self.server.restore()
            self.server.drop_connections()

    def _crash(self) -> None:
        """A crash of 1.2.4, which tells the runs as they were at first until they change again."""
        self.server.crash()
        self.server.drop_connections()
        self._change_all()

    def _switch(self) -> None:
        self.server.switch_backend(self.rng.choice(["native", "electric"]))

    def _lag(self) -> None:
        if self._lags_until is None:
            self.server.hold_replication()
            self._lags_until = time.monotonic() + self.rng.uniform(0, LAG)

    def _catch_up(self) -> None:
        self._lags_until = None
        self.server.release_replication()

    def _limit(self) -> None:
        self.server.live_polls = self.rng.choice([None, FEW_PLACES])

    def _spoil(self) -> None:
        """Let the answer to the next poll be lost, be that of a replica that lags, or lack what a
        flush left out."""
        until = time.monotonic() + FAULT_SECONDS
        how = self.rng.random()

        def is_any(request: Any) -> bool:
            return request.kind in FEEDS and request.at < until

        def is_just_changed(request: Any) -> bool:
            since = time.monotonic() - LAG
            return is_any(request) and all(
                self._changed_at.get(run, 0) > since for run in self._runs_of(request)
            )

        if how < 0.4:
            self.server.fail_next(match=is_any, lost=True)
        elif how < 0.7:
            self.server.fail_next(match=is_any, leave_out=self.rng.randint(1, 3))
        elif not self.habits.stamps_go_back:
            self.server.fail_next(match=is_just_changed, stale=True)

    def _runs_of(self, request: Any) -> list[str]:
        if request.kind == "run":
            return [request.segments[-1]]
        return self._members[request.query.get("tags") or request.segments[-1]]

    def _move_window(self) -> None:
        """Let a day pass on the server: its feeds by tags begin after all runs from now on."""
        expected = {"tag": "chaos", "streams of a tag": "streams", "endless tag": "endless"}
        told = {one.name: set(one.versions) for one in self.watchers}
        if all(told[name] == set(self._members[tag]) for name, tag in expected.items()):
            self._clock.let_a_day_pass()

    def _write(self) -> None:
        run = self.rng.choice([r for r in self.versions if self._streams_of(r)])
        key = self.rng.choice(["a", "b"])
        count = self.rng.choice([1, 1, 2, 5, 40])
        number = len(self.written[(run, key)])
        parts = [self._part(number + n) for n in range(count)]
        self.written[(run, key)] += parts
        self._append(run, key, parts)

    def _append(self, run: str, key: str, parts: list[Any]) -> None:
        self.server.append(run, key, *parts)

    def _part(self, number: int) -> Any:
        texts = [
            f"part {number} ",
            {"n": number},
            number,
            f"{number}\nü\u2028",
            f"{number}" + "x" * 2000,
        ]
        return self.rng.choice(texts)

    def _streams_of(self, run: str) -> bool:
        return any(run in watcher.name for watcher in self.watchers if "streams" in watcher.name)

    def lose_streams(self) -> None:
        """Nothing: what Redis has it keeps."""

    def finish(self) -> None:
        """Cancel the remaining victims amid their callbacks, and complete every run: from now on
        the last states and parts are known."""
        self._catch_up()
        for victim in self.victims:
            victim.called.clear()
            self._change_all()
            victim.called.wait(5)
            victim.cancel()
        self.server.live_polls = None if self.rng.random() < 0.7 else FEW_PLACES
        with self.server.hold_replication():
            for run in self.versions:
                if run != self.endless:
                    self._complete(run)
            # REST may be first to know.
            time.sleep(self.rng.choice([0.0, 0.0, LAG, LONGEST_LAG]))
        if not self.habits.stamps_go_back and self.rng.random() < 0.5:
            # Electric says no more of what has finished: only REST knows.
            self.server.crash()
            self.server.drop_connections()
        if self.rng.random() < 0.5:
            self._leave_out_the_last()
        self._change(self.endless)

    def _leave_out_the_last(self) -> None:
        """Let a flush leave out the next change of the run that never finishes: no REST knows."""
        self.server.fail_next(
            times=2,
            match=lambda request: (
                request.kind in FEEDS and self._runs_of(request) == [self.endless]
            ),
            live=True,
            leave_out=1,
        )
        # What is held now ends as it began.
        time.sleep(HOLD)

    def _complete(self, run: str) -> None:
        self.versions[run] += 1
        self.server.complete_run(
            run,
            output={"run": run},
            metadata={"version": self.versions[run]},
            stamp_back=self._stamp_back(),
        )

    # --- what must hold

    def check(self) -> list[str]:
        """Wait for every subscription, and return what is wrong."""
        wrong: list[str] = []
        until = time.monotonic() + PATIENCE
        for watcher, wait, runs in self.waits:
            try:
                wait(max(1.0, until - time.monotonic()))
            except Exception as error:  # noqa: BLE001 (told with the rest)
                wrong.append(f"{watcher.name}: {error!r} ({watcher.subscription})")
                continue
            wrong += self._check_last_states(watcher, runs)
            wrong += self._check_parts(watcher)
        wrong += self._check_endless(until)
        for watcher in self.watchers:
            wrong += [f"{watcher.name}: {line}" for line in watcher.wrong]
        return wrong

    def _check_endless(self, until: float) -> list[str]:
        """The last state of a run that does not finish is told too."""
        last = self.versions[self.endless]
        watchers = self._endless_watchers
        with suppress(AssertionError):
            eventually(
                lambda: all(one.versions.get(self.endless) == last for one in watchers),
                seconds=max(1.0, until - time.monotonic()),
            )
        return [
            f"{one.name}: last told version is {one.versions.get(self.endless)}, not {last}"
            f" ({one.subscription})"
            for one in watchers
            if one.versions.get(self.endless) != last
        ]

    def _check_last_states(self, watcher: Watcher, runs: list[str]) -> list[str]:
        wrong = []
        for run in runs:
            last, told = self.versions[run], watcher.versions.get(run)
            if told != last:
                wrong.append(f"{watcher.name}: last told version of {run} is {told}, not {last}")
            if watcher.completed.count(run) != 1:
                wrong.append(f"{watcher.name}: on_complete of {run} was not called once")
            if watcher.outputs.get(run) != {"run": run}:
                wrong.append(f"{watcher.name}: output of {run} is {watcher.outputs.get(run)!r}")
        # What has finished and is older than the window is not shown any more.
        one = watcher.subscription
        shown = one.runs if hasattr(one, "runs") else [one.run]
        wrong += [
            f"{watcher.name}: shows {run.output!r} as the output of {run.id}"
            for run in shown
            if run is not None and run.output != {"run": run.id}
        ]
        return wrong

    def _difference(self, watcher: Watcher, run: str, key: str, parts: list[Any]) -> str:
        if watcher.losses:
            return f"lost something: {watcher.losses}"
        return difference(parts, self.written[(run, key)])

    def _check_parts(self, watcher: Watcher) -> list[str]:
        wrong = []
        for (run, key), parts in watcher.parts.items():
            run = run or watcher.name.rpartition(" ")[2]
            if found := self._difference(watcher, run, key, parts):
                wrong.append(f"{watcher.name}: {key} of {run}: {found}")
        if "streams run" in watcher.name or watcher.name == "streams of a tag":
            told = {(run or watcher.name.rpartition(" ")[2], key) for run, key in watcher.parts}
            expected = {one for one, parts in self.written.items() if parts}
            if watcher.name != "streams of a tag":
                expected = {one for one in expected if one[0] in watcher.name}
            if told != expected:
                wrong.append(f"{watcher.name}: read {told}, not {expected}")
        return wrong + self._check_given_up(watcher)

    def _check_given_up(self, watcher: Watcher) -> list[str]:
        """A stream that can't be read to an end is given up, each one once, and no other."""
        runs = self._members["streams"]
        if watcher.name != "streams of a tag":
            runs = [run for run in runs if run in watcher.name]
        expected: list[tuple[str, str]] = []
        if "streams" in watcher.name and not self._ends_unwritten():
            expected = sorted((run, UNWRITTEN) for run in runs)
        given_up = sorted(watcher.given_up)
        return (
            [f"{watcher.name}: gave up {given_up}, not {expected}"] if given_up != expected else []
        )

    def _ends_unwritten(self) -> bool:
        """Return True if a stream that nothing was written to can be read to its end."""
        return True


def difference(told: list[Any], written: list[Any]) -> str:
    """Return where two lists of parts differ, in words; nothing if they don't."""
    for place, (one, other) in enumerate(zip(told, written, strict=False)):
        if one != other:
            return f"part {place} of {len(written)} is {one!r:.60}, not {other!r:.60}"
    return f"{len(told)} parts, not {len(written)}" if len(told) != len(written) else ""
