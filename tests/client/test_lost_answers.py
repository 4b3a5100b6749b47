"""What an answer said that never came (docs/protocol.md, section 2, items 5 and 7)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.kinds import KINDS, create, subscribe
from tests.support.raw import hangup, hold, in_turn, reply
from tests.support.shape import UP_TO_DATE, answer, done, headers, message, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import RetryPolicy, State, Timeouts
from trigger_realtime_sync.testing import RealtimeServer

LOST = {
    "reset": {"lost": True},
    "500": {"lost": True, "status": 500},
    "524": {"lost": True, "status": 524},
    "error page": {"lost": True, "html": True},
    "cut in the head": {"cut_at": 30, "after_hold": True},
    "cut in the body": {"cut_body_at": 20, "after_hold": True},
    "no offset": {"lost": True, "status": 502, "html": True},
}
UP_TO_DATE_OF_ELECTRIC = {"headers": {"control": "up-to-date", "global_last_seen_lsn": "9"}}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_state_was_in_a_lost_answer(server, connect, no_looks, kind, fault):
    """Native sends it to no live poll again. It is asked for once, not live, at the same place."""
    run_id = create(server)
    recorder = Recorder()
    subscribe(connect(server), kind, run_id, **recorder.options)
    recorder.wait("update")
    server.wait_until_held(1)
    [poll] = [one for one in server.requests if one.live]
    server.clear_requests()
    server.clear_faults()
    server.fail_next(live=True, **fault)
    # The poll that is held was begun without the fault.
    server.update_run(run_id, status="EXECUTING")
    recorder.wait("update", 2)
    server.wait_until_held(1)
    [lost] = [one for one in server.requests if one.live]
    server.clear_requests()
    server.complete_run(run_id, output="told")
    [run] = recorder.wait("complete", seconds=5)
    assert run.output == "told"
    assert recorder.statuses == ["QUEUED", "EXECUTING", "COMPLETED"]
    asked = server.wait_for_requests(1, live=False)[0]
    assert asked.query["offset"] == lost.query["offset"] != poll.query["offset"]
    assert asked.query["handle"] == lost.query["handle"]
    assert asked.query["cache-buster"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_poll_that_was_given_up_for_silence(connect, no_looks, kind):
    """`Timeouts.read` is over while the answer is on its way: it is lost as well."""
    with RealtimeServer("native") as server:
        run_id = create(server)
        recorder = Recorder()
        client = connect(server, timeouts=Timeouts(read=0.5))
        subscribe(client, kind, run_id, **recorder.options)
        recorder.wait("update")
        server.fail_next(live=True, lost=True, stall=5)
        server.wait_until_held(1)
        server.complete_run(run_id)
        recorder.wait("complete", seconds=8)


@pytest.mark.parametrize("status", [429, 503, 408])
def test_a_poll_that_was_refused_has_lost_nothing(server, connect, status):
    """It never reached the backend, so that the next request may be live (or obeys a limit)."""
    run_id = create(server)
    recorder = Recorder()
    server.fail_next(live=True, status=status)
    connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
    recorder.wait("update")
    if status == 429:
        return
    server.wait_until_held(1)
    polls = [one for one in server.requests if one.query["offset"] != "-1"]
    assert [one.live for one in polls[-2:]] == [True, True]
    server.complete_run(run_id)
    recorder.wait("complete")


@pytest.mark.parametrize(
    ("fault", "longest"),
    [(reply(500), 4.0), (hangup(b"HTTP/1.1 200 "), 4.0), (hangup(), 1.0)],
    ids=["500", "cut", "closed"],
)
def test_polls_that_always_fail_are_backed_off_from(raw, connect, waits, fault, longest):
    """The catch-ups in between succeed, which is no success of a poll."""
    asks = reply(200, headers(), [message(row()), UP_TO_DATE])
    server = raw(lambda exchange: (fault if exchange.live else asks)(exchange))
    policy = RetryPolicy(initial_delay=0.5, max_delay=30.0, multiplier=2.0)
    subscription = connect(server, retry=policy).subscribe_to_run("run_1")
    eventually(lambda: sum(one.live for one in server.exchanges) >= 14)
    subscription.cancel()
    kinds = [one.live for one in server.exchanges]
    assert kinds[:6] == [False, True, False, True, False, True]
    assert max(waits) > longest


def test_catch_ups_wait_ten_times_as_long_as_the_last_one_took(raw, connect, waits):
    """A snapshot may be dear."""
    asks = answer(row())

    def step(exchange: Any) -> None:
        if exchange.live:
            reply(500)(exchange)
            return
        time.sleep(0.2)
        asks(exchange)

    server = raw(step)
    subscription = connect(server).subscribe_to_run("run_1")
    eventually(lambda: len(server.exchanges) >= 4)
    subscription.cancel()
    assert any(1.0 < wait < 10 for wait in waits)


def test_a_success_starts_the_back_off_again(server, connect, waits):
    """After a live poll that ended well, the next failure is the first one."""
    run_id = create(server)
    recorder = Recorder()
    policy = RetryPolicy(initial_delay=0.5, max_delay=30.0, multiplier=2.0)
    connect(server, retry=policy).subscribe_to_run(run_id, **recorder.options)
    server.wait_until_held(1)
    for step in range(6):
        server.fail_next(live=True, status=500)
        server.update_run(run_id, metadata={"step": step})
        # The poll after this one fails; the next one is held.
        server.wait_for_requests(1 + 2 * (step + 1), live=True)
        server.wait_until_held(1)
        recorder.wait("update", step + 2)
    assert max(waits) <= 0.5 + 0.1


# --- Electric


def test_a_live_answer_that_left_a_change_out(connect, no_looks):
    """Its offset moved, without a row: the change is still there at the old offset."""
    with RealtimeServer("electric") as server:
        run_id = create(server)
        recorder = Recorder()
        server.fail_next(live=True, leave_out=1)
        connect(server).subscribe_to_run(run_id, **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        server.complete_run(run_id, output=7)
        [run] = recorder.wait("complete", seconds=5)
        assert run.output == 7


@pytest.mark.parametrize("kind", KINDS)
def test_a_live_answer_that_ends_within_a_transaction(connect, no_looks, kind):
    """Its last row has no `last`: the rest is asked for at the old offset."""
    with RealtimeServer("electric") as server:
        run_id = create(server)
        recorder = Recorder()
        server.fail_next(live=True, leave_out=1)
        subscribe(connect(server), kind, run_id, **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        with server.transaction():
            server.update_run(run_id, status="EXECUTING")
            server.complete_run(run_id)
        recorder.wait("complete", seconds=5)
        assert recorder.statuses[-1] == "COMPLETED"
        assert recorder.errors == []


def test_a_catch_up_that_left_a_change_out(connect, no_looks):
    """Not only live answers cross a flush."""
    with RealtimeServer("electric") as server:
        run_id = create(server)
        recorder = Recorder()
        connect(server).subscribe_to_run(run_id, **recorder.options)
        server.wait_until_held(1)
        server.update_run(run_id, status="EXECUTING")
        recorder.wait("update", 2)
        server.wait_until_held(1)
        server.fail_next(live=False, leave_out=1)
        server.fail_next(live=True, reset=True)
        server.fail_next(live=True, status=500, lost=True)
        server.drop_connections()
        server.complete_run(run_id)
        recorder.wait("complete", seconds=5)


def test_an_old_offset_is_asked_for_once(raw, connect):
    """What moves its offset without rows every time is no loss: a poll follows."""
    moved = reply(200, headers("8_0", "1"), [UP_TO_DATE_OF_ELECTRIC])
    server = raw(
        reply(200, headers("0_0"), [message(row())]),
        reply(200, headers("5_0"), [UP_TO_DATE_OF_ELECTRIC]),
        in_turn(moved, moved, hold()),
    )
    connect(server).subscribe_to_run("run_1")
    eventually(lambda: len(server.exchanges) >= 5)
    asked = [(one.query["offset"], one.live) for one in server.exchanges]
    assert asked == [("-1", False), ("0_0", False), ("0_0", False), ("8_0", True), ("8_0", True)]


def test_the_end_of_a_snapshot_is_no_loss(connect):
    """A sound Electric moves from `0_0` to `0_inf`: nothing is asked for twice."""
    with RealtimeServer("electric") as server:
        recorder = Recorder()
        connect(server).subscribe_to_run(create(server), **recorder.options)
        server.wait_until_held(1)
        assert [one.query["offset"] for one in server.requests] == ["-1", "0_0", "0_inf"]


def test_while_catching_up_it_is_live(raw, connect):
    """What was lost is asked for at once, and told, though polls go on failing."""
    server = raw(answer(row()), hangup(), answer(done()))
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run("run_1", **recorder.options)
    recorder.wait("complete")
    eventually(lambda: subscription.state is State.COMPLETED)
    assert [one.live for one in server.exchanges] == [False, True, False]
