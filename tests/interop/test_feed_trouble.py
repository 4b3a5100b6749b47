"""What servers do to the feed of runs: where both clients go on, and where theirs waits for ever.

Whatever ours measures in minutes takes seconds here. Where theirs is said to wait for ever, a poll
of its own has been held since, or it asks no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.interop.conftest import Both, Pair
from tests.support.clocks import ServerClock, shorten
from tests.support.settings import TOKEN
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

SECONDS = 10.0
# Seconds. Ours looks when a poll has ended.
HOLD = 1.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> ServerClock:
    return shorten(monkeypatch)


@pytest.fixture
def electric(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair("electric", hold=HOLD)


@pytest.fixture
def native(make_pair: Callable[..., Pair]) -> Pair:
    return make_pair("native", hold=HOLD)


def is_theirs(request: Any) -> bool:
    return request.headers["authorization"] == "Bearer tr_official"


def completes(both: Both, kind: str) -> None:
    """Wait until ours is complete."""
    expected = {} if kind == "run" else {"expected": 1}
    both.subscription.wait_for_completion(SECONDS, **expected)


def only_ours_completes(both: Both, kind: str) -> None:
    """Check that ours tells the finished run, and that theirs does not, though it asks on."""
    both.is_compared = False
    completes(both, kind)
    assert both.ours.runs[-1].is_finished
    assert not both.theirs.ended
    assert not any(run.get("finishedAt") for run in both.theirs.runs)


def spoil_next(both: Both, server: RealtimeServer, kind: str, run: str, **fault: Any) -> None:
    """Let both poll anew, so that the fault befalls what is told next."""
    server.fail_next(times=2, match=kind, live=True, **fault)
    both.states(lambda: server.update_run(run, metadata={"spoiled": "next"}))
    server.wait_until_held(2)


def subscribed(pair: Pair, kind: str, run: str) -> Both:
    """Follow the run singly or by its tag, and wait until both clients have told it."""
    both = pair.run(run) if kind == "run" else pair.tag("t")
    both.states()
    pair.server.wait_until_held(2)
    return both


@pytest.mark.parametrize("kind", ["run", "runs"])
def test_a_later_change_with_an_earlier_stamp(electric, kind):
    """The log has the order: both tell each change, and complete."""
    server = electric.server
    run = server.create_run(status="EXECUTING", tags=["t"])
    both = subscribed(electric, kind, run)
    both.states(lambda: server.update_run(run, metadata={"n": 1}, stamp_back=60))
    both.states(lambda: server.complete_run(run, output=1, stamp_back=60))
    completes(both, kind)


@pytest.mark.parametrize("kind", ["run", "runs"])
def test_a_change_that_native_withholds(native, kind):
    """On purpose: native tells no live poll of it; theirs waits for ever, ours looks."""
    run = native.server.create_run(status="EXECUTING", tags=["t"])
    both = subscribed(native, kind, run)
    native.server.complete_run(run, output=1, stamp_back=60)
    only_ours_completes(both, kind)


def test_an_answer_that_was_lost(native):
    """On purpose: native does not say again what it said to a tag's live poll; theirs waits for
    ever, ours asks once not live."""
    run = native.server.create_run(status="EXECUTING", tags=["t"])
    both = subscribed(native, "runs", run)
    spoil_next(both, native.server, "runs", run, lost=True)
    native.server.complete_run(run, output=1)
    only_ours_completes(both, "runs")
    native.server.wait_until_held(1)


@pytest.mark.parametrize("backend", ["native", "electric"])
def test_no_place_for_a_live_poll(make_pair, backend):
    """On purpose: while others hold all live polls theirs hears nothing, and ours asks not live."""
    pair = make_pair(backend)
    run = pair.server.create_run(status="EXECUTING", tags=["t"])
    pair.server.live_polls = 0
    both = pair.run(run)
    both.states()
    # Theirs is past its snapshot, and so hears of the change by a live poll or not at all.
    eventually(lambda: [one.live for one in pair.server.requests if is_theirs(one)][-1])
    pair.server.complete_run(run, output=1)
    only_ours_completes(both, "run")
    assert [one.live for one in pair.server.requests if is_theirs(one)][-1]


def test_a_crash_of_electric(electric):
    """On purpose: it says for good that a finished run executes, and theirs believes it; ours asks
    REST."""
    server = electric.server
    run = server.create_run(status="EXECUTING")
    first = subscribed(electric, "run", run)
    first.states(lambda: server.complete_run(run, output={"a": 1}))
    first.theirs.wait_for(ended=True)
    server.crash()
    both = electric.run(run)
    only_ours_completes(both, "run")
    assert both.ours.runs[-1].output == {"a": 1}
    both.theirs.wait_for(runs=1)
    assert both.theirs.runs[-1]["status"] == "EXECUTING"


@pytest.mark.parametrize("kind", ["run", "runs"])
def test_a_flush_that_leaves_a_change_out(electric, kind):
    """On purpose: theirs goes on behind it and waits for ever; ours asks again from before it."""
    run = electric.server.create_run(status="EXECUTING", tags=["t"])
    both = subscribed(electric, kind, run)
    spoil_next(both, electric.server, kind, run, leave_out=1)
    electric.server.complete_run(run, output=1)
    only_ours_completes(both, kind)
    electric.server.wait_until_held(1)


def test_409s_without_end(electric):
    """On purpose: theirs asks as fast as it can. Both go on when they end."""
    server = electric.server
    run = server.create_run(status="EXECUTING")
    refetch = [{"headers": {"control": "must-refetch"}}]
    server.fail_next(
        times=100_000, match="run", status=409, body=refetch, headers={"electric-handle": "x"}
    )
    both = electric.run(run)
    server.wait_for_requests(100, match=is_theirs, timeout=SECONDS)
    assert len([one for one in server.requests if not is_theirs(one)]) < 50
    server.clear_faults()
    both.states()


def test_a_snapshot_from_a_cache(make_pair):
    """Of a shape that is gone: both get past it to the last state."""
    pair = make_pair("electric", cache="url")
    server = pair.server
    run = server.create_run(status="EXECUTING")
    first = subscribed(pair, "run", run)
    first.is_compared = False
    server.rotate()
    server.complete_run(run, output=1)
    both = pair.run(run)
    both.is_compared = False
    both.subscription.wait_for_completion(SECONDS)
    both.theirs.wait_for(ended=True)


def test_the_row_of_another_run(pair):
    """On purpose: theirs tells whatever row comes; ours asks again."""
    server = pair.server
    run, other = server.create_run(), server.create_run()
    headers = {"authorization": f"Bearer {TOKEN}", "x-trigger-electric-version": "1.0.0-beta.1"}
    answer = requests.get(f"{server.url}/realtime/v1/runs/{other}?offset=-1", headers=headers)
    sent = {name: text for name, text in answer.headers.items() if name.startswith("electric-")}
    wrong = [*answer.json()[:1], {"headers": {"control": "up-to-date"}}]
    for whose in (True, False):
        server.fail_next(
            match=lambda request, whose=whose: is_theirs(request) == whose,
            body=wrong,
            headers=sent,
        )
    both = pair.run(run)
    both.is_compared = False
    both.ours.wait_for(runs=1)
    assert both.ours.runs[0].id == run
    both.theirs.wait_for(runs=1)
    assert both.theirs.runs[0]["id"] == other


def test_a_compressed_body_that_is_cut(pair):
    """On purpose: its framing says that it is whole. Theirs stops without a word; ours asks
    again."""
    server = pair.server
    run = server.create_run(status="EXECUTING")
    both = subscribed(pair, "run", run)
    spoil_next(both, server, "run", run, cut_body_at=60, reframed=True, after_hold=True)
    server.complete_run(run, output=1)
    only_ours_completes(both, "run")


def test_a_window_that_native_moves(native, clock):
    """On purpose: the window of a day moves with each request, and its live polls leave out what
    was created before; theirs waits for ever, ours follows such a run singly."""
    run = native.server.create_run(status="EXECUTING", tags=["t"])
    both = subscribed(native, "runs", run)
    clock.let_a_day_pass()
    eventually(lambda: any(one.path.endswith(run) for one in native.server.requests))
    native.server.complete_run(run, output=1)
    only_ours_completes(both, "runs")
    assert both.ours.errors == []


def test_a_window_that_a_rotation_moves(electric, clock):
    """Theirs sends the handle of a 409 along, for which the server knows no window; ours follows
    the run singly. Both complete."""
    server = electric.server
    run = server.create_run(status="EXECUTING", tags=["t"])
    both = subscribed(electric, "runs", run)
    both.is_compared = False
    clock.let_a_day_pass()
    server.rotate()
    eventually(lambda: any(one.path.endswith(run) for one in server.requests))
    server.complete_run(run, output=1)
    both.subscription.wait_for_completion(SECONDS, expected=1)
    eventually(lambda: both.theirs.runs[-1].get("finishedAt"))
