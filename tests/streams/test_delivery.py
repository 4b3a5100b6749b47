"""When a part is delivered: as soon as its blank line arrived, however the body is framed."""

from __future__ import annotations

import queue
import time
import zlib

import pytest

from tests.support.streams import PartRecorder, chunked, drained, frame, head, numbers, ping
from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync import RetryPolicy, State, Timeouts

AT_ONCE = 2.0


class Gzip:
    """Compresses a body piece by piece, each of them readable on arrival."""

    def __init__(self) -> None:
        self._squeeze = zlib.compressobj(wbits=31)

    def __call__(self, data: bytes) -> bytes:
        return self._squeeze.compress(data) + self._squeeze.flush(zlib.Z_SYNC_FLUSH)


def plain(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("framing", ["chunked", "until-close"])
@pytest.mark.parametrize("size", ["whole", "bytes"])
def test_at_its_blank_line(coding, framing, size, version, fed, connect):
    """Chunked or not, compressed or not, byte by byte or in one: no part waits for the next."""
    parts = PartRecorder()
    connect(fed).subscribe_to_stream("run_1", "s", on_stream=parts)
    stream = fed.next_stream()
    assert stream.headers["accept-encoding"] == "identity"
    more = {"content_encoding": "gzip"} if coding == "gzip" else {}
    more |= {"transfer_encoding": "chunked"} if framing == "chunked" else {"connection": "close"}
    stream.send(head(None if version == "v1" else version, **more))
    code = Gzip() if coding == "gzip" else plain
    wrap = chunked if framing == "chunked" else plain
    for n in range(3):
        data = code(frame(version, n))
        pieces = [data] if size == "whole" else [bytes([byte]) for byte in data]
        for piece in pieces:
            stream.send(wrap(piece))
        assert parts.wait(n + 1, AT_ONCE) == numbers(n + 1)


def test_never_before_its_blank_line(version, fed, connect):
    """An event cut off before its blank line is not delivered; it comes whole later."""
    parts = PartRecorder()
    connect(fed).subscribe_to_stream("run_1", "s", on_stream=parts)
    first = fed.next_stream()
    first.send(head(version, transfer_encoding="chunked"))
    first.send(chunked(frame(version, 0)))
    parts.wait(1)
    first.send(chunked(frame(version, 1)[:-1]))
    first.end()
    second = fed.next_stream()
    assert parts.all == numbers(1)
    second.send(head(version, transfer_encoding="chunked"))
    if version == "v1":
        second.send(chunked(frame(version, 0)))
    second.send(chunked(frame(version, 1)))
    assert parts.wait(2) == numbers(2)


@pytest.mark.parametrize("framing", ["chunked", "length", "until-close"])
def test_a_torn_end_is_asked_for_again(framing, version, fed, connect):
    """A body that ends before it is whole, after the run's end too, is not the last one."""
    parts = PartRecorder()
    subscription = connect(fed).subscribe_to_stream("run_1", "s", on_stream=parts)
    first = fed.next_stream()
    fed.finish()
    torn = {
        "chunked": head(version, transfer_encoding="chunked") + b"4\r\n: hi",
        "length": head(version, content_length="1000") + b": hi\n\n",
        "until-close": head(version, connection="close"),
    }
    drain = fed.next_stream()
    first.end()
    drain.send(torn[framing])
    drain.end()
    again = fed.next_stream()
    again.send(head(version, content_length=str(len(frame(version, 0)))) + frame(version, 0))
    again.end(keep=True)
    last = fed.next_stream()
    last.send(drained(version))
    last.end(keep=True)
    subscription.wait_for_completion(10)
    assert parts.all == numbers(1)


def test_a_silent_connection_is_given_up(version, fed, connect):
    """Silent for longer than `Timeouts.read`: asked for again, after the last part."""
    parts = PartRecorder()
    client = connect(fed, timeouts=Timeouts(read=0.3))
    client.subscribe_to_stream("run_1", "s", on_stream=parts)
    first = fed.next_stream()
    first.send(head(version, transfer_encoding="chunked"))
    for n in range(5):
        first.send(chunked(frame(version, n)))
    parts.wait(5)
    second = fed.next_stream(2.0)
    # v1: after the second part before the last one that another followed.
    wanted = {"v1": "1795414755001-0", "v2": "4"}[version]
    assert second.headers["last-event-id"] == wanted
    first.end()


def test_keep_alives_keep_it(version, fed, connect):
    """Comments and pings are no parts, and yet no silence."""
    parts = PartRecorder()
    client = connect(fed, timeouts=Timeouts(read=0.5))
    client.subscribe_to_stream("run_1", "s", on_stream=parts)
    stream = fed.next_stream()
    stream.send(head(version, transfer_encoding="chunked"))
    keep_alive = b": ping\n\n" if version == "v1" else ping(0)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        stream.send(chunked(keep_alive))
        time.sleep(0.1)
    stream.send(chunked(frame(version, 0)))
    assert parts.wait(1) == numbers(1)
    assert len([one for one in fed.exchanges if "/streams/" in one.path]) == 1


def test_quiet_cuts_never_use_the_retries_up(version, fed, connect, monkeypatch):
    """A proxy that cuts what is idle is no failure, even where one failure would be too many."""
    monkeypatch.setattr("trigger_realtime_sync._feeds.stream_feed.GOOD_SECONDS", 0.1)
    parts = PartRecorder()
    client = connect(fed, retry=RetryPolicy(max_retries=0))
    subscription = client.subscribe_to_stream("run_1", "s", on_stream=parts)
    for _ in range(3):
        stream = fed.next_stream()
        stream.send(head(version, transfer_encoding="chunked") + chunked(b": ping\n\n"))
        time.sleep(0.15)
        stream.end()
    stream = fed.next_stream()
    stream.send(head(version, transfer_encoding="chunked") + chunked(frame(version, 0)))
    assert parts.wait(1) == numbers(1)
    assert subscription.state is State.LIVE


def test_tokens_expire_while_it_is_quiet(version, fed, connect):
    """Each 401 after an answer that was good gets a new token, parts or none in between."""
    tokens = iter(range(1000))
    client = connect(fed, access_token=lambda: f"t{next(tokens)}")
    parts = PartRecorder()
    subscription = client.subscribe_to_stream("run_1", "s", on_stream=parts)
    for _ in range(3):
        stream = fed.next_stream()
        stream.answer(401, {}, {"error": "expired"})
        stream.end(keep=True)
        stream = fed.next_stream()
        # Held for longer than an answer that says nothing.
        stream.send(head(version, transfer_encoding="chunked") + chunked(b": ping\n\n"))
        time.sleep(1.05)
        stream.send(b"0\r\n\r\n")
        stream.end(keep=True)
    stream = fed.next_stream()
    stream.send(head(version, transfer_encoding="chunked") + chunked(frame(version, 0)))
    assert parts.wait(1) == numbers(1)
    assert subscription.error is None


@pytest.mark.parametrize("framing", ["chunked", "gzip"])
def test_cancelled_while_it_is_read(framing, version, fed, connect):
    """`cancel()` returns at once, and the server sees the connection go."""
    subscription = connect(fed).subscribe_to_stream("run_1", "s")
    stream = fed.next_stream()
    more = {"content_encoding": "gzip"} if framing == "gzip" else {}
    stream.send(head(version, transfer_encoding="chunked", **more))
    started = time.monotonic()
    subscription.cancel()
    assert time.monotonic() - started < AT_ONCE
    stream.sock.settimeout(2)
    assert stream.sock.recv(10) == b""
    eventually(lambda: not threads_named("trigger-realtime stream-feed"), seconds=1)


def test_a_server_that_ends_at_once_is_not_hammered(version, fed, connect):
    """Empty answers that are not held are asked for at a growing distance."""
    connect(fed).subscribe_to_stream("run_1", "s")
    until = time.monotonic() + 1.5
    count = 0
    while time.monotonic() < until:
        try:
            stream = fed.next_stream(0.1)
        except queue.Empty:
            continue
        count += 1
        stream.send(head(version, content_length="0"))
        stream.end(keep=True)
    assert 2 <= count <= 5
