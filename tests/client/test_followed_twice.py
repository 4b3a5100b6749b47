"""Runs that are followed singly and told by their feed too (docs/protocol.md, section 2, item 6,
and section 1, "When a batch is complete").
"""

from __future__ import annotations

import threading

import pytest

from tests.support.waiting import Recorder, eventually, threads_named
from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture
def server():
    with RealtimeServer(backend="electric") as server:
        yield server


def test_a_run_that_comes_late_is_followed_by_one_feed(server, client):
    """A run of a batch that the feed did not show at first, as it lagged, is followed singly only
    until the feed tells it: two readers would tell its states in two orders."""
    first, late = server.create_run(), server.create_run()
    batch = server.batch(first, reused=[late])
    recorder = Recorder()
    subscription = client.subscribe_to_batch(batch, **recorder.options)
    waiting = threading.Thread(target=subscription.wait_for_completion, daemon=True)
    recorder.wait("update")
    waiting.start()
    eventually(lambda: threads_named("stray-runs"))
    server.wait_until_held(2)
    server.batch_add(batch, late)
    server.update_run(late, metadata={"n": 1})
    eventually(lambda: not threads_named("stray-runs"), "it is still followed singly")
    server.complete_run(late)
    server.complete_run(first)
    waiting.join(10)
    assert not waiting.is_alive()
