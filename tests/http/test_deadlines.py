"""Heads, and bodies with an end, have a deadline: what dribbles in is given up in time."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import pytest

from tests.support.raw import Exchange, Hangup, Step, answer_bytes
from tests.support.shape import answer, done
from trigger_realtime_sync import ApiConnectionError, AuthenticationError, Timeouts
from trigger_realtime_sync._http import answer as answers
from trigger_realtime_sync._http import deadlines
from trigger_realtime_sync._http.call import Call
from trigger_realtime_sync._http.session import HttpOptions, Transport

SILENCE = 0.4
# Seconds between two pieces: never silent for long.
BEAT = 0.05
START = b"HTTP/1.1 200 OK\r\n"
BODY = b"0123456789" * 4


def dribble(first: bytes, *pieces: bytes, last: bytes = b"", beats: int = 400) -> Step:
    """Send the first bytes, then a piece with each beat, again and again, and then the last."""

    def step(exchange: Exchange) -> None:
        exchange.send(first)
        for beat in range(beats):
            if select.select([exchange.sock], [], [], BEAT)[0]:
                raise Hangup
            exchange.send(pieces[beat % len(pieces)])
        exchange.send(last)

    return step


HEADS = {
    "a byte at a time": dribble(b"", b"H", b"T"),
    "one endless line": dribble(START + b"x: ", b"a"),
    "one line at a time": dribble(START, b"x: y\r\n"),
    "interim heads": dribble(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "half of an interim head": dribble(b"HTTP/1.1 102 Processing\r\n", b"x: y\r\n"),
}


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport(HttpOptions(timeouts=Timeouts(read=SILENCE)))
    yield transport
    transport.close()


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_is_never_whole(name, raw, transport):
    """It is given up after the time that a server may be silent for."""
    server = raw(HEADS[name])
    started = time.monotonic()
    with pytest.raises(ApiConnectionError, match="timed out"):
        transport.get(f"{server.url}/x", call=Call(), label="test", token="tr_x")
    assert SILENCE * 0.9 < time.monotonic() - started < 5 * SILENCE


def test_a_proxy_whose_answer_to_connect_is_never_whole(raw):
    """It has as long as a connection takes."""
    proxy = raw(dribble(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"))
    options = HttpOptions(timeouts=Timeouts(connect=SILENCE), proxies={"https": proxy.url})
    transport = Transport(options)
    started = time.monotonic()
    with pytest.raises(ApiConnectionError):
        transport.get("https://api.example/x", call=Call(), label="test", token="tr_x")
    assert time.monotonic() - started < 5 * SILENCE
    assert len(proxy.exchanges) == 1
    transport.close()


@pytest.fixture
def short_bodies(monkeypatch) -> None:
    """A body has no more time than a connection may be silent for, and what it earns."""
    monkeypatch.setattr(deadlines, "BODY_SECONDS", SILENCE)


BODIES = {
    "a byte at a time": dribble(START + b"content-length: 9999\r\n\r\n", b"a"),
    "until the connection closes": dribble(START + b"\r\n", b"a"),
    "small chunks": dribble(START + b"transfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
    "one endless size of a chunk": dribble(START + b"transfer-encoding: chunked\r\n\r\n1;", b"a"),
    "nothing but trailers": dribble(
        START + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"
    ),
    "compressed, and empty": dribble(
        START
        + b"content-encoding: gzip\r\ncontent-length: 9999\r\n\r\n"
        # A gzip header with a name that does not end.
        + b"\x1f\x8b\x08\x08"
        + bytes(6),
        b"a",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_dribbles_in(name, raw, transport, short_bodies):
    """It is given up, though it is never silent for long."""
    server = raw(BODIES[name])
    started = time.monotonic()
    with (
        transport.get(f"{server.url}/x", call=Call(), label="test", token="tr_x") as response,
        pytest.raises(ApiConnectionError, match="timed out"),
    ):
        response.body()
    assert SILENCE * 0.9 < time.monotonic() - started < 6 * SILENCE


def test_a_large_body_over_a_slow_line(raw, transport, short_bodies):
    """Each byte earns it some more time."""
    piece, beats = b"x" * 600, 24
    length = b"content-length: %d\r\n\r\n" % (beats * len(piece))
    server = raw(dribble(START + length, piece, beats=beats))
    started = time.monotonic()
    with transport.get(f"{server.url}/x", call=Call(), label="test", token="tr_x") as response:
        assert response.body() == beats * piece
    assert time.monotonic() - started > 2 * SILENCE


def test_a_client_goes_on_after_a_body_that_dribbled_in(raw, connect, short_bodies):
    """The run is asked for again."""
    server = raw(BODIES["a byte at a time"], answer(done()))
    client = connect(server, timeouts=Timeouts(read=SILENCE))
    assert client.wait_for_completion("run_1", timeout=10).is_success


def test_a_stream_may_take_longer(raw, transport, short_bodies):
    """It has no deadline, as long as it is never silent: it lasts for hours."""
    head = b"content-length: %d\r\n\r\n" % len(BODY)
    pieces = [BODY[n : n + 1] for n in range(len(BODY))]
    server = raw(dribble(START + b"x: 1\r\n", head, *pieces, beats=len(pieces) + 1))
    with transport.get(f"{server.url}/x", call=Call(), label="test", token="tr_x") as response:
        assert b"".join(response.chunks()) == BODY


def test_the_silence_after_a_slow_head_is_the_usual_one(raw, transport):
    """What was left of the head's time is not that of the body."""
    whole = answer_bytes(200, {}, BODY)
    cut = len(whole) - len(BODY)

    def slow(exchange: Exchange) -> None:
        for piece in (whole[:20], whole[20:cut], whole[cut:]):
            exchange.send(piece)
            select.select([exchange.sock], [], [], SILENCE * 0.7)

    with transport.get(raw(slow).url, call=Call(), label="test", token="tr_x") as response:
        assert response.body() == BODY


def test_a_client_goes_on(raw, connect):
    """After a head that was never whole the run is asked for again."""
    server = raw(HEADS["interim heads"], answer(done()))
    client = connect(server, timeouts=Timeouts(read=SILENCE))
    assert client.wait_for_completion("run_1", timeout=10).is_success


def test_the_body_of_an_error_that_never_ends(raw, connect, monkeypatch):
    """Its status counts without the rest."""
    monkeypatch.setattr(answers, "ERROR_PAGE_SECONDS", SILENCE)
    refusal = dribble(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 9999\r\n\r\n", b" ")
    with pytest.raises(AuthenticationError):
        connect(raw(refusal)).wait_for_completion("run_1", timeout=5)
