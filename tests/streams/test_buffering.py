"""Behind a proxy that holds every answer back until it ends."""

from __future__ import annotations

import contextlib
import http.client
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.raw import Exchange, Hangup, Step, by_path
from tests.support.shape import row, snapshot
from tests.support.streams import PartRecorder, chunked, drained, frame, head, ping
from tests.support.waiting import eventually
from trigger_realtime_sync import State, Timeouts
from trigger_realtime_sync._feeds import buffering as habits
from trigger_realtime_sync._feeds import pieces
from trigger_realtime_sync._feeds import stream_feed as streams
from trigger_realtime_sync._feeds.buffering import Buffering
from trigger_realtime_sync.testing import RealtimeServer


def held_back(server: RealtimeServer) -> Step:
    """Pass requests on; answer when the answer has ended."""

    def step(exchange: Exchange) -> None:
        onward = http.client.HTTPConnection(server.url.partition("//")[2], timeout=60)
        with contextlib.closing(onward):
            headers = {name: text for name, text in exchange.headers.items() if name != "host"}
            try:
                onward.request("GET", exchange.target, headers=headers)
                answer = onward.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException):
                raise Hangup from None
        kept = {
            name: text
            for name, text in answer.getheaders()
            if name.lower() not in ("transfer-encoding", "content-length", "connection")
        }
        exchange.answer(answer.status, kept, body)

    return step


@contextlib.contextmanager
def busy(server: RealtimeServer, run_id: str) -> Iterator[list[int]]:
    """Write a part every 0.1 s; yield what was written."""
    written: list[int] = []
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.1):
            server.append(run_id, "s", len(written))
            written.append(len(written))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join()


def asked(proxy: Any) -> list[str]:
    return [one.headers["timeout-seconds"] for one in proxy.exchanges if "/streams/" in one.path]


@pytest.fixture
def upstream(version: Any) -> Iterator[RealtimeServer]:
    with RealtimeServer(streams=version, hold=0.5) as server:
        yield server


def test_a_quiet_stream_comes_with_the_end_of_each_answer(upstream, raw, connect):
    """What is asked for ends before the connection counts as dead."""
    proxy = raw(held_back(upstream))
    run_id = upstream.create_run(status="EXECUTING")
    upstream.append(run_id, "s", "a")
    parts = PartRecorder()
    client = connect(proxy, timeouts=Timeouts(read=2))
    client.subscribe_to_stream(run_id, "s", on_stream=parts)
    assert parts.wait(1) == ["a"]
    upstream.append(run_id, "s", "b")
    assert parts.wait(2) == ["a", "b"]
    assert set(asked(proxy)) == {"1"}


def test_a_busy_v2_stream_is_followed_in_pieces(raw, connect, monkeypatch):
    """Its answers never end while parts come; those that don't wait do."""
    monkeypatch.setattr(pieces, "FIRST_PIECE_PAUSE", 0.1)
    with RealtimeServer(streams="v2", hold=0.5) as server:
        proxy = raw(held_back(server))
        run_id = server.create_run(status="EXECUTING")
        parts = PartRecorder()
        client = connect(proxy, timeouts=Timeouts(read=1))
        subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts)
        with busy(server, run_id) as written:
            parts.wait(30)
            assert subscription.state is State.LIVE
            # What was learnt holds for the other streams of the server.
            before = len(asked(proxy))
            other = PartRecorder()
            client.subscribe_to_stream(run_id, "s", on_stream=other)
            other.wait(30, 1.5)
            assert "1" not in asked(proxy)[before:]
        server.complete_run(run_id)
        subscription.wait_for_completion(10)
        assert parts.all == written


def test_a_busy_v1_stream_can_not_be_followed(raw, connect, caplog):
    """It ends no answer while parts come. That is said once, and all is there in the end."""
    with RealtimeServer(streams="v1", hold=0.5) as server:
        proxy = raw(held_back(server))
        run_id = server.create_run(status="EXECUTING")
        parts = PartRecorder()
        client = connect(proxy, timeouts=Timeouts(read=1.3))
        subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts)
        with caplog.at_level(logging.WARNING), busy(server, run_id) as written:
            eventually(lambda: asked(proxy)[2:4] == ["0", "1"])
        assert [r.message for r in caplog.records if "can't be followed" in r.message]
        # The last one may be half a line, as far as such an answer shows.
        assert parts.wait(len(written) - 1) == written[:-1]
        server.complete_run(run_id)
        subscription.wait_for_completion(10)
        assert parts.all == written


def test_a_long_answer_is_tried_now_and_then(raw, connect, monkeypatch):
    """The proxy may be gone: v2 speaks at once."""
    monkeypatch.setattr(pieces, "FIRST_PIECE_PAUSE", 0.05)
    monkeypatch.setattr(streams, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(habits, "TRY_SECONDS", 0.4)
    gone = threading.Event()

    def stream(exchange: Exchange) -> None:
        if exchange.headers["timeout-seconds"] == "0":
            exchange.send(drained("v2"))
        elif gone.is_set():
            data = chunked(ping(0) + frame("v2", 0))
            exchange.send(head("v2", transfer_encoding="chunked") + data)
            exchange.hold()
        else:
            exchange.hold()

    server = raw(by_path({"/streams/": stream}, snapshot(row())))
    parts = PartRecorder()
    client = connect(server, timeouts=Timeouts(read=0.5))
    client.subscribe_to_stream("run_1", "s", on_stream=parts)
    eventually(lambda: "0" in asked(server))
    tries = len([one for one in asked(server) if one == "1"])
    eventually(lambda: len([one for one in asked(server) if one == "1"]) > tries + 1)
    gone.set()
    assert parts.wait(1) == [[0]]
    assert asked(server)[-1] == "1"


def test_refused_connections_are_no_sign_of_a_proxy(raw, connect):
    """Only a silence is, for as long as `Timeouts.read`."""
    server = raw(by_path({"/streams/": lambda exchange: exchange.sock.close()}, snapshot(row())))
    client = connect(server)
    client.subscribe_to_stream("run_1", "s")
    eventually(lambda: len(asked(server)) > 5)
    assert set(asked(server)) == {"40"}
    client.close()


def test_what_is_known_is_shared(monkeypatch):
    """One stream tries a long answer, each ten minutes; one says what can't be done."""
    known = Buffering()
    known.learn()
    assert known.is_certain
    assert not known.takes_try()
    monkeypatch.setattr(habits, "TRY_SECONDS", -1)
    known.learn()
    monkeypatch.undo()
    assert [known.takes_try(), known.takes_try()] == [True, False]
    assert [known.says_it(), known.says_it()] == [True, False]
    known.unlearn()
    assert not known.is_certain
