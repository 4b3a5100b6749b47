"""The order of states is the log's, whatever their `updatedAt` (docs/protocol.md, section 2)."""

from __future__ import annotations

import pytest

from tests.support.kinds import KINDS, create, subscribe
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync._wire import row_judge
from trigger_realtime_sync.testing import RealtimeServer


@pytest.mark.parametrize("seconds", [0, 5], ids=["same stamp", "earlier stamp"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_completes_with_no_later_stamp(brisk, connect, looks, kind, seconds):
    """Electric tells it in its log; native withholds it from live polls, so we look."""
    run_id = create(brisk)
    recorder = Recorder()
    subscription = subscribe(connect(brisk), kind, run_id, **recorder.options)
    recorder.wait("update")
    brisk.wait_until_held(1)
    brisk.update_run(run_id, status="EXECUTING")
    recorder.wait("update", 2)
    brisk.wait_until_held(1)
    brisk.complete_run(run_id, output="told", stamp_back=seconds)
    [run] = recorder.wait("complete")
    assert run.output == "told"
    assert recorder.statuses == ["QUEUED", "EXECUTING", "COMPLETED"]
    assert recorder.errors == []
    if kind != "tag":
        subscription.wait_for_completion(5)


@pytest.mark.parametrize("kind", KINDS)
def test_electric_tells_it_at_once(connect, no_looks, kind):
    """No look is needed: the log has it."""
    with RealtimeServer("electric") as server:
        run_id = create(server)
        recorder = Recorder()
        subscribe(connect(server), kind, run_id, **recorder.options)
        server.wait_until_held(1)
        server.complete_run(run_id, stamp_back=3600)
        recorder.wait("complete", seconds=5)


def test_partial_rows_after_an_earlier_stamp(connect, no_looks):
    """They are merged over the row as it now stands: no column goes back."""
    with RealtimeServer("electric") as server:
        run_id = server.create_run()
        recorder = Recorder()
        connect(server).subscribe_to_run(run_id, **recorder.options)
        for count, columns in enumerate(
            [{"status": "EXECUTING"}, {"metadata": {"n": 1}}, {"ttl": "1h"}], start=2
        ):
            server.wait_until_held(1)
            server.update_run(run_id, stamp_back=1, **columns)
            recorder.wait("update", count)
        last = recorder.updates[-1]
        assert (last.status.value, last.metadata, last.ttl) == ("EXECUTING", {"n": 1}, "1h")


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_begin_again_reaches_the_last_state(connect, kind, no_looks):
    """A rotation, a subscription under the same id and a fresh client, after stamps went back."""
    with RealtimeServer("electric") as server:
        run_id = create(server)
        client, recorder = connect(server), Recorder()
        subscription = subscribe(client, kind, run_id, id="x", **recorder.options)
        server.wait_until_held(1)
        server.update_run(run_id, status="EXECUTING", stamp_back=60)
        recorder.wait("update", 2)
        server.rotate()
        server.wait_until_held(1)
        subscription.cancel()
        server.complete_run(run_id, stamp_back=60)
        again = Recorder()
        subscribe(client, kind, run_id, id="x", **again.options)
        again.wait("complete")
        fresh = Recorder()
        subscribe(connect(server), kind, run_id, **fresh.options)
        fresh.wait("complete")
        assert recorder.statuses == ["QUEUED", "EXECUTING"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfinished_state_with_an_earlier_stamp_is_told_in_the_end(
    connect, looks, kind, monkeypatch
):
    """Native sends whole rows, which a lagging replica would send too: so it has to stay."""
    monkeypatch.setattr(row_judge, "DOUBT_SECONDS", 0.2)
    with RealtimeServer("native", hold=0.15) as server:
        run_id = create(server)
        recorder = Recorder()
        subscribe(connect(server), kind, run_id, **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        server.update_run(run_id, status="EXECUTING", stamp_back=5)
        recorder.wait("update", 2)
        assert recorder.statuses == ["QUEUED", "EXECUTING"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_snapshot_is_not_believed(server, connect, kind):
    """Neither by a subscription under the same id, which shows what it knows, nor by its feed."""
    run_id = create(server)
    client, recorder = connect(server), Recorder()
    subscription = subscribe(client, kind, run_id, id="x", **recorder.options)
    server.wait_until_held(1)
    server.update_run(run_id, status="EXECUTING")
    recorder.wait("update", 2)
    server.wait_until_held(1)
    subscription.cancel()
    again = Recorder()
    server.fail_next(stale=True, live=False, times=2)
    subscribe(client, kind, run_id, id="x", **again.options)
    again.wait("update")
    server.wait_until_held(1)
    server.complete_run(run_id)
    again.wait("complete")
    assert again.statuses == ["EXECUTING", "COMPLETED"]


@pytest.mark.parametrize("kind", KINDS)
def test_changes_of_one_transaction_have_one_stamp(server, connect, kind):
    """The order within it is the log's."""
    run_id = create(server)
    recorder = Recorder()
    subscribe(connect(server), kind, run_id, **recorder.options)
    recorder.wait("update")
    server.wait_until_held(1)
    with server.transaction():
        server.update_run(run_id, status="EXECUTING")
        server.complete_run(run_id, output=1, stamp_back=0)
    [run] = recorder.wait("complete")
    assert (run.status.value, run.output) == ("COMPLETED", 1)
    eventually(lambda: recorder.statuses == ["QUEUED", "COMPLETED"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_look_that_brings_nothing_new_is_no_news(brisk, connect, looks, kind):
    """Each whole row that comes again equals the last one; what has finished is not looked at."""
    run_id = create(brisk)
    recorder = Recorder()
    options = {"stop_on_completion": False} if kind == "run" else {}
    subscribe(connect(brisk), kind, run_id, **recorder.options, **options)
    recorder.wait("update")
    brisk.wait_until_held(1)
    brisk.clear_requests()
    looks_sent = brisk.wait_for_requests(2, live=False)
    assert all(request.query["handle"] for request in looks_sent)
    assert len({request.query["cache-buster"] for request in looks_sent}) == len(looks_sent)
    assert recorder.statuses == ["QUEUED"]
    brisk.complete_run(run_id)
    recorder.wait("complete")
    if kind != "batch":
        brisk.wait_until_held(1)
        brisk.clear_requests()
        brisk.wait_for_requests(5, live=True)
        assert all(request.live for request in brisk.requests)
    assert recorder.statuses == ["QUEUED", "COMPLETED"]
