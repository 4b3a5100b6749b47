"""Answers without end, or that unpack to no end: what `SECURITY.md` says of them."""

from __future__ import annotations

import functools
import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import shape
from tests.support.raw import Exchange, endless, reply
from tests.support.streams import chunked
from trigger_realtime_sync import (
    PayloadError,
    PermissionDeniedError,
    ProtocolError,
    RetryPolicy,
    TriggerRealtimeError,
)
from trigger_realtime_sync._http import answer as http

LIMIT = 4 << 20
ROW = json.dumps(shape.message(shape.row(payload="x" * 1000))).encode()


@pytest.fixture
def connect(connect: Any) -> Any:
    retry = RetryPolicy(initial_delay=0.01, max_delay=0.05, max_retries=2)
    return functools.partial(connect, retry=retry)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Bodies are limited to 4 MiB. Returns the peak of allocated bytes."""
    monkeypatch.setattr(http, "MAX_BODY", LIMIT)
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


HEAD = b"HTTP/1.1 %s\r\nelectric-handle: h\r\nelectric-offset: 0_0\r\n%s\r\n"


def test_the_limit_of_a_body():
    """A quarter of a gigabyte: a thousand runs of 256 KB, which takes three times that to read."""
    assert http.MAX_BODY == 256 << 20


@pytest.mark.parametrize("framing", [b"transfer-encoding: chunked\r\n", b"", b"content-length: "])
def test_a_snapshot_without_end(raw, connect, limited, framing):
    """Ends the subscription, with an error that names the limit."""
    piece = ROW * 50 + b","
    sent = chunked(piece) if b"chunked" in framing else piece
    length = framing + b"1073741824\r\n" if b"length" in framing else framing
    server = raw(endless(HEAD % (b"200 OK", length), sent))
    with pytest.raises(ProtocolError, match=str(LIMIT)):
        connect(server).wait_for_completion("run_1", timeout=30)
    assert limited() < 4 * LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_bomb(raw, connect, limited, encoding):
    """A bomb is not unpacked beyond the limit."""
    packed = (gzip.compress if encoding == "gzip" else zlib.compress)(bytes(128 << 20))
    tracemalloc.reset_peak()
    server = raw(reply(200, {**shape.headers(), "content-encoding": encoding}, packed))
    with pytest.raises(ProtocolError, match=str(LIMIT)):
        connect(server).wait_for_completion("run_1", timeout=30)
    assert limited() < 4 * LIMIT


def test_a_bomb_in_a_bomb(raw, connect, limited):
    """Nobody asked for two encodings on top of each other: it is not unpacked at all."""
    packed = gzip.compress(gzip.compress(bytes(64 << 20)))
    server = raw(reply(200, {**shape.headers(), "content-encoding": "gzip, gzip"}, packed))
    with pytest.raises(ProtocolError, match="content-encoding"):
        connect(server).wait_for_completion("run_1", timeout=30)


def test_an_error_page_without_end(raw, connect, limited):
    """Only its beginning is read."""
    server = raw(endless(HEAD % (b"400 Bad", b""), b"<p>no</p>" * 10_000))
    with pytest.raises(TriggerRealtimeError) as caught:
        connect(server).wait_for_completion("run_1", timeout=30)
    assert len(caught.value.body) <= 10_000  # type: ignore[attr-defined]
    assert limited() < LIMIT


def test_an_error_page_that_trickles_in(raw, connect, monkeypatch):
    """What came of it by then is enough: its status counts."""
    monkeypatch.setattr(http, "ERROR_PAGE_SECONDS", 0.2)

    def trickle(exchange: Exchange) -> None:
        exchange.send(HEAD % (b"403 No", b""))
        while True:
            exchange.send(b".")
            time.sleep(0.02)

    with pytest.raises(PermissionDeniedError) as caught:
        connect(raw(trickle)).wait_for_completion("run_1", timeout=10)
    assert caught.value.body.startswith("...")


def test_a_redirect_without_end(raw, connect, limited):
    """The body of a redirect is not read."""
    moved = endless(HEAD % (b"302 Found", b"location: /moved\r\n"), b"x" * 100_000)
    connect(raw(moved, shape.answer(shape.done()))).wait_for_completion("run_1", timeout=30)
    assert limited() < LIMIT


def test_a_stored_output_without_end(raw, connect, limited):
    """The same limit holds for the object store."""
    server = raw(shape.stored_output(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100_000)))
    run = connect(server).wait_for_completion("run_1", timeout=30)
    with pytest.raises(PayloadError, match=str(LIMIT)):
        _ = run.output
    assert limited() < 4 * LIMIT


def test_headers_without_end(raw, connect, limited):
    """A head that never ends is given up."""
    server = raw(endless(b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 10_000 + b"\r\n"))
    with pytest.raises(TriggerRealtimeError):
        connect(server).wait_for_completion("run_1", timeout=30)
    assert limited() < LIMIT
