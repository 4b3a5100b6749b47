"""Servers and caches that never bring a feed up to date, or never hold a poll (docs/protocol.md,
section 2, "Restarts" and "Caches")."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.raw import Exchange, by_poll, hangup, hold, in_turn, reply
from tests.support.shape import UP_TO_DATE, answer, done, headers, message, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import ProtocolError, RetryPolicy, ShapeStale, State
from trigger_realtime_sync._feeds import run_feed
from trigger_realtime_sync._http import retry
from trigger_realtime_sync.testing import RealtimeServer

POLICY = RetryPolicy(initial_delay=0.5, max_delay=30.0, multiplier=2.0)
MUST_REFETCH = [{"headers": {"control": "must-refetch"}}]
OUT_OF_BOUNDS = {
    "message": "Invalid request",
    "errors": {"offset": ["out of bounds for this shape"]},
}
END = {"headers": {"control": "up-to-date", "global_last_seen_lsn": "9"}}
DELETE = {"key": message(row())["key"], "value": {"id": "x"}, "headers": {"operation": "delete"}}


@pytest.fixture
def waits(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """However busy the machine, no answer seems held."""
    monkeypatch.setattr(run_feed, "HELD_SECONDS", 60.0)
    return waits


def cached_snapshot(exchange: Exchange) -> None:
    """Answer as a cache does that has the snapshot of a shape which was rotated."""
    if exchange.query["offset"] == "-1":
        exchange.answer(200, headers("0_0"), [message(row())])
    else:
        exchange.answer(409, {"electric-handle": "h2"}, MUST_REFETCH)


def refuse_polls(exchange: Exchange) -> None:
    """Bring it up to date each time, and refuse each poll."""
    if exchange.live:
        exchange.answer(409, {}, MUST_REFETCH)
    else:
        exchange.answer(200, headers(), [message(row()), UP_TO_DATE])


def refuse_offsets(exchange: Exchange) -> None:
    """Answer as an Electric does whose offsets are out of bounds after every snapshot."""
    if exchange.live:
        exchange.answer(400, {}, OUT_OF_BOUNDS)
    else:
        exchange.answer(200, headers(), [message(row()), UP_TO_DATE])


def moving(body: Callable[[int], Any], offset: Callable[[int], str], handle: str = "h1") -> Any:
    """Answer each request at once, by its number."""
    numbers = itertools.count(1)

    def step(exchange: Exchange) -> None:
        n = next(numbers)
        named = {**headers(offset(n), "1" if exchange.live else None)}
        named["electric-handle"] = handle.format(n)
        exchange.answer(200, named, body(n))

    return step


def up_to_date(n: int) -> Any:
    return [UP_TO_DATE]


HOT = {
    "another offset": moving(up_to_date, "{}_0".format),
    "offsets that go back": moving(up_to_date, lambda n: f"{10**6 - n}_0"),
    "two offsets in turn": moving(up_to_date, lambda n: f"{n % 2}_0"),
    "another handle": moving(up_to_date, lambda n: "1_0", "h{}"),
    "the same row": moving(lambda n: [message(row()), UP_TO_DATE], "{}_0".format),
    "a row that does not decode": moving(
        lambda n: [message({**row(), "createdAt": "never"}), UP_TO_DATE], "{}_0".format
    ),
    "nothing, not up to date": moving(lambda n: [], lambda n: "1_0"),
    "nothing, not up to date, moving": moving(lambda n: [], "{}_0".format),
    "a row, not up to date": moving(lambda n: [message(row())], lambda n: "1_0"),
    "must-refetch": moving(lambda n: MUST_REFETCH, lambda n: "1_0"),
    "a part of a row": moving(
        lambda n: [message({"id": "x", "status": "EXECUTING"}, "update"), UP_TO_DATE], "{}_0".format
    ),
    "a deletion": moving(lambda n: [DELETE, UP_TO_DATE], "{}_0".format),
    "204": reply(204, headers()),
    "409": reply(409, {"electric-handle": "h2"}, MUST_REFETCH),
    "409 without a handle": reply(409, {}, MUST_REFETCH),
    "400": reply(400, {}, OUT_OF_BOUNDS),
    "409 to each poll": refuse_polls,
    "400 to each poll": refuse_offsets,
    "409 after a cached snapshot": cached_snapshot,
    "500 to each poll": by_poll(answer(row()), reply(500)),
    "a closed connection": by_poll(answer(row()), hangup()),
}


@pytest.mark.parametrize("step", HOT.values(), ids=HOT.keys())
@pytest.mark.parametrize("single", [True, False], ids=["run", "tag"])
def test_no_server_is_asked_in_a_hot_loop(raw, connect, waits, step, single):
    """Whatever it answers at once, for ever: less than two requests a second."""
    server = raw(step)
    client = connect(server, retry=POLICY)
    if single:
        subscription = client.subscribe_to_run("run_1")
    else:
        subscription = client.subscribe_to_runs_with_tag("t")
    eventually(lambda: len(server.exchanges) >= 60)
    waited, sent = sum(waits), len(server.exchanges)
    assert subscription.state in (State.LIVE, State.RETRYING, State.CONNECTING)
    subscription.cancel()
    assert waited > 0.5 * sent, (waited, sent)


def test_a_run_that_comes_and_goes(raw, connect, waits):
    """A single run begins again with each deletion, which is backed off from."""
    bodies = moving(lambda n: [message(row()) if n % 2 else DELETE, UP_TO_DATE], "{}_0".format)
    server = raw(bodies)
    connect(server, retry=POLICY).subscribe_to_run("run_1")
    eventually(lambda: len(server.exchanges) >= 60)
    assert sum(waits) > 0.5 * len(server.exchanges)


# --- stale snapshots, endless 409s


@pytest.mark.parametrize("step", [cached_snapshot, reply(409, {}, MUST_REFETCH)])
def test_who_is_never_brought_up_to_date_is_told(raw, connect, waits, monkeypatch, caplog, step):
    """After a minute of it, once an hour, not terminal; the log has one warning for it and one
    when it begins."""
    monkeypatch.setattr(retry, "STALE_SECONDS", 0.2)
    server, recorder = raw(step), Recorder()
    subscription = connect(server, retry=POLICY).subscribe_to_run("run_1", **recorder.options)
    [error] = recorder.wait("error")
    assert isinstance(error, ShapeStale)
    assert isinstance(error, ProtocolError)
    assert error.run_id == "run_1"
    assert not error.terminal
    sent = len(server.exchanges)
    eventually(lambda: len(server.exchanges) >= sent + 20)
    assert len(recorder.errors) == 1
    assert subscription.state is State.RETRYING
    assert subscription.error is None
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 2


def test_it_is_told_again(raw, connect, waits, monkeypatch):
    """After an hour."""
    monkeypatch.setattr(retry, "STALE_SECONDS", 0.1)
    monkeypatch.setattr(retry, "STALE_AGAIN_SECONDS", 0.3)
    recorder = Recorder()
    connect(raw(cached_snapshot), retry=POLICY).subscribe_to_run("run_1", **recorder.options)
    recorder.wait("error", 3)
    first, second, third = recorder.times[:3]
    assert min(second - first, third - second) > 0.25


def test_answers_that_are_never_up_to_date_are_told(raw, connect, waits, monkeypatch):
    """No restart is needed for it."""
    monkeypatch.setattr(retry, "STALE_SECONDS", 0.2)
    server, recorder = raw(reply(200, headers(), [message(row())])), Recorder()
    connect(server, retry=POLICY).subscribe_to_run("run_1", **recorder.options)
    assert isinstance(recorder.wait("error")[0], ShapeStale)


def test_a_large_snapshot_is_not_stale(raw, connect, monkeypatch):
    """Each part brings it nearer, however long all take."""
    monkeypatch.setattr(retry, "STALE_SECONDS", 0.1)

    def part(n: int) -> Any:
        def step(exchange: Exchange) -> None:
            time.sleep(0.05)
            exchange.answer(200, headers(f"0_{n}"), [message(row(f"run_{n}"))])

        return step

    server = raw(*(part(n) for n in range(6)), answer(row("run_9")), hold())
    recorder = Recorder()
    connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
    recorder.wait("update", 7)
    assert recorder.errors == []


def test_it_goes_on_when_the_cache_is_gone(raw, connect, waits, monkeypatch):
    """What was told of it does no harm."""
    monkeypatch.setattr(retry, "STALE_SECONDS", 0.1)
    sound: list[bool] = []

    def step(exchange: Exchange) -> None:
        if not sound:
            cached_snapshot(exchange)
        else:
            fresh = {**headers("5_0"), "electric-handle": "h3"}
            exchange.answer(200, fresh, [message(done()), UP_TO_DATE])

    recorder = Recorder()
    subscription = connect(raw(step), retry=POLICY).subscribe_to_run("run_1", **recorder.options)
    recorder.wait("error")
    sound.append(True)
    assert subscription.wait_for_completion(10).is_success
    assert recorder.statuses == ["COMPLETED"]


def test_a_handle_that_a_409_refused_is_a_caches(raw, connect, waits):
    """It is not taken in: no offset of it is asked for again, and no row of it is told."""
    server = raw(
        answer(row()),
        reply(409, {"electric-handle": "h2"}, MUST_REFETCH),
        # The cache's.
        reply(200, headers(), [message(row(version=5)), END]),
        hold(),
    )
    recorder = Recorder()
    connect(server, retry=POLICY).subscribe_to_run("run_1", **recorder.options)
    eventually(lambda: len(server.exchanges) >= 4)
    assert [one.query["offset"] for one in server.exchanges] == ["-1", "1_1", "-1", "-1"]
    assert all("handle" not in one.query for one in server.exchanges[2:])
    busters = [one.query["cache-buster"] for one in server.exchanges[2:]]
    assert len(set(busters)) == 2
    assert recorder.statuses == ["EXECUTING"]


def test_after_three_tries_a_cache_is_asked_rarely(raw, connect, waits):
    """With the longest pauses: it keeps a snapshot for a week."""
    server = raw(cached_snapshot)
    connect(server, retry=POLICY).subscribe_to_run("run_1")
    eventually(lambda: len(server.exchanges) >= 20)
    # One 409 refuses the handle; then each answer is the cache's.
    assert all(15 <= wait <= 30 for wait in waits[6:])


def test_a_handle_that_a_400_refused_may_come_back(raw, connect, waits):
    """Electric has lost its log, and makes it again."""
    again = reply(200, headers(), [message(row(version=2)), END])
    server = raw(answer(row()), reply(400, {}, OUT_OF_BOUNDS), again, hold())
    recorder = Recorder()
    connect(server, retry=POLICY).subscribe_to_run("run_1", **recorder.options)
    recorder.wait("update", 2)


# --- restarts


def test_the_first_restart_is_at_once(raw, connect, waits):
    """Shapes rotate now and then."""
    fresh = reply(200, {**headers(), "electric-handle": "h2"}, [message(row()), UP_TO_DATE])
    server = raw(answer(row()), reply(409, {}, MUST_REFETCH), fresh, hold())
    subscription = connect(server, retry=POLICY).subscribe_to_run("run_1")
    eventually(lambda: len(server.exchanges) >= 4)
    assert waits == []
    assert subscription.state is State.LIVE


@pytest.mark.parametrize("step", [refuse_polls, refuse_offsets])
def test_restarts_back_off_whatever_came_in_between(raw, connect, waits, step):
    """An `up-to-date` is no success: the pauses grow from the least one."""
    numbers = itertools.count()

    def fresh(exchange: Exchange) -> None:
        if exchange.live:
            step(exchange)
            return
        named = {**headers(), "electric-handle": f"h{next(numbers)}"}
        exchange.answer(200, named, [message(row()), UP_TO_DATE])

    server, recorder = raw(fresh), Recorder()
    connect(server, retry=POLICY).subscribe_to_run("run_1", **recorder.options)
    eventually(lambda: len(waits) >= 12)
    assert min(waits) >= 2
    assert max(waits) > 4
    assert recorder.statuses == ["EXECUTING"]
    assert recorder.errors == []


def test_a_restart_a_minute_later_is_the_first_again(connect, waits, monkeypatch):
    """Rotations every hour are normal."""
    monkeypatch.setattr(retry, "RESTART_SECONDS", 0.0)
    with RealtimeServer("electric") as server:
        recorder = Recorder()
        connect(server, retry=POLICY).subscribe_to_run(server.create_run(), **recorder.options)
        for _ in range(4):
            server.wait_until_held(1)
            server.clear_requests()
            server.rotate()
            server.wait_for_requests(3)
        assert waits == []
        assert recorder.statuses == ["QUEUED"]


@pytest.mark.parametrize("most", [30.0, 0.3])
@pytest.mark.parametrize(
    "failure",
    [reply(500), reply(502, {}, "<html>"), hangup(b"HTTP/1.1 200 "), reply(200, {}, "<html>")],
)
def test_a_snapshot_that_fails_is_not_asked_for_soon(raw, connect, waits, failure, most):
    """Each try may cost the server a query: two seconds, or `max_delay` if that is less."""
    server = raw(failure, failure, failure, answer(done()))
    policy = RetryPolicy(initial_delay=0.01, max_delay=most)
    connect(server, retry=policy).wait_for_completion("run_1", timeout=10)
    assert len(waits) == 3
    assert min(waits) >= min(2.0, most)


def test_a_snapshot_that_never_reached_the_server_is_asked_for_soon(connect, waits):
    """Nobody had a query of it."""
    with RealtimeServer() as server:
        url = server.url
    policy = RetryPolicy(initial_delay=0.01, max_delay=0.5)
    subscription = connect(url, retry=policy).subscribe_to_run("run_1")
    eventually(lambda: len(waits) >= 5)
    subscription.cancel()
    assert min(waits) < 0.3


def test_polls_are_not_slowed_by_the_least_pause_of_snapshots(raw, connect, waits):
    """Only `offset=-1` makes a shape."""
    server = raw(answer(row()), in_turn(reply(500), answer(row()), answer(done())))
    policy = RetryPolicy(initial_delay=0.01, max_delay=30)
    connect(server, retry=policy).wait_for_completion("run_1", timeout=10)
    assert max(waits, default=0) < 1
