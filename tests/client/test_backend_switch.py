"""A backend that changes under a running subscription (docs/protocol.md, section 5)."""

from __future__ import annotations

import pytest

from tests.support.kinds import KINDS, create, subscribe
from tests.support.raw import hold, reply
from tests.support.shape import UP_TO_DATE, answer, headers, message, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync.testing import RealtimeServer

OTHER = {"native": "electric", "electric": "native"}


@pytest.fixture(params=["native", "electric"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_it_costs_one_snapshot_and_no_state(connect, no_looks, backend, kind):
    """Whatever the other one makes of the handle: what comes back is no news, and all that
    follows is told."""
    with RealtimeServer(backend, hold=0.15) as server:
        run_id = create(server)
        recorder = Recorder()
        subscribe(connect(server), kind, run_id, **recorder.options)
        recorder.wait("update")
        server.update_run(run_id, status="EXECUTING")
        recorder.wait("update", 2)
        server.wait_until_held(1)
        server.clear_requests()
        server.switch_backend(OTHER[backend])
        server.wait_for_requests(6)
        server.wait_until_held(1)
        starts = [one for one in server.requests if one.query["offset"] == "-1"]
        assert len(starts) <= 1
        assert all("handle" not in one.query for one in starts)
        assert recorder.statuses == ["QUEUED", "EXECUTING"]
        server.update_run(run_id, metadata={"n": 1})
        recorder.wait("update", 3)
        server.complete_run(run_id, output="told")
        [run] = recorder.wait("complete")
        assert (run.output, run.metadata) == ("told", {"n": 1})
        assert recorder.statuses == ["QUEUED", "EXECUTING", "EXECUTING", "COMPLETED"]
        assert recorder.errors == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_happens_meanwhile_is_told(connect, no_looks, backend, kind):
    """A poll that is held by the old one when it stops answering for the environment."""
    with RealtimeServer(backend, hold=0.3) as server:
        run_id = create(server)
        recorder = Recorder()
        subscribe(connect(server), kind, run_id, **recorder.options)
        recorder.wait("update")
        server.wait_until_held(1)
        server.switch_backend(OTHER[backend])
        server.complete_run(run_id)
        recorder.wait("complete")
        assert recorder.statuses[-1] == "COMPLETED"


def test_a_200_with_another_handle_is_another_log(raw, connect):
    """Its rows are not merged over those of the old one: it is read from its beginning."""
    other = {**headers("7_0", "1"), "electric-handle": "h2"}
    stray_part = {"id": "crun_1", "friendlyId": "run_1", "status": "WAITING_TO_RESUME"}
    whole = row(status="PAUSED", version=2, ttl="1h")
    server = raw(
        answer(row()),
        reply(200, other, [message(stray_part, "update"), UP_TO_DATE]),
        reply(200, {**other, "electric-offset": "7_1"}, [message(whole), UP_TO_DATE]),
        hold(),
    )
    recorder = Recorder()
    connect(server).subscribe_to_run("run_1", **recorder.options)
    recorder.wait("update", 2)
    eventually(lambda: len(server.exchanges) >= 4)
    assert [one.query["offset"] for one in server.exchanges] == ["-1", "1_1", "-1", "7_1"]
    assert "handle" not in server.exchanges[2].query
    assert recorder.updates[-1].ttl == "1h"
    assert recorder.statuses == ["EXECUTING", "WAITING"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_may_change_again_and_again(connect, no_looks, kind):
    """Handles of both are met more than once."""
    with RealtimeServer("native", hold=0.15) as server:
        run_id = create(server)
        recorder = Recorder()
        subscribe(connect(server), kind, run_id, **recorder.options)
        for step in range(6):
            server.switch_backend("native" if step % 2 else "electric")
            server.update_run(run_id, metadata={"step": step})
            eventually(lambda s=step: recorder.updates[-1].metadata == {"step": s})  # type: ignore[misc]
        server.complete_run(run_id)
        recorder.wait("complete")
        times = [run.updated_at for run in recorder.updates]
        assert times == sorted(set(times))
        assert recorder.errors == []
