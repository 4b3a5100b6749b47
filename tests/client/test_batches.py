"""Batches end when all their runs have; which they are is asked of the REST API."""

from __future__ import annotations

import time

import pytest

from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import (
    NotFoundError,
    PermissionDeniedError,
    State,
    WaitTimeout,
)


def test_waits_for_all_runs_whatever_their_status(server, client):
    """In the order in which they were created; then the subscription is complete."""
    runs = [server.create_run() for _ in range(3)]
    recorder = Recorder()
    subscription = client.subscribe_to_batch(server.batch(*runs), **recorder.options)
    server.wait_until_held(1)
    server.complete_run(runs[2])
    server.cancel_run(runs[0])
    with pytest.raises(WaitTimeout):
        subscription.wait_for_completion(0.1)
    server.fail_run(runs[1])
    done = subscription.wait_for_completion(5)
    assert [run.id for run in done] == [run.id for run in subscription.runs]
    assert {run.id for run in done} == set(runs)
    assert {run.status.value for run in done} == {"CANCELED", "FAILED", "COMPLETED"}
    assert subscription.state is State.COMPLETED
    assert sorted(run.id for run in recorder.completes) == sorted(runs)


def test_completes_without_anyone_waiting(server, client):
    """The subscription ends by itself, and `updates()` with it."""
    runs = [server.create_run() for _ in range(2)]
    subscription = client.subscribe_to_batch(server.batch(*runs))
    updates = subscription.updates(timeout=5)
    for run_id in runs:
        server.complete_run(run_id)
    assert {run.id for run in updates} == set(runs)
    eventually(lambda: subscription.state is State.COMPLETED)


def test_a_list_that_fills_later(server, client):
    """While the batch is still being created, finished runs are not all runs."""
    batch_id = server.batch(count=1, run_count=3, processing_completed=False)
    subscription = client.subscribe_to_batch(batch_id)
    eventually(lambda: subscription.runs)
    server.complete_run(subscription.runs[0].id)
    server.wait_for_requests(2, match="api")
    assert subscription.state is State.LIVE
    more = server.batch_add(batch_id, count=2)
    server.batch_finish(batch_id)
    for run_id in more:
        server.complete_run(run_id)
    assert len(subscription.wait_for_completion(10)) == 3


def test_fewer_runs_than_run_count(server, client):
    """Items that failed to be created make no run: `runCount` exceeds the runs for good."""
    batch_id = server.batch(count=2, run_count=5, errors=[{"index": 2, "error": "no"}])
    subscription = client.subscribe_to_batch(batch_id)
    eventually(lambda: len(subscription.runs) == 2)
    for run in subscription.runs:
        server.complete_run(run.id)
    assert len(subscription.wait_for_completion(5)) == 2


def test_a_run_reused_by_its_idempotency_key(server, client):
    """It is in the list but never in the feed: it is followed singly."""
    reused, own = server.create_run(), server.create_run()
    recorder = Recorder()
    batch_id = server.batch(own, reused=[reused])
    subscription = client.subscribe_to_batch(batch_id, **recorder.options)
    server.wait_until_held(1)
    server.complete_run(own)
    server.wait_until_held(1, match="run")
    assert subscription.state is State.LIVE
    server.complete_run(reused, output="shared")
    done = subscription.wait_for_completion(5)
    assert {run.id for run in done} == {own, reused}
    assert {run.id for run in recorder.completes} == {own, reused}


def test_a_batch_of_reused_runs_alone(server, client):
    """Whose feed never shows anything."""
    reused = server.create_run()
    server.complete_run(reused)
    subscription = client.subscribe_to_batch(server.batch(reused=[reused]))
    assert [run.id for run in subscription.wait_for_completion(5)] == [reused]


def test_a_reused_run_that_is_gone(server, client):
    """The waiter learns that it can't be followed, rather than waiting for ever."""
    gone, own = server.create_run(), server.create_run()
    batch_id = server.batch(own, reused=[gone])
    server.delete_run(gone)
    subscription = client.subscribe_to_batch(batch_id)
    server.complete_run(own)
    with pytest.raises(NotFoundError):
        subscription.wait_for_completion(10)


def test_a_reused_run_whose_row_does_not_decode(server, client, caplog):
    """`on_error` gets it and it is logged, as for any run; the run is followed all the same."""
    reused = server.create_run()
    own = server.create_run()
    recorder = Recorder()
    value = {"id": "x", "friendlyId": reused, "status": "EXECUTING", "createdAt": "no time"}
    insert = {"key": "k", "value": value, "headers": {"operation": "insert"}}
    server.fail_next(
        match="run",
        status=200,
        body=[insert, {"headers": {"control": "up-to-date"}}],
        headers={"electric-handle": "h", "electric-offset": "0_0"},
    )
    subscription = client.subscribe_to_batch(server.batch(own, reused=[reused]), **recorder.options)
    server.complete_run(own)
    eventually(lambda: recorder.errors)
    assert "createdAt" in str(recorder.errors[0])
    eventually(lambda: "does not decode" in caplog.text)
    server.complete_run(reused)
    assert {run.id for run in subscription.wait_for_completion(5)} == {own, reused}


def test_a_token_that_may_not_ask(server, client):
    """The waiter gets the refusal; the subscription goes on, and `expected` works."""
    runs = [server.create_run() for _ in range(2)]
    server.fail_next(status=403, match="api", times=100)
    recorder = Recorder()
    subscription = client.subscribe_to_batch(server.batch(*runs), **recorder.options)
    with pytest.raises(PermissionDeniedError):
        subscription.wait_for_completion(5)
    assert subscription.state is State.LIVE
    for run_id in runs:
        server.complete_run(run_id)
    assert len(subscription.wait_for_completion(5, expected=2)) == 2
    assert recorder.errors == []
    with pytest.raises(PermissionDeniedError):
        subscription.wait_for_completion(5)
    server.clear_faults()
    assert len(subscription.wait_for_completion(5)) == 2


def test_expected_asks_nothing(server, client):
    """With `expected`, the REST API is not needed."""
    runs = [server.create_run() for _ in range(3)]
    batch_id = server.batch(*runs)
    subscription = client.subscribe_to_batch(batch_id)
    for run_id in runs[:2]:
        server.complete_run(run_id)
    assert len(subscription.wait_for_completion(5, expected=2)) == 2
    assert not [request for request in server.requests if request.kind == "api"]


@pytest.mark.parametrize("fault", [{"status": 500}, {"html": True}, {"reset": True}])
def test_asking_is_retried(server, client, fault):
    """Failures that are transient on the feed are transient here."""
    runs = [server.create_run() for _ in range(2)]
    server.fail_next(match="api", times=3, **fault)
    subscription = client.subscribe_to_batch(server.batch(*runs))
    for run_id in runs:
        server.complete_run(run_id)
    assert len(subscription.wait_for_completion(5)) == 2


def test_tags_have_no_end(server, client):
    """`expected` is required; so many finished runs are waited for, and it goes on."""
    runs = [server.create_run(tags=["t", "u"]) for _ in range(3)]
    subscription = client.subscribe_to_runs_with_tag(["t", "u"])
    with pytest.raises(ValueError, match="expected"):
        subscription.wait_for_completion(5)
    for run_id in runs[:2]:
        server.complete_run(run_id)
    done = subscription.wait_for_completion(5, expected=2)
    assert [run.id for run in done] == [run.id for run in subscription.runs if run.is_finished]
    assert subscription.state is State.LIVE
    for bad in (0, -1, 1.5, "2", True):
        with pytest.raises(ValueError, match="expected"):
            subscription.wait_for_completion(5, expected=bad)  # type: ignore[arg-type]


def test_cancelling_while_the_members_are_asked_for(server, client):
    """The second thread ends at once, too."""
    server.fail_next(stall=20, match="api")
    subscription = client.subscribe_to_batch(server.batch(count=1))
    with pytest.raises(WaitTimeout):
        subscription.wait_for_completion(0.2)
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 0.5


def test_a_batch_with_fewer_runs_than_expected(server, client):
    """Once it is complete there is nothing to wait for."""
    runs = [server.create_run() for _ in range(2)]
    batch = server.batch(*runs)
    subscription = client.subscribe_to_batch(batch)
    for run_id in runs:
        server.complete_run(run_id)
    eventually(lambda: subscription.state is State.COMPLETED)
    with pytest.raises(ValueError, match=r"expected=3: batch .* has only 2 runs"):
        subscription.wait_for_completion(expected=3)
    assert len(subscription.wait_for_completion(expected=2)) == 2
