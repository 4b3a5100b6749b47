"""What `.state` shows while requests fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.raw import (
    Exchange,
    Hangup,
    RawServer,
    by_path,
    by_poll,
    hangup,
    hold,
    in_turn,
    reply,
)
from tests.support.shape import answer, row
from tests.support.waiting import eventually
from trigger_realtime_sync import State
from trigger_realtime_sync._http import session as http
from trigger_realtime_sync._http.requester import Requester


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[State]]:
    """Record the state of a subscription during each wait, and wait for a moment only."""
    original = Requester.pause

    def record(subscription: Any) -> list[State]:
        seen: list[State] = []

        def pause(self: Requester, seconds: float, at_least: float = 0.0) -> None:
            if seconds > 0:
                seen.append(subscription.state)
            original(self, min(seconds, 0.01))

        monkeypatch.setattr(Requester, "pause", pause)
        return seen

    return record


def cut(exchange: Exchange) -> None:
    """Hold a request for a while, as a proxy may, and cut it."""
    time.sleep(0.03)
    raise Hangup


@pytest.mark.parametrize(
    "live",
    [cut, reply(504), hangup(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n[")],
    ids=["cut", "504", "torn"],
)
def test_a_proxy_that_cuts_every_poll(live, raw, connect, states, monkeypatch):
    """LIVE while it waits to ask again, as long as what is asked then is answered."""
    monkeypatch.setattr(http, "STALE_SECONDS", 0.01)
    server = raw(by_poll(answer(row()), live))
    subscription = connect(server).subscribe_to_run("run_1")
    eventually(lambda: subscription.state is State.LIVE)
    seen = states(subscription)
    eventually(lambda: len(seen) > 20)
    assert set(seen) == {State.LIVE}


def test_a_proxy_that_cuts_every_silent_stream(raw, connect, states):
    """The same, where the head of the stream came."""

    def silent(exchange: Exchange) -> None:
        exchange.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"x-stream-version: v2\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        cut(exchange)

    runs = by_poll(answer(row()), hold())
    server = raw(by_path({"/streams/": silent}, runs))
    subscription = connect(server).subscribe_to_stream("run_1", "k")
    eventually(lambda: subscription.state is State.LIVE)
    seen = states(subscription)
    eventually(lambda: len(seen) > 20)
    assert set(seen) == {State.LIVE}


@pytest.mark.parametrize("then", [cut, reply(503)], ids=["cut", "503"])
def test_one_whose_next_request_fails_too(then, raw, connect, states):
    """RETRYING, until one is answered."""
    first = in_turn(answer(row()), *[then] * 5, answer(row()))
    server = raw(by_poll(first, in_turn(cut, hold())))
    subscription = connect(server).subscribe_to_run("run_1")
    seen = states(subscription)
    eventually(lambda: server.exchanges and server.exchanges[-1].live and len(seen) >= 5)
    assert State.RETRYING in seen
    eventually(lambda: subscription.state is State.LIVE)


def test_a_poll_that_the_server_asks_to_wait_for(raw, connect):
    """RETRYING: nothing is heard until then."""
    server = raw(by_poll(answer(row()), reply(502, {"retry-after": "3600"})))
    subscription = connect(server).subscribe_to_run("run_1")
    eventually(lambda: subscription.state is State.RETRYING)


def test_a_poll_that_finds_no_server(connect, states):
    """RETRYING: nothing may have been answered."""
    with RawServer(by_poll(answer(row()), cut)) as server:
        subscription = connect(server).subscribe_to_run("run_1")
        eventually(lambda: subscription.state is State.LIVE)
        seen = states(subscription)
    eventually(lambda: State.RETRYING in seen)
    subscription.cancel()
