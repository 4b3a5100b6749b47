"""The wait that a server asks for is a floor, whatever happens meanwhile."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from trigger_realtime_sync import RetryPolicy, ServerError
from trigger_realtime_sync._http.call import Interrupted
from trigger_realtime_sync._http.requester import Origin, Requester
from trigger_realtime_sync._http.tokens import TokenSource

ASKED = 0.2


@pytest.fixture
def requester() -> Requester:
    unused: Any = None
    retry = RetryPolicy(initial_delay=10, max_delay=10)
    return Requester(
        Origin(transport=unused, base_url="", token=TokenSource("tr_x"), retry=retry), "the feed"
    )


def test_a_nudge_does_not_shorten_what_the_server_asked_for(requester):
    """A run that finishes ends the wait for its stream, but not before Retry-After is over."""
    error = ServerError("busy", status=503, headers={"retry-after": str(ASKED)})
    requester.nudge()
    started = time.monotonic()
    requester.recover(error)
    assert ASKED <= time.monotonic() - started < 5


def test_stopping_ends_any_wait(requester):
    """A subscription that is cancelled does not wait for Retry-After."""
    error = ServerError("busy", status=503, headers={"retry-after": "60"})
    threading.Timer(0.05, requester.stop).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        requester.recover(error)
    assert time.monotonic() - started < 5
