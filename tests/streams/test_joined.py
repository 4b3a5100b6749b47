"""Shared ids, pauses, and ids that are subscribed to again: no gap and no duplicate."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from tests.support.streams import PartRecorder
from tests.support.waiting import Gate, Recorder, eventually
from trigger_realtime_sync import State


def test_a_later_subscription_gets_all_parts_so_far(server, client):
    """Subscriptions that join while parts pour in get each part once; there is one connection."""
    run_id = server.create_run(status="EXECUTING")
    over = threading.Event()
    count = [0]

    def pour() -> None:
        while not over.is_set() and count[0] < 800:
            server.append(run_id, "s", count[0])
            count[0] += 1
            time.sleep(0.001)

    writer = threading.Thread(target=pour)
    writer.start()
    told = []
    for _ in range(8):
        parts = PartRecorder()
        told.append(parts)
        client.subscribe_to_stream(run_id, "s", on_stream=parts, id="x")
        time.sleep(0.02)
    over.set()
    writer.join()
    server.append(run_id, "s", "last")
    for parts in told:
        assert parts.wait(count[0] + 1) == [*range(count[0]), "last"]
    assert len([one for one in server.requests if one.kind == "stream"]) == 1


def test_pausing_loses_and_doubles_nothing(server, client):
    """`disable()` and `enable()`, alone and beside a subscription that goes on."""
    run_id = server.create_run(status="EXECUTING")
    alone, joined, steady = PartRecorder(), PartRecorder(), PartRecorder()
    subscriptions = [
        client.subscribe_to_stream(run_id, "s", on_stream=alone),
        client.subscribe_to_stream(run_id, "s", on_stream=joined, id="x"),
    ]
    client.subscribe_to_stream(run_id, "s", on_stream=steady, id="x")
    eventually(lambda: all(subscription.run for subscription in subscriptions))
    for n in range(8):
        server.append(run_id, "s", n)
        steady.wait(n + 1)
        for subscription in subscriptions:
            if n % 2 == 0:
                subscription.disable()
                assert subscription.state is State.IDLE
            else:
                subscription.enable()
    server.append(run_id, "s", "last")
    for parts in (alone, joined, steady):
        assert parts.wait(9) == [*range(8), "last"]


@pytest.mark.parametrize(
    ("options", "delay"), [({"max_cached": 0}, 0), ({}, 30)], ids=["no cache", "no run yet"]
)
def test_pausing_with_little_known(server, connect, options, delay):
    """`max_cached=0` is about ids that ended: a subscription that pauses knows where it was. So it
    does before the first answer of the run's own feed."""
    run_id = server.create_run(status="EXECUTING")
    server.fail_next(match="run", delay=delay)
    parts = PartRecorder()
    subscription = connect(server, **options).subscribe_to_stream(run_id, "s", on_stream=parts)
    server.append(run_id, "s", 1, 2)
    parts.wait(2)
    server.wait_for_requests(1, match="run")
    subscription.disable()
    assert subscription.parts == [1, 2]
    subscription.enable()
    server.append(run_id, "s", 3)
    server.complete_run(run_id)
    subscription.wait_for_completion(10)
    assert parts.all == [1, 2, 3]


def test_an_iterator_survives_a_pause(server, client):
    """`updates()` waits while its subscription is disabled, without spinning, and goes on after."""
    run_id = server.create_run(status="EXECUTING")
    subscription = client.subscribe_to_stream(run_id, "s")
    updates = subscription.updates()
    server.append(run_id, "s", 1, 2)
    assert [next(updates), next(updates)] == [1, 2]
    eventually(lambda: subscription.run)
    subscription.disable()
    server.append(run_id, "s", 3)
    got: list[Any] = []
    reader = threading.Thread(target=lambda: got.append(next(updates)))
    reader.start()
    started = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - started < 0.2
    subscription.enable()
    reader.join(5)
    assert got == [3]


def test_resubscribing_under_the_id(server, client):
    """The cached parts are there at once and delivered first; reading goes on after them."""
    run_id = server.create_run(status="EXECUTING")
    first, second = PartRecorder(), PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=first, id="x")
    server.append(run_id, "s", 1, 2)
    first.wait(2)
    eventually(lambda: subscription.run)
    subscription.cancel()
    server.append(run_id, "s", 3)
    server.clear_requests()
    again = client.subscribe_to_stream(run_id, "s", on_stream=second, id="x")
    assert again.parts[:2] == [1, 2]
    assert second.wait(3) == [1, 2, 3]
    server.complete_run(run_id)
    again.wait_for_completion(5)
    assert again.parts == [1, 2, 3]
    assert first.all == [1, 2]


def test_the_cache_of_a_stream_whose_run_may_not_be_read(server, client):
    """Its parts are cached under the id as any others are."""
    run_id = server.create_run(status="EXECUTING")
    server.fail_next(match="run", status=403, times=1000)
    parts = PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts, id="x")
    server.append(run_id, "s", 1, 2)
    parts.wait(2)
    subscription.cancel()
    assert client.subscribe_to_stream(run_id, "s", id="x").parts == [1, 2]


def test_resubscribing_after_the_end(server, client):
    """A stream that was read to its end is delivered again from the cache, and ends again."""
    run_id = server.create_run(status="EXECUTING")
    server.append(run_id, "s", *range(10))
    server.complete_run(run_id)
    first = client.subscribe_to_run_with_streams(run_id, id="x")
    first.wait_for_completion(5)
    parts, told = PartRecorder(), Recorder()
    second = client.subscribe_to_run_with_streams(run_id, id="x", on_stream=parts, **told.options)
    second.wait_for_completion(5)
    assert parts.all == list(range(10))
    assert [run.is_finished for run in told.completes] == [True]


def test_another_id_starts_anew(server, client):
    """`change_id` drops what was known: all is delivered again under the new id."""
    run_id = server.create_run(status="EXECUTING")
    parts = PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts, id="x")
    server.append(run_id, "s", 1, 2)
    parts.wait(2)
    subscription.change_id("y")
    assert parts.wait(4) == [1, 2, 1, 2]
    assert subscription.parts == [1, 2]


def test_another_id_at_the_end_loses_no_part(server, client):
    """Parts that wait when `change_id` is called in the last `on_update` are delivered, though none
    are kept, and whoever shares the id takes them first."""
    run_id = server.create_run(status="EXECUTING")
    gate, parts, others, told = Gate(), PartRecorder(), PartRecorder(), Recorder()

    def change(run: Any) -> None:
        gate(run)
        if run.is_finished:
            subscription.change_id("y")
            go_on.set()
            others.wait(10)

    def take(key: str, new: list[Any]) -> None:
        assert go_on.wait(10)
        others(key, new)

    go_on = threading.Event()
    options = {"id": "x", "max_parts": 0, "stop_on_completion": True}
    subscription = client.subscribe_to_run_with_streams(
        run_id, on_stream=parts, on_update=change, on_complete=told.on_complete, **options
    )
    other = client.subscribe_to_run_with_streams(run_id, on_stream=take, **options)
    assert gate.entered.wait(5)
    server.append(run_id, "s", *range(10))
    server.complete_run(run_id)
    eventually(lambda: subscription._seat.receiver.is_complete)
    gate.go.set()
    assert subscription.wait_for_completion(5).is_finished
    assert other.wait_for_completion(5).is_finished
    assert parts.all == others.all == list(range(10))
    assert len(told.completes) == 1


def test_nothing_is_delivered_while_it_pauses(server, client):
    """No callback of a disabled subscription is called, even for parts read before."""
    run_id = server.create_run(status="EXECUTING")
    parts, steady = PartRecorder(), PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts, id="x")
    client.subscribe_to_stream(run_id, "s", on_stream=steady, id="x")
    server.append(run_id, "s", 1)
    parts.wait(1)
    subscription.disable()
    server.append(run_id, "s", 2)
    steady.wait(2)
    assert parts.all == [1]
    subscription.enable()
    assert parts.wait(2) == [1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_disturbs_no_stream(server, client):
    """In the child the subscriptions are cancelled and the client works; the parent reads on."""
    run_id = server.create_run(status="EXECUTING")
    server.append(run_id, "s", "before")
    parts = PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts)
    updates = subscription.updates()
    parts.wait(1)
    server.wait_until_held(1, match="stream")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            new = client.subscribe_to_stream(run_id, "s")
            fine = subscription.state is State.CANCELLED and next(new.updates(10)) == "before"
            fine = fine and list(updates) == []
            new.cancel()
            client.close()
            code = 0 if fine else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    server.append(run_id, "s", "after")
    assert parts.wait(2) == ["before", "after"]
    assert [next(updates), next(updates)] == ["before", "after"]
    assert len([one for one in server.requests if one.kind == "stream"]) == 2
    server.complete_run(run_id)
    eventually(lambda: subscription.state is State.COMPLETED)


def test_parts_are_not_cached_under_an_id_that_nobody_knows(server, connect):
    """The parts of a thousand streams a day would fill the memory. The subscription keeps its own
    parts, and those under an id of the user's are cached."""
    run_id = server.create_run()
    server.append(run_id, "default", "one", "two")
    server.complete_run(run_id)
    client = connect(server)
    anonymous = client.subscribe_to_stream(run_id)
    named = client.subscribe_to_stream(run_id, id="mine")
    for subscription in (anonymous, named):
        subscription.wait_for_completion(20)
        assert subscription.parts == ["one", "two"]
    id_ = anonymous.id
    assert client.subscribe_to_stream(run_id, id="mine", enabled=False).parts == ["one", "two"]
    again = client.subscribe_to_stream(run_id, id=id_, enabled=False)
    assert again.parts == []
    assert again.run is not None


@pytest.mark.parametrize("stops", [True, False])
def test_joining_a_run_that_is_complete(server, client, stops):
    """Whoever comes late gets the parts first, and then the end."""
    run_id = server.create_run(realtime_streams=["s"])
    server.append(run_id, "s", 1, 2)
    first = client.subscribe_to_run_with_streams(run_id, id="x", stop_on_completion=False)
    server.complete_run(run_id)
    first.wait_for_completion(10)
    told: list[Any] = []
    late = client.subscribe_to_run_with_streams(
        run_id,
        id="x",
        stop_on_completion=stops,
        on_stream=lambda key, parts: told.extend(parts),
        on_complete=lambda run: told.append("complete"),
    )
    late.wait_for_completion(10)
    assert told == [1, 2, "complete"]
