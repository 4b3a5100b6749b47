"""Clients that share follow a thing over one connection, and notice nothing else."""

from __future__ import annotations

from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import State


def test_runs_are_read_once(server, share):
    """Three clients, one held poll; each is told everything."""
    run = server.create_run("task")
    recorders = [Recorder() for _ in range(3)]
    subscriptions = [share().subscribe_to_run(run, **one.options) for one in recorders]
    for one in recorders:
        one.wait("update")
    assert server.held_polls <= 1
    server.update_run(run, status="EXECUTING")
    for one in recorders:
        eventually(lambda one=one: one.statuses[-1] == "EXECUTING")
    server.complete_run(run, output=7)
    assert [one.result(timeout=10) for one in subscriptions] == [7, 7, 7]
    for one in recorders:
        one.wait("complete")
        assert len(set(one.statuses)) == len(one.statuses)
    assert {one.state for one in subscriptions} == {State.COMPLETED}


def test_streams_are_read_once(server, share):
    """Two clients, one open body; each gets every part once and in order."""
    run = server.create_run("task", status="EXECUTING")
    server.append(run, "s", *range(10))
    subscriptions = [share().subscribe_to_stream(run, "s") for _ in range(2)]
    for one in subscriptions:
        eventually(lambda one=one: one.parts == list(range(10)))
    server.append(run, "s", *range(10, 30))
    for one in subscriptions:
        eventually(lambda one=one: one.parts == list(range(30)))
    server.complete_run(run)
    for one in subscriptions:
        assert list(one.updates(timeout=10)) == list(range(30))
        eventually(lambda one=one: one.state is State.COMPLETED)
