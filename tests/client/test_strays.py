"""Runs that their feed does not tell, followed singly (docs/protocol.md, sections 1 and 2)."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.waiting import Recorder, eventually, threads_named
from trigger_realtime_sync._feeds import stray_runs
from trigger_realtime_sync._wire.shape_log import ShapeLog
from trigger_realtime_sync.testing import RealtimeServer, _electric, _native


@pytest.fixture(params=["native", "electric"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> Callable[[RealtimeServer], None]:
    """Move the window of tag feeds past all runs: on Electric by a rotation, which ends the polls;
    on native by the bound of 24 h, which the next look meets."""

    def move(server: RealtimeServer, hours: float = 25) -> None:
        ahead = hours * 3600
        clock = SimpleNamespace(
            time=lambda: time.time() + ahead,
            time_ns=lambda: time.time_ns() + int(ahead * 1e9),
            monotonic=time.monotonic,
            monotonic_ns=time.monotonic_ns,
        )
        monkeypatch.setattr(_native, "time", clock)
        monkeypatch.setattr(_electric, "time", clock)
        server.rotate()

    return move


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs have their turn a hundred times as often."""
    monkeypatch.setattr(stray_runs, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(stray_runs, "RUN_SECONDS", 0.1)


def singly(server: RealtimeServer, run_id: str | None = None) -> list[Any]:
    """Return the requests for single runs so far."""
    runs = [one for one in server.requests if one.kind == "run"]
    return [one for one in runs if run_id in (None, one.segments[-1])]


def brief(backend: Any) -> RealtimeServer:
    return RealtimeServer(backend, hold=0.15)


def test_a_run_that_the_window_has_left(connect, looks, backend, leave):
    """It stays in `.runs`, and is told until it has finished; then nobody asks for it any more."""
    with brief(backend) as server:
        run_id = server.create_run(tags=["t"])
        recorder = Recorder()
        subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        leave(server)
        server.wait_until_held(1, match="run")
        assert [run.id for run in subscription.runs] == [run_id]
        server.update_run(run_id, status="EXECUTING")
        recorder.wait("update", 2)
        server.complete_run(run_id, output=1)
        [run] = recorder.wait("complete")
        assert run.output == 1
        assert [run.is_finished for run in subscription.runs] == [True]
        eventually(lambda: not threads_named("stray-"))
        before = len(singly(server))
        server.clear_requests()
        server.wait_for_requests(5, match="runs")
        assert before > 0
        assert not singly(server)
        assert recorder.statuses == ["QUEUED", "EXECUTING", "COMPLETED"]
        assert recorder.errors == []


def test_a_finished_run_that_the_window_has_left_is_not_followed(connect, looks, backend, leave):
    """Nothing more will be said of it."""
    with brief(backend) as server:
        run_id = server.create_run(tags=["t"])
        server.complete_run(run_id)
        recorder = Recorder()
        connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("complete")
        server.wait_until_held(1)
        server.create_run(tags=["t"], created_at=datetime.now(timezone.utc) + timedelta(hours=25))
        recorder.wait("update", 2)
        leave(server)
        server.clear_requests()
        server.wait_for_requests(3, match="runs", live=False)
        assert not singly(server)


def test_a_run_beyond_the_largest_snapshot(connect, looks, monkeypatch):
    """Native shows the newest 1,000 runs: an older one that is unfinished is followed singly, and
    no longer once the feed shows it again."""
    monkeypatch.setattr(_native, "_MAX_SNAPSHOT_ROWS", 2)
    with brief("native") as server:
        first = server.create_run(tags=["t"])
        recorder = Recorder()
        subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        for count in (2, 3):
            server.create_run(tags=["t"])
            recorder.wait("update", count)
        server.wait_until_held(1, match="run")
        assert len(subscription.runs) == 3
        server.update_run(first, status="EXECUTING")
        recorder.wait("update", 4)
        monkeypatch.setattr(_native, "_MAX_SNAPSHOT_ROWS", 1000)
        server.update_run(first, metadata={"n": 1})
        recorder.wait("update", 5)
        eventually(lambda: not threads_named("stray-"))
        server.complete_run(first)
        recorder.wait("complete")


def test_a_run_that_is_deleted_leaves_quietly(connect, looks, backend, leave):
    """Its own feed is a 404."""
    with brief(backend) as server:
        run_id = server.create_run(tags=["t"])
        recorder = Recorder()
        subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        leave(server)
        server.wait_until_held(1, match="run")
        server.delete_run(run_id)
        eventually(lambda: not subscription.runs)
        eventually(lambda: not threads_named("stray-"))
        assert recorder.errors == []
        assert subscription.error is None


def test_a_run_that_loses_its_tag_leaves_quietly(connect, looks, backend, leave):
    """It belongs to the subscription no longer."""
    with brief(backend) as server:
        run_id = server.create_run(tags=["t", "u"])
        recorder = Recorder()
        subscription = connect(server).subscribe_to_runs_with_tag(["t", "u"], **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        leave(server)
        server.wait_until_held(1, match="run")
        server.update_run(run_id, tags=["u"])
        eventually(lambda: not subscription.runs)
        eventually(lambda: not threads_named("stray-"))
        assert recorder.statuses == ["QUEUED"]
        assert recorder.errors == []


def test_a_deletion_in_the_log_is_not_followed(connect, no_looks):
    """Electric says it of a run that lost its tag."""
    with RealtimeServer("electric") as server:
        run_id = server.create_run(tags=["t"])
        subscription = connect(server).subscribe_to_runs_with_tag("t")
        eventually(lambda: subscription.runs)
        server.wait_until_held(1)
        server.update_run(run_id, tags=[])
        eventually(lambda: not subscription.runs)
        server.wait_until_held(1)
        assert not singly(server)


def test_one_that_can_not_be_followed_is_no_error(connect, looks, backend, leave):
    """A token may not cover single runs: what is known stays."""
    with brief(backend) as server:
        server.create_run(tags=["t"])
        recorder = Recorder()
        subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update")
        server.fail_next(match="run", status=403, times=1000)
        server.wait_until_held(1)
        leave(server)
        eventually(lambda: singly(server))
        eventually(lambda: not threads_named("stray-"))
        assert len(subscription.runs) == 1
        assert recorder.errors == []


# --- many


def test_at_most_four_by_live_polls_and_the_others_in_turn(connect, looks, backend, leave, turns):
    """Each of them is told all the same."""
    with brief(backend) as server:
        runs = [server.create_run(tags=["t"]) for _ in range(8)]
        recorder = Recorder()
        subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update", 8)
        server.wait_until_held(1)
        leave(server)
        server.wait_until_held(4, match="run")
        for run_id in runs:
            server.update_run(run_id, status="EXECUTING")
        recorder.wait("update", 16)
        live = {one.segments[-1] for one in singly(server) if one.live}
        assert len(live) == 4
        assert len(threads_named("stray-")) == 5
        for run_id in runs:
            server.complete_run(run_id)
        recorder.wait("complete", 8)
        assert all(run.is_finished for run in subscription.runs)
        eventually(lambda: not threads_named("stray-"))


def test_turns_are_one_request_at_a_time(connect, looks, leave, monkeypatch):
    """Spaced for all, and for each run."""
    monkeypatch.setattr(stray_runs, "TURN_SECONDS", 0.05)
    monkeypatch.setattr(stray_runs, "RUN_SECONDS", 0.4)
    with brief("native") as server:
        for _ in range(7):
            server.create_run(tags=["t"])
        subscription = connect(server).subscribe_to_runs_with_tag("t")
        eventually(lambda: len(subscription.runs) == 7)
        server.wait_until_held(1)
        leave(server)
        server.wait_until_held(4, match="run")
        live = {one.segments[-1] for one in singly(server) if one.live}
        server.clear_requests()

        def in_turn() -> list[Any]:
            return [one for one in singly(server) if one.segments[-1] not in live]

        eventually(lambda: len(in_turn()) >= 12)
        asked = in_turn()[:12]
        times = [one.at for one in asked]
        assert min(b - a for a, b in itertools.pairwise(times)) >= 0.05
        for run_id in {one.segments[-1] for one in asked}:
            own = [one.at for one in asked if one.segments[-1] == run_id]
            assert min(b - a for a, b in itertools.pairwise(own)) >= 0.4
        assert not any(one.live for one in asked)
        assert len({one.segments[-1] for one in asked}) == 3


def test_the_next_one_gets_the_live_poll_of_one_that_finished(connect, looks, leave, monkeypatch):
    """Even when it is being looked at just then."""
    monkeypatch.setattr(stray_runs, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(stray_runs, "RUN_SECONDS", 0.05)
    with brief("native") as server:
        runs = [server.create_run(tags=["t"]) for _ in range(5)]
        recorder = Recorder()
        connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update", 5)
        server.wait_until_held(1)
        leave(server)
        server.wait_until_held(4, match="run")
        live = {one.segments[-1] for one in singly(server) if one.live}
        [last] = set(runs) - live
        for run_id in live:
            server.complete_run(run_id)
        recorder.wait("complete", 4)
        eventually(lambda: any(one.live for one in singly(server, last)))
        server.complete_run(last)
        recorder.wait("complete", 5)


def test_a_rotation_does_not_lose_one_in_turn(connect, looks, leave, turns):
    """A look that is asked to start again and again is only late."""
    with brief("electric") as server:
        runs = [server.create_run(tags=["t"]) for _ in range(5)]
        recorder = Recorder()
        connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update", 5)
        server.wait_until_held(1)
        leave(server)
        server.wait_until_held(4, match="run")
        live = {one.segments[-1] for one in singly(server) if one.live}
        [last] = set(runs) - live
        server.fail_next(match=lambda one: last in one.path, times=8, status=409)
        eventually(lambda: len(singly(server, last)) >= 9)
        # What a 409 refused does not come back.
        server.rotate()
        server.complete_run(last)
        recorder.wait("complete")


def test_cancelling_ends_all_of_them(connect, looks, backend, leave):
    """At once, whatever they wait for; no callback comes any more."""
    with brief(backend) as server:
        for _ in range(6):
            server.create_run(tags=["t"])
        recorder = Recorder()
        subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update", 6)
        server.wait_until_held(1)
        leave(server)
        server.wait_until_held(4, match="run")
        subscription.cancel()
        eventually(lambda: not threads_named("stray-"), seconds=2)
        eventually(lambda: not threads_named("run-feed"), seconds=2)


def test_a_thread_that_can_not_be_started(connect, looks, leave, monkeypatch):
    """A limit that is reached for a moment: it is tried again with the feed's next answer."""
    original, failed = threading.Thread.start, []

    def start(self: threading.Thread) -> None:
        if "stray-" in self.name and len(failed) < 2:
            failed.append(self.name)
            raise RuntimeError("can't start new thread")
        original(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    with brief("native") as server:
        run_id = server.create_run(tags=["t"])
        recorder = Recorder()
        connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        leave(server)
        eventually(lambda: len(failed) == 2)
        server.complete_run(run_id)
        recorder.wait("complete")
        assert recorder.errors == []


def test_a_failure_of_ours_costs_one_run(connect, looks, leave, monkeypatch, caplog):
    """The others are followed on."""
    with brief("native") as server:
        broken, sound = (server.create_run(tags=["t"]) for _ in range(2))
        recorder = Recorder()
        connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update", 2)
        server.wait_until_held(1)
        original = ShapeLog.receive

        def receive(self: Any, headers: Any, messages: Any, source: str, **more: Any) -> Any:
            if "run-" + broken.removeprefix("run_") == headers["electric-handle"]:
                raise RuntimeError("a bug")
            return original(self, headers, messages, source, **more)

        monkeypatch.setattr(ShapeLog, "receive", receive)
        leave(server)
        server.wait_until_held(1, match="run")
        server.complete_run(sound)
        recorder.wait("complete")
        eventually(lambda: "a bug" in caplog.text)


# --- reused runs of a batch


def test_a_reused_run_does_not_wait_for_another_one(server, connect):
    """All are asked for at once: a finished one is told while an earlier one is running."""
    running = server.create_run()
    finished = [server.create_run() for _ in range(3)]
    for run_id in finished:
        server.complete_run(run_id)
    own = server.create_run()
    server.complete_run(own)
    recorder = Recorder()
    batch_id = server.batch(own, reused=[running, *finished])
    subscription = connect(server).subscribe_to_batch(batch_id, **recorder.options)
    recorder.wait("complete", 4)
    server.wait_until_held(1, match="run")
    assert {run.id for run in recorder.completes} == {own, *finished}
    server.complete_run(running)
    assert len(subscription.wait_for_completion(5)) == 5


def test_each_reused_run_is_asked_for_before_any_is_followed(server, connect, monkeypatch):
    """Finished ones behind more running ones than are followed by live polls, at once."""
    monkeypatch.setattr(stray_runs, "TURN_SECONDS", 3600.0)
    running = [server.create_run() for _ in range(6)]
    finished = [server.create_run() for _ in range(3)]
    for run_id in finished:
        server.complete_run(run_id)
    own = server.create_run()
    server.complete_run(own)
    recorder = Recorder()
    batch_id = server.batch(own, reused=[*running, *finished])
    connect(server).subscribe_to_batch(batch_id, **recorder.options)
    recorder.wait("complete", 4)
    recorder.wait("update", 10)
    server.wait_until_held(4, match="run")


def test_reused_runs_skip_the_same_columns(server, connect):
    """They are asked for like the others."""
    reused, own = server.create_run(payload={"n": 1}), server.create_run(payload={"n": 2})
    batch_id = server.batch(own, reused=[reused])
    recorder = Recorder()
    connect(server).subscribe_to_batch(batch_id, skip_columns=["payload"], **recorder.options)
    server.complete_run(own)
    recorder.wait("complete")
    server.complete_run(reused)
    recorder.wait("complete", 2)
    assert {run.payload for run in recorder.updates} == {None}
    assert {one.query["skipColumns"] for one in singly(server)} == {"payload"}


def test_many_reused_runs_are_asked_side_by_side(server, connect, turns):
    """A bounded number at a time."""
    reused = [server.create_run() for _ in range(30)]
    for run_id in reused:
        server.complete_run(run_id)
    server.fail_next(match="run", delay=0.05, times=1000)
    subscription = connect(server).subscribe_to_batch(server.batch(reused=reused))
    assert len(subscription.wait_for_completion(20)) == 30
    counts = Counter(one.segments[-1] for one in singly(server))
    assert set(counts) == set(reused)
    # Native says all in one answer; Electric needs a second one.
    assert set(counts.values()) <= {1, 2}


def test_more_reused_runs_than_live_polls(server, connect, turns):
    """All of them are waited for."""
    reused = [server.create_run() for _ in range(7)]
    subscription = connect(server).subscribe_to_batch(server.batch(reused=reused))
    for run_id in reversed(reused):
        server.complete_run(run_id)
    assert len(subscription.wait_for_completion(20)) == 7
