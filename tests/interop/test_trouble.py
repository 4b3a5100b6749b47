"""Rotations, restarts, errors and cut answers, and the states that both clients deliver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trigger_realtime_sync import AuthenticationError, NotFoundError


@pytest.fixture
def electric(make_pair: Callable[..., Any]) -> Any:
    return make_pair("electric")


REEMITS = "theirs tells every run again after a 409; ours only what changed"


@pytest.mark.parametrize(
    ("keep_handle", "send_handle"), [(False, True), (True, True), (True, False)]
)
def test_a_rotated_shape(electric, keep_handle, send_handle):
    """On purpose: after a 409 theirs repeats the run as it was. Both then tell the change."""
    server = electric.server
    run = server.create_run(status="EXECUTING")
    both = electric.run(run)
    both.states()
    server.wait_until_held(2)
    both.states(
        lambda: server.rotate(keep_handle=keep_handle, send_handle=send_handle),
        theirs=1,
        ours=0,
        why=REEMITS,
    )
    both.states(lambda: server.update_run(run, metadata={"a": 1}))


def test_a_409_that_names_no_handle(electric):
    """On purpose: theirs makes up a handle, gets a 409 for it, and so on without a pause."""
    server = electric.server
    run = server.create_run(status="EXECUTING")
    both = electric.run(run)
    both.is_compared = False
    both.states()
    server.wait_until_held(2)
    server.rotate(send_handle=False)
    made_up = server.wait_for_requests(
        10, match=lambda request: request.query.get("handle", "").endswith("-next"), timeout=10
    )
    both.theirs.stop()
    assert {request.headers["authorization"] for request in made_up} == {"Bearer tr_official"}
    server.update_run(run, metadata={"a": 1})
    both.ours.wait_for(runs=2)
    assert both.ours.runs[1].metadata == {"a": 1}


def test_a_rotated_shape_of_many_runs(electric):
    """After a rotation of a tag, only the run that changed meanwhile is delivered."""
    server = electric.server
    runs = [server.create_run(tags=["t"]) for _ in range(5)]
    both = electric.tag("t")
    both.states(count=5)
    server.wait_until_held(2)

    def rotate() -> None:
        server.rotate()
        server.update_run(runs[4], metadata={"changed": True})

    both.states(rotate, theirs=5, ours=1, why=REEMITS)


def test_a_deleted_run(electric):
    """Neither delivers a run that is gone; ours removes it from `.runs`."""
    server = electric.server
    runs = [server.create_run(tags=["t"]) for _ in range(2)]
    both = electric.tag("t")
    both.states(count=2)
    server.delete_run(runs[0])
    both.states(lambda: server.update_run(runs[1], metadata={"a": 1}))
    assert [run.id for run in both.subscription.runs] == [runs[1]]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "headers": {"retry-after": "0"}},
        {"status": 500, "html": True},
        {"status": 524},
        {"reset": True},
        {"cut_at": 0},
        {"status": 429, "live": False},
    ],
    ids=["503", "500", "524", "reset", "nothing", "429"],
)
def test_a_request_that_fails(pair, fault):
    """Both ask again, and no state is lost or delivered twice."""
    server = pair.server
    run = server.create_run(status="EXECUTING")
    server.fail_next(times=2, match="run", **fault)
    both = pair.run(run)
    both.states()
    both.states(lambda: server.complete_run(run, output=1))
    both.theirs.wait_for(ended=True)


def test_connections_that_break(pair):
    """A proxy that cuts every connection, again and again."""
    server = pair.server
    run = server.create_run(status="EXECUTING")
    both = pair.run(run)
    both.states()
    for n in range(2):
        server.wait_until_held(2)
        server.drop_connections(reset=bool(n))
        both.states(lambda n=n: server.update_run(run, metadata={"n": n}))


def test_a_body_that_is_cut(pair):
    """On purpose: a cut body ends theirs without a word; ours asks again."""
    run = pair.server.create_run(status="EXECUTING")
    both = pair.run(run)
    both.is_compared = False
    both.states()
    pair.server.wait_until_held(2)
    pair.server.fail_next(times=2, match="run", live=True, cut_body_at=20, after_hold=True)
    pair.server.update_run(run, metadata={"n": 0})
    pair.server.complete_run(run)
    both.subscription.wait_for_completion(5)
    assert both.ours.runs[-1].is_finished
    assert len(both.theirs.runs) <= 2


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (404, NotFoundError)])
def test_an_error_that_is_final(pair, status, error):
    """On purpose: theirs waits for ever, without an exception; ours raises at once."""
    run = pair.server.create_run()
    pair.server.fail_next(status=status, match="run", times=2)
    both = pair.run(run)
    both.is_compared = False
    with pytest.raises(error):
        both.subscription.wait_for_completion(5)
    pair.server.wait_for_requests(2, match="run")
    run = pair.server.create_run()
    later = pair.run(run)
    later.states()
    assert both.theirs.runs == []
    assert not both.theirs.ended
    assert both.theirs.error is None


def test_answers_without_anything_new(make_pair):
    """Polls that end without news, as `up-to-date` alone, tell nothing."""
    pair = make_pair("electric", hold=0.1)
    run = pair.server.create_run(status="EXECUTING")
    both = pair.run(run)
    both.states()
    pair.server.wait_for_requests(10, match="run", live=True)
    both.states(lambda: pair.server.complete_run(run))
