"""No feed of Electric is the last word over a run that REST calls finished (docs/protocol.md,
section 2, item 7)."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest

from tests.support.raw import Exchange, RawServer, Step, by_path, hold, in_turn, reply
from tests.support.shape import UP_TO_DATE, done, headers, message, row
from tests.support.waiting import Recorder, eventually, threads_named
from trigger_realtime_sync import RunStatus, State
from trigger_realtime_sync._feeds import second_opinion, stray_runs
from trigger_realtime_sync._http import rations
from trigger_realtime_sync.testing import RealtimeServer

END = {"headers": {"control": "up-to-date", "global_last_seen_lsn": "9"}}
SNAPSHOT_END = {"headers": {"control": "snapshot-end", "xmin": "1", "xmax": "2", "xip_list": []}}
REST = {"id": "run_1", "status": "COMPLETED", "finishedAt": "2026-11-23T08:00:00.000Z",
        "updatedAt": "2026-11-23T08:00:00.000Z", "output": {"from": "REST"}}  # fmt: skip
OUT_OF_BOUNDS = {
    "message": "Invalid request",
    "errors": {"offset": ["out of bounds for this shape"]},
}


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run be silent after fractions of a second."""
    monkeypatch.setattr(second_opinion, "LEAST_SILENCE", 0.2)
    monkeypatch.setattr(second_opinion, "MOST_SILENCE", 0.3)
    monkeypatch.setattr(second_opinion, "SILENT_RUN_SECONDS", 0.3)
    monkeypatch.setattr(rations, "OPINIONS_PER_SECOND", 100.0)
    monkeypatch.setattr(rations, "SILENT_RUNS_PER_SECOND", 50.0)


def opinions(server: Any) -> list[Any]:
    """Return the requests for runs by REST so far."""
    if isinstance(server, RawServer):
        return [one for one in server.exchanges if "/api/v3/runs/" in one.path]
    return [one for one in server.requests if "/api/v3/runs/" in one.path]


def polls(server: RealtimeServer) -> list[Any]:
    """Return the live polls for single runs so far."""
    return [one for one in server.requests if one.live and one.kind == "run"]


def electric(**options: Any) -> RealtimeServer:
    return RealtimeServer("electric", hold=0.15, **options)


# --- what a crash of 1.2.4 leaves


@pytest.mark.parametrize("fresh", [False, True], ids=["followed", "new subscription"])
def test_a_run_that_finished_before_a_crash(connect, no_looks, fresh):
    """At once, after the 400 or the `up-to-date` that did not move, and as the feed types it."""
    with RealtimeServer("electric") as server:
        run_id = server.create_run()
        recorder = Recorder()
        subscription = connect(server).subscribe_to_run(run_id, id="x", **recorder.options)
        server.wait_until_held(1)
        if fresh:
            subscription.cancel()
        output = ('{"json":{"at":"2026-11-23T08:00:00.000Z"},"meta":{"values":{"at":["Date"]}}}',)
        with server.hold_replication():
            server.complete_run(run_id, output=(*output, "application/super+json"))
            # What replication brings is lost by the crash, and only in shapes that are new.
            server.release_replication()
            server.crash()
        if fresh:
            subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
        run = subscription.wait_for_completion(10)
        assert run.status is RunStatus.COMPLETED
        assert run.output["at"].year == 2026
        assert recorder.statuses[-1] == "COMPLETED"
        assert recorder.errors == []


@pytest.mark.parametrize("kind", ["run", "tag"])
def test_what_rest_told_is_not_told_again(connect, no_looks, silence, kind):
    """The feed brings the same state when replication has caught up."""
    with electric() as server:
        run_id = server.create_run(tags=["t"], metadata={"n": 1, "é": [1.5, None]})
        recorder, client = Recorder(), connect(server)
        if kind == "run":
            client.subscribe_to_run(run_id, stop_on_completion=False, **recorder.options)
        else:
            client.subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update")
        with server.hold_replication():
            server.complete_run(run_id, output={"é": "\u2028"}, metadata={"n": 2})
            recorder.wait("complete")
            server.clear_requests()
        # The answer with what was held has been read.
        server.wait_for_requests(2, live=True)
        server.update_run(run_id, metadata={"n": 3})
        assert [run.metadata["n"] for run in recorder.wait("update", 3)] == [1, 2, 3]


def test_rest_leaves_what_it_does_not_know_as_it_was(raw, connect, no_looks, silence):
    """After a 400 the feed has no row, and no other shape says that the run has finished."""
    queued = "2026-11-23T05:00:00.000"
    first = message(row(id="run_1", queuedAt=queued, runTags="{a}", payload='{"n":1}'))
    restart, no_shape = reply(400, {}, OUT_OF_BOUNDS), reply(404, {}, {})
    feed = in_turn(reply(200, headers(), [first, END]), restart, no_shape, hold())
    told = Recorder()
    connect(raw(by_path({"/api/v3/runs/": reply(200, {}, REST)}, feed))).subscribe_to_run(
        "run_1", **told.options
    )
    last = told.wait("update", 2)[-1]
    assert (last.status, last.output) == ("COMPLETED", {"from": "REST"})
    assert (last.payload, last.queued_at.hour, last.tags) == ({"n": 1}, 5, ["a"])


def test_rest_is_left_alone_as_long_as_it_asks(connect, no_looks, silence):
    """A `Retry-After` of its own counts for every second opinion of the client."""
    with electric() as server:
        server.create_run(id="run_1")
        server.fail_next(match="api", status=503, headers={"retry-after": "1.5"})
        connect(server).subscribe_to_run("run_1")
        first, second = server.wait_for_requests(2, match="api", timeout=10)[:2]
        assert second.at - first.at >= 1.5


def test_no_unfinished_row_is_told_afterwards(connect, no_looks):
    """Though the feed goes on saying so, through rotations too."""
    with electric() as server:
        run_id = server.create_run()
        recorder = Recorder()
        client = connect(server)
        client.subscribe_to_run(run_id, stop_on_completion=False, **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        server.complete_run(run_id)
        recorder.wait("complete")
        server.crash()
        server.wait_for_requests(4, live=True)
        server.clear_requests()
        server.wait_for_requests(4, live=True)
        assert recorder.statuses == ["QUEUED", "COMPLETED"]
        # A run that has finished needs no opinion.
        assert not opinions(server)


# --- silence


def test_a_silent_run_is_asked_for_and_told(connect, no_looks, silence):
    """Replication is behind: the feed is up to date, and knows nothing."""
    with electric() as server:
        run_id = server.create_run()
        recorder = Recorder()
        subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        with server.hold_replication():
            server.complete_run(run_id, output={"n": 1})
            run = subscription.wait_for_completion(10)
            # No shape shows it: REST's answer is told.
            assert run.output == {"n": 1}
            assert run.finished_at is not None
            assert recorder.statuses == ["QUEUED", "COMPLETED"]
        shapes = [one.query.get("replica") for one in server.requests if one.kind == "run"]
        assert "full" in shapes


@pytest.mark.parametrize("kind", ["tag", "batch"])
def test_silent_runs_of_many_are_asked_for(connect, no_looks, silence, kind):
    """The longest silent one first, each in its turn."""
    with electric() as server:
        runs = [server.create_run(tags=["t"]) for _ in range(3)]
        server.batch(*runs, id="batch_1")
        recorder, client = Recorder(), connect(server)
        if kind == "tag":
            subscription = client.subscribe_to_runs_with_tag("t", **recorder.options)
        else:
            subscription = client.subscribe_to_batch("batch_1", **recorder.options)
        recorder.wait("update", 3)
        with server.hold_replication():
            for run_id in runs:
                server.complete_run(run_id)
            recorder.wait("complete", 3)
        assert all(run.is_finished for run in subscription.runs)
        # Each is asked for until it has finished, and no more then.
        before = len(opinions(server))
        server.clear_requests()
        if kind == "tag":
            server.wait_for_requests(8, live=True)
            assert not opinions(server)
        assert before >= 3


def test_one_that_is_followed_in_turn_is_asked_for_too(connect, silence, monkeypatch):
    """It has no live poll after which it might be."""
    monkeypatch.setattr(stray_runs, "TURN_SECONDS", 0.02)
    monkeypatch.setattr(stray_runs, "RUN_SECONDS", 0.05)
    with electric() as server:
        reused = [server.create_run() for _ in range(6)]
        own = server.create_run()
        server.complete_run(own)
        recorder = Recorder()
        batch_id = server.batch(own, reused=reused)
        connect(server).subscribe_to_batch(batch_id, **recorder.options)
        recorder.wait("update", 7)
        # Four are followed by live polls, and stay so: they do not finish.
        eventually(lambda: len({one.path for one in polls(server)}) == 4)
        live = {one.segments[-1] for one in polls(server)}
        in_turn = [run_id for run_id in reused if run_id not in live]
        with server.hold_replication():
            for run_id in in_turn:
                server.complete_run(run_id)
            recorder.wait("complete", 3)
        assert {run.id for run in recorder.completes} == {own, *in_turn}


@pytest.mark.parametrize("target", ["run", "tag"])
def test_native_is_never_doubted(connect, no_looks, silence, target):
    """It reads the database itself."""
    with RealtimeServer("native", hold=0.15) as server:
        run_id = server.create_run(tags=["t"])
        client = connect(server)
        if target == "run":
            client.subscribe_to_run(run_id)
        else:
            client.subscribe_to_runs_with_tag("t")
        server.wait_for_requests(8, live=True)
        assert not opinions(server)


def test_an_unfinished_run_is_asked_for_at_doubling_times(connect, no_looks, silence):
    """Nothing is told of what REST says of it."""
    with electric() as server:
        run_id = server.create_run()
        recorder = Recorder()
        connect(server).subscribe_to_run(run_id, **recorder.options)
        eventually(lambda: len(opinions(server)) >= 3)
        first, second, third = (one.at for one in opinions(server)[:3])
        assert second - first >= 0.2
        assert third - second >= 2 * 0.2
        assert recorder.statuses == ["QUEUED"]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_ends_the_asking(connect, no_looks, silence, status):
    """The token may not cover it. The subscription goes on."""
    with electric() as server:
        run_id = server.create_run()
        recorder = Recorder()
        subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
        server.fail_next(match="api", status=status, times=1000)
        eventually(lambda: opinions(server))
        server.clear_requests()
        server.wait_for_requests(6, live=True)
        assert not opinions(server)
        assert subscription.state is State.LIVE
        server.complete_run(run_id)
        recorder.wait("complete")
        assert recorder.errors == []


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"html": True}, {"reset": True}, {"cut_body_at": 5}, {"body": [1]},
     {"body": {"id": "run_other", "status": "COMPLETED"}},
     {"body": {"status": "COMPLETED", "createdAt": "never"}}],
)  # fmt: skip
def test_a_bad_answer_of_rest_is_no_obstacle(connect, no_looks, silence, fault):
    """It is asked again later."""
    with electric() as server:
        run_id = server.create_run()
        recorder = Recorder()
        subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
        server.wait_until_held(1)
        server.fail_next(match="api", **fault)
        with server.hold_replication():
            server.complete_run(run_id)
            assert subscription.wait_for_completion(10).is_success
        assert len(opinions(server)) >= 2
        assert recorder.errors == []


def test_all_opinions_rest_after_a_429_of_the_api(connect, no_looks, silence):
    """They share the environment's limit with its triggers."""
    with electric() as server:
        run_id, other = server.create_run(), server.create_run()
        client = connect(server)
        server.fail_next(match="api", status=429)
        client.subscribe_to_run(run_id)
        eventually(lambda: opinions(server))
        client.subscribe_to_run(other)
        server.clear_requests()
        server.wait_for_requests(10, live=True)
        assert not opinions(server)


def test_opinions_of_a_client_are_rationed(connect, no_looks, silence, monkeypatch):
    """`At once` included: many runs after a crash ask one after the other."""
    monkeypatch.setattr(rations, "OPINIONS_PER_SECOND", 5.0)
    with electric() as server:
        client = connect(server)
        for _ in range(10):
            client.subscribe_to_run(server.create_run())
        server.wait_for_requests(10, live=True)
        server.clear_requests()
        server.crash()
        eventually(lambda: len(opinions(server)) >= 4)
        times = [one.at for one in opinions(server)]
        # One may be delayed on its way, the next one not.
        assert times[-1] - times[0] >= 0.2 * (len(times) - 2)


# --- scripted: what the shapes say


def script(rest: Step, full: Step, live: Step) -> Step:
    """An Electric whose main shape has one unfinished row, and moves to `0_inf`."""
    first = reply(200, headers("0_0"), [message(row()), SNAPSHOT_END])
    second = reply(200, headers("0_inf"), [END])

    def step(exchange: Exchange) -> None:
        if exchange.query.get("replica") == "full":
            full(exchange)
        elif exchange.live:
            live(exchange)
        else:
            (first if exchange.query["offset"] == "-1" else second)(exchange)

    return by_path({"/api/v3/": rest}, step)


def held_briefly(exchange: Exchange) -> None:
    time.sleep(0.12)
    exchange.answer(200, headers("0_inf", "1"), [END])


NOTHING_MORE = {
    "404": reply(404),
    "unfinished": in_turn(
        reply(200, headers("0_0"), [message(row()), SNAPSHOT_END]),
        reply(200, headers("0_0"), [END]),
    ),
    "never up to date": reply(200, headers("0_0"), []),
    "409": reply(409, {}, [{"headers": {"control": "must-refetch"}}]),
    "silent": hold(),
}


@pytest.mark.parametrize("full", NOTHING_MORE.values(), ids=NOTHING_MORE.keys())
def test_what_rest_says_is_told_where_no_shape_does(
    raw, connect, no_looks, silence, monkeypatch, full
):
    """However the other shape fails, within a bounded time."""
    monkeypatch.setattr("trigger_realtime_sync._channel.feeds.PATIENCE", 0.5)
    server = raw(script(reply(200, {}, REST), full, held_briefly))
    run = connect(server).wait_for_completion("run_1", timeout=10)
    assert run.output == {"from": "REST"}
    assert run.task_identifier == "my-task"


def test_the_other_shape_goes_before_rest(raw, connect, no_looks, silence):
    """Its values have their types."""
    full = reply(200, headers("0_inf"), [message(done(output={"from": "shape"})), END])
    server = raw(script(reply(200, {}, REST), full, held_briefly))
    assert connect(server).wait_for_completion("run_1", timeout=10).output == {"from": "shape"}


def test_the_other_shape_may_end_within_a_transaction(raw, connect, no_looks, silence):
    """What it said before the old offset was asked for again counts."""
    finished = message(done(output={"from": "shape"}))
    finished["headers"]["lsn"] = "5"
    full = in_turn(
        reply(200, headers("0_0"), [SNAPSHOT_END]), reply(200, headers("5_0"), [finished, END])
    )
    server = raw(script(reply(200, {}, REST), full, held_briefly))
    assert connect(server).wait_for_completion("run_1", timeout=10).output == {"from": "shape"}


def test_a_run_without_a_row(raw, connect, no_looks, silence):
    """The feed never told it: REST does."""
    empty = reply(200, headers("0_inf"), [END])
    step = by_path(
        {"/api/v3/": reply(200, {}, REST)},
        lambda exchange: (held_briefly if exchange.live else empty)(exchange),
    )
    run = connect(raw(step)).wait_for_completion("run_1", timeout=10)
    assert run.output == {"from": "REST"}


def test_a_400_asks_at_once(raw, connect, no_looks):
    """Long before the run counts as silent."""
    refuse = reply(400, {}, OUT_OF_BOUNDS)
    server = raw(script(reply(200, {}, REST), reply(404), refuse))
    assert connect(server).wait_for_completion("run_1", timeout=5).output == {"from": "REST"}


def test_an_up_to_date_that_does_not_move_asks_at_once(raw, connect, no_looks):
    """A sound Electric moves from the snapshot's end to `0_inf`."""
    crashed = by_path(
        {"/api/v3/": reply(200, {}, REST)},
        in_turn(
            reply(200, headers("0_0"), [message(row()), SNAPSHOT_END]),
            reply(200, headers("0_0"), [END]),
            reply(404),
            hold(),
        ),
    )
    assert connect(raw(crashed)).wait_for_completion("run_1", timeout=5).is_success


def test_a_sound_snapshot_does_not_ask(connect, no_looks):
    """Nor one of several parts, nor an empty first answer."""
    with RealtimeServer("electric", first_answer_empty=True, snapshot_chunk_rows=1) as server:
        for _ in range(3):
            server.create_run(tags=["t"])
        client = connect(server)
        client.subscribe_to_run(server.create_run())
        client.subscribe_to_runs_with_tag("t")
        server.wait_until_held(2)
        assert not opinions(server)


def test_skipped_columns_stay_skipped(raw, connect, no_looks, silence):
    """In the other shape, and in what REST says."""
    server = raw(script(reply(200, {}, REST), reply(404), held_briefly))
    client = connect(server)
    run = client.wait_for_completion("run_1", timeout=10, skip_columns=["output"])
    assert run.output is None
    shapes = [one.query for one in server.exchanges if "/realtime/" in one.path]
    assert {query["skipColumns"] for query in shapes} == {"output"}


def test_cancelling_ends_an_opinion(raw, connect, no_looks, silence):
    """At once, while REST does not answer."""
    server = raw(script(hold(), reply(404), held_briefly))
    subscription = connect(server).subscribe_to_run("run_1")
    eventually(lambda: opinions(server))
    subscription.cancel()
    eventually(lambda: not threads_named("run-feed"), seconds=2)


def test_cancelling_ends_several_opinions(connect, no_looks, silence):
    """Each thread has its own request to be cut off."""
    with electric() as server:
        reused = [server.create_run() for _ in range(4)]
        own = server.create_run()
        server.complete_run(own)
        server.fail_next(match=lambda one: "/api/v3/" in one.path, stall=20, times=100)
        batch_id = server.batch(own, reused=reused)
        subscription = connect(server).subscribe_to_batch(batch_id)
        eventually(lambda: len(opinions(server)) == 4)
        subscription.cancel()
        eventually(lambda: not threads_named("stray-"), seconds=2)


def test_it_is_logged_once(raw, connect, no_looks, silence, caplog):
    """A warning says that the feed was wrong."""
    caplog.set_level(logging.WARNING)
    server = raw(script(reply(200, {}, REST), reply(404), held_briefly))
    recorder = Recorder()
    connect(server).subscribe_to_run("run_1", stop_on_completion=False, **recorder.options)
    recorder.wait("complete")
    before = len(server.exchanges)
    eventually(lambda: len(server.exchanges) > before + 6)
    assert len([one for one in caplog.records if "has finished" in one.message]) == 1
    assert len(opinions(server)) == 1
    assert recorder.statuses[-1] == "COMPLETED"
    assert UP_TO_DATE not in recorder.events
