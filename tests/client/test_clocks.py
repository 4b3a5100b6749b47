"""Waits when our clock and the server's do not agree (docs/protocol.md, section 5)."""

from __future__ import annotations

import email.utils
import itertools
import time

import pytest

from tests.support.raw import hold, in_turn, reply
from tests.support.shape import answer, done, row
from tests.support.waiting import Recorder
from trigger_realtime_sync import RetryPolicy, State
from trigger_realtime_sync._http import requester

DAY = 86_400
POLICY = RetryPolicy(initial_delay=0.5, max_delay=30.0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record each wait instead of waiting."""
    seconds: list[float] = []
    original = requester.Requester.pause

    def pause(self: requester.Requester, delay: float, at_least: float = 0.0) -> None:
        seconds.append(delay)
        original(self, 0.0)

    monkeypatch.setattr(requester.Requester, "pause", pause)
    return seconds


@pytest.mark.parametrize("ahead", [-DAY, -600, 600, DAY])
@pytest.mark.parametrize("unit", [1, 1000], ids=["seconds", "milliseconds"])
def test_a_reset_is_waited_for_by_the_servers_clock(raw, connect, waits, ahead, unit):
    """Its `Date` says how far away the moment is."""
    there = time.time() + ahead
    headers = {
        "date": email.utils.formatdate(there, usegmt=True),
        "x-ratelimit-reset": str(int((there + 20) * unit)),
    }
    server = raw(reply(429, headers), answer(done()))
    connect(server, retry=POLICY).wait_for_completion("run_1", timeout=10)
    assert 18 < waits[0] < 22


def test_a_clock_that_jumps_is_no_matter(raw, connect, waits, monkeypatch):
    """Back-offs and looks are measured by one that does not."""
    jumps = itertools.cycle([0.0, DAY, -DAY])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    server = raw(answer(row()), in_turn(*[reply(500)] * 6, answer(done()), hold()))
    recorder = Recorder()
    client = connect(server, retry=POLICY)
    subscription = client.subscribe_to_run("run_1", **recorder.options)
    subscription.wait_for_completion(10)
    assert subscription.state is State.COMPLETED
    assert max(waits) <= 30
