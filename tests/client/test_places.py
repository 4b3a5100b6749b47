"""More subscriptions than the plan allows live polls (docs/protocol.md, section 5)."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import pytest

from tests.support.raw import reply
from tests.support.shape import answer, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import State
from trigger_realtime_sync._feeds import unplaced
from trigger_realtime_sync._http import rations
from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let those without a place ask twenty times as often."""
    monkeypatch.setattr(unplaced, "LEAST_PAUSE", 0.1)
    monkeypatch.setattr(unplaced, "MOST_PAUSE", 0.2)
    monkeypatch.setattr(rations, "REFUSED_PER_SECOND", 1000.0)


@pytest.fixture(params=["native", "electric"])
def crowded(request: pytest.FixtureRequest) -> Any:
    """A server of either backend that holds two polls at a time."""
    with RealtimeServer(request.param, live_polls=2) as server:
        yield server


def follow(server: RealtimeServer, client: Any, count: int) -> tuple[list[str], list[Any], Any]:
    """Return that many runs, their subscriptions, and what these recorded."""
    runs = [server.create_run() for _ in range(count)]
    recorders = [Recorder() for _ in runs]
    subscriptions = [
        client.subscribe_to_run(run_id, **recorder.options)
        for run_id, recorder in zip(runs, recorders, strict=True)
    ]
    for recorder in recorders:
        recorder.wait("update")
    server.wait_until_held(2)
    # Each has tried for a place.
    eventually(lambda: {one.segments[-1] for one in server.requests if one.live} >= set(runs))
    return runs, subscriptions, recorders


def test_each_change_is_told_though_few_have_a_place(crowded, connect, no_looks, short_pauses):
    """By requests that are not live, which are never limited."""
    client = connect(crowded)
    runs, subscriptions, recorders = follow(crowded, client, 6)
    eventually(lambda: {one.state for one in subscriptions} == {State.LIVE})
    for run_id in runs:
        crowded.update_run(run_id, status="EXECUTING")
    for recorder in recorders:
        recorder.wait("update", 2)
    assert {one.state for one in subscriptions} == {State.LIVE}
    for run_id in runs:
        crowded.complete_run(run_id)
    for recorder in recorders:
        recorder.wait("complete")
        assert recorder.statuses == ["QUEUED", "EXECUTING", "COMPLETED"]
        assert recorder.errors == []


@pytest.mark.parametrize("kind", ["tag", "batch"])
def test_many_runs_without_a_place(crowded, connect, no_looks, short_pauses, kind):
    """A snapshot each time on native, what is new on Electric: both are told."""
    client = connect(crowded)
    follow(crowded, client, 2)
    late = crowded.create_run(tags=["t"])
    crowded.batch(late, id="batch_1")
    recorder = Recorder()
    if kind == "tag":
        client.subscribe_to_runs_with_tag("t", **recorder.options)
    else:
        client.subscribe_to_batch("batch_1", **recorder.options)
    recorder.wait("update")
    crowded.update_run(late, status="EXECUTING")
    recorder.wait("update", 2)
    crowded.complete_run(late)
    recorder.wait("complete")
    assert recorder.statuses == ["QUEUED", "EXECUTING", "COMPLETED"]


def test_how_often_they_ask(crowded, connect, no_looks, monkeypatch):
    """Between the shortest and the longest pause, and every tenth time for a place."""
    monkeypatch.setattr(unplaced, "LEAST_PAUSE", 0.1)
    monkeypatch.setattr(unplaced, "MOST_PAUSE", 0.15)
    client = connect(crowded)
    follow(crowded, client, 2)
    refused = crowded.create_run()
    client.subscribe_to_run(refused)

    def asked() -> list[Any]:
        return [one for one in crowded.requests if refused in one.path]

    eventually(lambda: len(asked()) >= 24)
    first = next(at for at, one in enumerate(asked()) if one.live)
    after = asked()[first : first + 21]
    assert [at for at, one in enumerate(after) if one.live] == [0, 10, 20]
    times = [one.at for one in after]
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.1
    # The place of each request is asked for from no cache.
    busters = [one.query.get("cache-buster") for one in after if not one.live]
    assert None not in busters
    assert len(set(busters)) == len(busters)


def test_slow_answers_are_asked_for_less_often(crowded, connect, no_looks, short_pauses):
    """Ten times as long as the last one took."""
    client = connect(crowded)
    follow(crowded, client, 2)
    slow = crowded.create_run()
    crowded.fail_next(match=lambda one: slow in one.path, live=False, delay=0.1, times=1000)
    client.subscribe_to_run(slow)

    def asked() -> list[Any]:
        requests = [one for one in crowded.requests if slow in one.path]
        first = next((at for at, one in enumerate(requests) if one.live), len(requests))
        return requests[first:]

    eventually(lambda: len(asked()) >= 4)
    times = [one.at for one in asked()]
    # The last answer before the refusal took as long.
    assert min(times[2] - times[1], times[3] - times[2]) >= 1.0


def test_a_client_shares_its_turns(crowded, connect, no_looks, short_pauses, monkeypatch):
    """All that were refused together ask no oftener than the ration, in turn."""
    monkeypatch.setattr(rations, "REFUSED_PER_SECOND", 10.0)
    client = connect(crowded)
    runs, _, _ = follow(crowded, client, 8)
    crowded.clear_requests()
    requests = crowded.wait_for_requests(13, match="run", timeout=10)[:13]
    assert requests[-1].at - requests[0].at >= 12 / 10 * 0.8
    eventually(lambda: len({one.path for one in crowded.requests}) >= len(runs) - 2)


def test_a_place_that_becomes_free_is_taken(crowded, connect, no_looks, short_pauses):
    """Within ten requests; the poll is held then."""
    client = connect(crowded)
    runs, subscriptions, recorders = follow(crowded, client, 3)
    crowded.live_polls = 3
    crowded.wait_until_held(3)
    crowded.clear_requests()
    for run_id in runs:
        crowded.update_run(run_id, status="EXECUTING")
    for recorder in recorders:
        recorder.wait("update", 2)
    crowded.wait_until_held(3)
    assert all(one.live for one in crowded.requests)
    assert {one.state for one in subscriptions} == {State.LIVE}


def test_it_is_said_once(crowded, connect, no_looks, short_pauses, caplog):
    """One warning for the client, one line when all have a place again."""
    caplog.set_level(logging.INFO, "trigger_realtime_sync")
    client = connect(crowded)
    runs, _, _ = follow(crowded, client, 5)
    crowded.live_polls = None
    crowded.wait_until_held(5)
    # That a poll has a place is known when it is answered.
    for run_id in runs:
        crowded.update_run(run_id, status="EXECUTING")
    eventually(lambda: any("held poll" in one.getMessage() for one in caplog.records))
    records = caplog.records
    warnings = [one for one in records if one.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert len([one for one in records if "held poll any more" in one.getMessage()]) == 1


def test_retry_after_is_obeyed(raw, connect, no_looks, short_pauses):
    """No realtime route sends it; a proxy may."""
    server = raw(answer(row()), reply(429, {"Retry-After": "1"}), answer(row(version=1)))
    recorder = Recorder()
    connect(server).subscribe_to_run("run_1", **recorder.options)
    recorder.wait("update")
    eventually(lambda: len(server.exchanges) >= 2)
    recorder.wait("update", 2)
    assert recorder.times[1] - recorder.times[0] >= 1
    assert [one.live for one in server.exchanges][:3] == [False, True, False]


def test_cancelling_while_it_waits_for_its_turn(crowded, connect, no_looks):
    """At once, and its turn is not missed by the others."""
    client = connect(crowded)
    _, subscriptions, _ = follow(crowded, client, 4)
    for subscription in subscriptions:
        subscription.cancel()
    eventually(lambda: crowded.held_polls == 0, seconds=2)


def test_failures_without_a_place_are_failures(crowded, connect, no_looks, short_pauses):
    """They are retried, and shown in `.state`; then it is LIVE again."""
    client = connect(crowded)
    follow(crowded, client, 2)
    refused = crowded.create_run()
    recorder = Recorder()
    subscription = client.subscribe_to_run(refused, **recorder.options)
    crowded.wait_for_requests(1, match=lambda one: refused in one.path and one.live)
    crowded.fail_next(match=lambda one: refused in one.path, live=False, status=500, times=3)
    crowded.complete_run(refused)
    recorder.wait("complete")
    assert recorder.errors == []
    assert subscription.error is None


def test_a_try_that_is_refused_delays_no_news(crowded, connect, no_looks, monkeypatch):
    """It brought none: the request after it comes as soon as any may, so that news is never later
    than by two pauses."""
    drawn: list[tuple[float, float]] = []

    def uniform(least: float, most: float) -> float:
        drawn.append((least, most))
        return 0.01

    monkeypatch.setattr(unplaced.random, "uniform", uniform)
    monkeypatch.setattr(unplaced, "LEAST_PAUSE", 0.125)
    monkeypatch.setattr(unplaced, "MOST_PAUSE", 0.25)
    monkeypatch.setattr(unplaced, "TRY_EVERY", 3)
    # Nobody has a place, so that none is lost or won.
    crowded.live_polls = 0
    connect(crowded).subscribe_to_run(crowded.create_run())
    eventually(lambda: len([one for one in drawn if one[0] == 0.125]) >= 7)
    pauses = [one for one in drawn if one[0] == 0.125][:7]
    assert [most for _, most in pauses] == [0.25, 0.25, 0.25, 0.125, 0.25, 0.25, 0.125]
