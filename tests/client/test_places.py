"""Subscriptions that are refused a live poll (docs/protocol.md, section 5, 429)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.support.waiting import Recorder
from trigger_realtime_sync._feeds import unplaced
from trigger_realtime_sync.testing import RealtimeServer


@pytest.mark.parametrize("backend", ["native", "electric"])
def test_a_try_that_is_refused_delays_no_news(connect, monkeypatch, backend):
    """Every so often a live poll is tried, which brings no news: the request after it comes as soon
    as any may, so that it is never later than two pauses."""
    monkeypatch.setattr(unplaced, "LEAST_PAUSE", 0.1)
    monkeypatch.setattr(unplaced, "MOST_PAUSE", 1.0)
    monkeypatch.setattr(unplaced, "TRY_EVERY", 2)
    with RealtimeServer(backend, live_polls=0) as server:
        run = server.create_run()
        told = Recorder()
        connect(server).subscribe_to_run(run, **told.options)
        tries = [one.live for one in server.wait_for_requests(14, match="run", timeout=20)]
        asked = server.requests
        after_tries = [b.at - a.at for a, b in pairwise(asked) if a.live and not b.live][1:]
        assert tries.count(True) >= 5
        assert min(after_tries) >= 0.1
        # Seven of them at random would take two seconds more.
        assert sum(after_tries) / len(after_tries) < 0.3
        server.complete_run(run)
        told.wait("complete")
