"""`updates()`: an iterator over the states of a subscription."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.raw import hold
from tests.support.shape import answer, done, row
from tests.support.waiting import eventually
from trigger_realtime_sync import RunStatus, WaitTimeout
from trigger_realtime_sync._receivers.updates import MOST_WAITING


def test_updates_begin_with_the_present_and_end_with_the_run(server, client):
    """An iterator yields what is, then each change, and stops; closing it cancels nothing."""
    run_id = server.create_run()
    subscription = client.subscribe_to_run(run_id)
    server.wait_until_held(1)
    updates, other = subscription.updates(timeout=5), subscription.updates()
    assert next(updates).status is RunStatus.QUEUED
    other.close()
    assert list(other) == []
    server.update_run(run_id, status="EXECUTING")
    assert next(updates).status is RunStatus.EXECUTING
    server.complete_run(run_id)
    assert [run.status for run in updates] == [RunStatus.COMPLETED]
    assert [run.status for run in subscription.updates()] == [RunStatus.COMPLETED]


def test_updates_time_out_and_can_be_asked_again(server, client):
    """`timeout` bounds the silence."""
    run_id = server.create_run()
    subscription = client.subscribe_to_run(run_id)
    server.wait_until_held(1)
    updates = subscription.updates(timeout=0.3)
    assert next(updates).is_queued
    with pytest.raises(WaitTimeout):
        next(updates)
    server.update_run(run_id, status="EXECUTING")
    eventually(lambda: subscription.run.is_executing)
    assert next(updates).is_executing


def test_updates_end_when_the_subscription_is_cancelled(server, client):
    """A loop over the updates ends; so does one that blocks already."""
    subscription = client.subscribe_to_run(server.create_run())
    server.wait_until_held(1)
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.extend(subscription.updates()))
    thread.start()
    eventually(lambda: seen or thread.is_alive())
    subscription.cancel()
    thread.join(5)
    assert not thread.is_alive()
    assert list(subscription.updates()) in ([], [subscription.run])


def test_the_iterator_yields_each_change(raw, connect):
    """Also those that came while nobody asked."""
    script = [answer(row(version=version)) for version in range(1, 49)]
    subscription = connect(raw(*script, answer(done()))).subscribe_to_run("run_1", enabled=False)
    updates = subscription.updates(timeout=10)
    subscription.enable()
    subscription.wait_for_completion(10)
    assert [run.metadata["version"] for run in updates] == [*range(1, 49), 99]


def test_an_iterator_that_nobody_asks_is_bounded(raw, connect):
    """From the oldest changes only the latest of each run is kept."""
    count = MOST_WAITING + 200
    states = [*(row(version=version) for version in range(1, count)), done(version=count)]
    client = connect(raw(*(answer(state, row("run_2")) for state in states), hold()))
    subscription = client.subscribe_to_runs_with_tag("t", enabled=False)
    updates = subscription.updates(timeout=0.1)
    subscription.enable()
    subscription.wait_for_completion(60, expected=1)
    got: list[Any] = []
    with pytest.raises(WaitTimeout):
        got.extend(updates)
    assert len(got) <= MOST_WAITING
    versions_of_one = [run.metadata["version"] for run in got if run.id == "run_1"]
    assert versions_of_one[-500:] == list(range(count - 499, count + 1))
    assert {run.id for run in got} == {"run_1", "run_2"}
    assert got[-1].is_finished
