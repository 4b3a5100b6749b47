"""Answers without end, or that unpack to no end: what `SECURITY.md` says of them."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import shape
from tests.support.raw import Exchange, RawServer
from trigger_realtime_sync import (
    PayloadError,
    ProtocolError,
    RealtimeClient,
    RetryPolicy,
    TriggerRealtimeError,
)
from trigger_realtime_sync._http import answer as http

QUICK = RetryPolicy(initial_delay=0.01, max_delay=0.05, max_retries=2)

LIMIT = 4 << 20
ROW = json.dumps(shape.message(shape.row(payload="x" * 1000))).encode()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def raw(stack: ExitStack) -> Callable[..., RawServer]:
    return lambda handle: stack.enter_context(RawServer(handle))


@pytest.fixture
def connect(stack: ExitStack) -> Callable[..., RealtimeClient]:
    return lambda url: stack.enter_context(RealtimeClient("tr_x", base_url=url, retry=QUICK))


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Bodies are limited to 4 MiB. Says how many bytes were taken at the most."""
    monkeypatch.setattr(http, "MAX_BODY", LIMIT)
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def endless(exchange: Exchange, head: bytes, piece: bytes) -> None:
    """Sends until the client hangs up, a gigabyte at the most."""
    exchange.send(head)
    for _ in range((1 << 30) // len(piece)):
        exchange.send(piece)
    raise AssertionError("the client read a gigabyte")


def chunked(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


HEAD = b"HTTP/1.1 %s\r\nelectric-handle: h\r\nelectric-offset: 0_0\r\n%s\r\n"


def test_the_limit_of_a_body() -> None:
    """A quarter of a gigabyte: a thousand runs of 256 KB, which takes three times that to read."""
    assert http.MAX_BODY == 256 << 20


@pytest.mark.parametrize("framing", [b"transfer-encoding: chunked\r\n", b"", b"content-length: "])
def test_a_snapshot_without_end(
    raw: Any, connect: Any, limited: Callable[[], int], framing: bytes
) -> None:
    """Ends the subscription, with an error that names the limit."""
    piece = ROW * 50 + b","
    sent = chunked(piece) if b"chunked" in framing else piece
    length = framing + b"1073741824\r\n" if b"length" in framing else framing
    server = raw(lambda exchange: endless(exchange, HEAD % (b"200 OK", length), sent))
    with pytest.raises(ProtocolError, match=str(LIMIT)):
        connect(server.url).wait_for_completion("run_1", timeout=30)
    assert limited() < 4 * LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_bomb(
    raw: Any, connect: Any, limited: Callable[[], int], encoding: str
) -> None:
    """What unpacks to a thousandfold is not unpacked beyond the limit; what was read last
    may go over it by what 64 KiB unpack to."""
    packed = (gzip.compress if encoding == "gzip" else zlib.compress)(bytes(128 << 20))
    tracemalloc.reset_peak()
    server = raw(
        lambda exchange: exchange.answer(
            200, {**shape.headers(), "content-encoding": encoding}, packed
        )
    )
    with pytest.raises(ProtocolError, match=str(LIMIT)):
        connect(server.url).wait_for_completion("run_1", timeout=30)
    assert limited() < LIMIT + (72 << 20)


def test_a_bomb_in_a_bomb(raw: Any, connect: Any, limited: Callable[[], int]) -> None:
    """Nobody asked for two encodings on top of each other: it is not unpacked at all."""
    packed = gzip.compress(gzip.compress(bytes(64 << 20)))
    server = raw(
        lambda exchange: exchange.answer(
            200, {**shape.headers(), "content-encoding": "gzip, gzip"}, packed
        )
    )
    with pytest.raises(ProtocolError, match="content-encoding"):
        connect(server.url).wait_for_completion("run_1", timeout=30)


def test_an_error_page_without_end(raw: Any, connect: Any, limited: Callable[[], int]) -> None:
    """Only its beginning is read."""
    server = raw(
        lambda exchange: endless(exchange, HEAD % (b"400 Bad", b""), b"<p>no</p>" * 10_000)
    )
    with pytest.raises(TriggerRealtimeError) as caught:
        connect(server.url).wait_for_completion("run_1", timeout=30)
    assert len(caught.value.body) <= 10_000  # type: ignore[attr-defined]
    assert limited() < LIMIT


def test_a_redirect_without_end(raw: Any, connect: Any, limited: Callable[[], int]) -> None:
    """What comes with a redirect is not read."""

    def handle(exchange: Exchange) -> None:
        if exchange.path == "/moved":
            shape.answer(exchange, shape.done())
        else:
            endless(exchange, HEAD % (b"302 Found", b"location: /moved\r\n"), b"x" * 100_000)

    connect(raw(handle).url).wait_for_completion("run_1", timeout=30)
    assert limited() < LIMIT


def test_a_stored_output_without_end(raw: Any, connect: Any, limited: Callable[[], int]) -> None:
    """The same limit holds for the object store."""

    def handle(exchange: Exchange) -> None:
        if exchange.path.startswith("/realtime"):
            done = shape.done()
            done.update(output="packets/x.json", outputType="application/store")
            shape.answer(exchange, done)
        elif exchange.path.startswith("/api"):
            exchange.answer(200, {}, {"presignedUrl": f"http://{exchange.headers['host']}/store"})
        else:
            endless(exchange, b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100_000)

    server = raw(handle)
    run = connect(server.url).wait_for_completion("run_1", timeout=30)
    with pytest.raises(PayloadError, match=str(LIMIT)):
        _ = run.output
    assert limited() < 4 * LIMIT


def test_headers_without_end(raw: Any, connect: Any, limited: Callable[[], int]) -> None:
    """A head that never ends is given up."""
    server = raw(
        lambda exchange: endless(exchange, b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 10_000 + b"\r\n")
    )
    with pytest.raises(TriggerRealtimeError):
        connect(server.url).wait_for_completion("run_1", timeout=30)
    assert limited() < LIMIT
