"""Iterators over parts beside other subscribers of the same stream."""

from __future__ import annotations

import contextlib
import threading

import pytest

from tests.support.waiting import eventually
from trigger_realtime_sync import WaitTimeout

# More than the store lets wait for its slowest reader.
MANY = 5_000


@pytest.mark.parametrize("version", ["v2"])
def test_one_that_was_disabled_holds_up_nobody(server, connect):
    """Its iterator may never be asked again: the others of its id get every part all the same."""
    run_id = server.create_run()
    server.append(run_id, "default", *range(10))
    client = connect(server)
    got: list[int] = []
    follower = client.subscribe_to_stream(
        run_id, id="shared", on_stream=lambda key, parts: got.extend(parts)
    )
    disabled = client.subscribe_to_stream(run_id, id="shared")
    updates = disabled.updates(timeout=10)
    assert [next(updates) for _ in range(3)] == [0, 1, 2]
    disabled.disable()
    server.append(run_id, "default", *range(10, MANY))
    server.complete_run(run_id)
    follower.wait_for_completion(20)
    assert got == list(range(MANY))


@pytest.mark.parametrize("version", ["v2"])
def test_one_that_was_enabled_again_misses_nothing(server, connect):
    """Though only few parts are kept, the iterator goes on where it was."""
    run_id = server.create_run()
    server.append(run_id, "default", *range(10))
    client = connect(server)
    other = client.subscribe_to_stream(run_id, id="shared", max_parts=1)
    paused = client.subscribe_to_stream(run_id, id="shared", max_parts=1)
    updates = paused.updates(timeout=10)
    assert [next(updates) for _ in range(3)] == [0, 1, 2]
    paused.disable()
    paused.enable()
    server.append(run_id, "default", *range(10, 100))
    eventually(lambda: other.parts == [99], "the other one has read on")
    server.complete_run(run_id)
    assert list(updates) == list(range(3, 100))


@pytest.mark.parametrize("version", ["v2"])
def test_one_that_lags_behind_gets_everything(server, connect):
    """Also after its subscription is complete, however few parts are kept."""
    run_id = server.create_run()
    server.append(run_id, "default", *range(10))
    subscription = connect(server).subscribe_to_stream(run_id, max_parts=2)
    updates = subscription.updates(timeout=10)
    assert next(updates) == 0
    server.append(run_id, "default", *range(10, 100))
    server.complete_run(run_id)
    subscription.wait_for_completion(10)
    assert list(updates) == list(range(1, 100))


@pytest.mark.parametrize("version", ["v2"])
def test_they_come_and_go_on_any_thread(server, connect):
    """While their subscription is disabled, enabled and cancelled: nothing is left running."""
    run_id = server.create_run()
    server.append(run_id, "default", *range(10))
    client = connect(server)
    subscription = client.subscribe_to_stream(run_id, id="x")
    over = threading.Event()
    failures: list[RuntimeError] = []

    def iterate() -> None:
        try:
            while not over.is_set():
                updates = subscription.updates(timeout=0)
                with contextlib.suppress(WaitTimeout, StopIteration):
                    next(updates)
                updates.close()
        except RuntimeError as error:
            failures.append(error)

    threads = [threading.Thread(target=iterate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        subscription.disable()
        subscription.enable()
    subscription.cancel()
    over.set()
    for thread in threads:
        thread.join(10)
    assert failures == []
