"""Encoded answers: whole only where their encoding ends, whatever their framing says."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from typing import Any

import pytest

from tests.support import shape
from tests.support.raw import Exchange, Hangup, Step, by_path, in_turn, reply
from tests.support.shape import answer, done, row
from tests.support.streams import DONE, chunked, frame
from tests.support.waiting import Recorder
from trigger_realtime_sync import (
    ApiConnectionError,
    AuthenticationError,
    PayloadError,
    ProtocolError,
    RetryPolicy,
)

TEXT = "".join(f"line {n} of the report\n" for n in range(2000))
RETRY = RetryPolicy(initial_delay=0.001, max_delay=0.002)
FRAMINGS = ["length", "chunked", "close"]


def framed(framing: str, body: bytes, headers: dict[str, str], status: int = 200) -> Step:
    """Answer with a body that its framing calls whole."""
    names = dict(headers)
    if framing == "length":
        names["content-length"] = str(len(body))
    elif framing == "chunked":
        names["transfer-encoding"] = "chunked"
        body = (chunked(body) if body else b"") + b"0\r\n\r\n"
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {text}" for name, text in names.items())]

    def step(exchange: Exchange) -> None:
        exchange.send("\r\n".join([*lines, "", ""]).encode() + body)
        if framing == "close":
            raise Hangup

    return step


def cuts(packed: bytes) -> list[bytes]:
    """Return beginnings of a compressed body, and one whose checksum is wrong."""
    ends = (0, 1, 5, 10, len(packed) // 2, len(packed) - 8, len(packed) - 1)
    return [*(packed[:end] for end in ends), packed[:-8] + bytes(8)]


def polled(*values: Any) -> bytes:
    return json.dumps([*map(shape.message, values), shape.UP_TO_DATE]).encode()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_poll_that_is_cut_is_asked_for_again(framing, raw, connect):
    """However often: no half of an answer is believed, nor is it the server's last word."""
    recorder = Recorder()
    headers = {**shape.headers("2_0", cursor="1"), "content-encoding": "gzip"}
    packed = gzip.compress(polled(row(version=1, metadata=json.dumps(TEXT)), done()))
    steps = [framed(framing, piece, headers) for piece in cuts(packed)]
    server = raw(answer(row()), *steps, framed(framing, packed, headers))
    subscription = connect(server, retry=RETRY).subscribe_to_run("run_1", **recorder.options)
    assert subscription.wait_for_completion(10).is_success
    assert recorder.errors == []
    assert [exchange.query["offset"] for exchange in server.exchanges[1:]] == ["1_1"] * 9


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_stored_output_that_is_cut_is_fetched_again(framing, encoding, raw, connect):
    """A text is a text however short it is: only its encoding tells that it was cut."""
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    packed = pack(TEXT.encode())
    headers = {"content-type": "text/plain", "content-encoding": encoding}
    pieces = cuts(packed) if encoding == "gzip" else [packed[:end] for end in (5, 999, -1)]
    for group in (pieces[at : at + 3] for at in range(0, len(pieces), 3)):
        steps = [framed(framing, piece, headers) for piece in group]
        fetch = in_turn(*steps, framed(framing, packed, headers))
        client = connect(raw(shape.stored_output(fetch)), retry=RETRY)
        assert client.wait_for_completion("run_1", timeout=10).output == TEXT


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_stored_output_that_is_always_cut(framing, raw, connect):
    """An error where it is read, and not a shorter value."""
    headers = {"content-type": "text/plain", "content-encoding": "gzip"}
    fetch = framed(framing, gzip.compress(TEXT.encode())[:-1], headers)
    run = connect(raw(shape.stored_output(fetch))).wait_for_completion("run_1", timeout=10)
    with pytest.raises(PayloadError, match="ended within its content-encoding") as caught:
        _ = run.output
    assert isinstance(caught.value.__cause__, ApiConnectionError)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_presigned_url_that_is_cut_is_asked_for_again(framing, raw, connect):
    """Half a URL may be a URL."""
    headers = {"content-encoding": "gzip"}

    def locate(exchange: Exchange) -> None:
        url = f"http://{exchange.headers['host']}/store"
        packed = gzip.compress(json.dumps({"presignedUrl": url}).encode())
        framed(framing, packed[: -next(left) or None], headers)(exchange)

    left = itertools.chain([9, 1], itertools.repeat(0))
    server = raw(shape.stored_output(reply(200, {}, "7"), locate))
    client = connect(server, retry=RETRY)
    assert client.wait_for_completion("run_1", timeout=10).output == 7


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_refusal_that_is_cut(framing, raw, connect):
    """It is asked for again; where it is always cut, its status counts without its body."""
    packed = gzip.compress(b'{"error": "no"}')
    headers = {"content-encoding": "gzip"}
    # Without its body this is no rotation, but the end.
    lost = gzip.compress(b'{"errors": {"offset": ["out of bounds"]}}')
    once = [framed(framing, piece, headers, 400) for piece in (lost[:-1], lost)]
    client = connect(raw(answer(row()), *once, answer(done())), retry=RETRY)
    assert client.wait_for_completion("run_1", timeout=10).is_success
    server = raw(framed(framing, packed[:-1], headers, 401))
    with pytest.raises(AuthenticationError):
        connect(server, retry=RETRY).wait_for_completion("run_1", timeout=10)
    assert len(server.exchanges) < 10


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_stream_that_is_cut_has_not_ended(framing, version, raw, connect):
    """The body that drains a finished run's stream is read to the end of its encoding."""
    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    if version == "v2":
        headers["x-stream-version"] = "v2"
    squeeze = zlib.compressobj(wbits=31)
    start = squeeze.compress(b": hello\n\n") + squeeze.flush(zlib.Z_SYNC_FLUSH)
    end = DONE if version == "v2" else b""
    packed = start + squeeze.compress(frame(version, 1) + end) + squeeze.flush()
    pieces = [packed[:5], start, packed[:-1], packed]
    streams = in_turn(*(framed(framing, piece, headers) for piece in pieces))
    server = raw(by_path({"/streams/": streams}, answer(done())))
    subscription = connect(server, retry=RETRY).subscribe_to_stream("run_1", "s")
    assert subscription.wait_for_completion(10).is_success
    assert subscription.parts == [[1]]


def test_a_204_has_nothing_to_decode(raw, connect):
    """Whatever its headers say."""
    nothing = reply(204, {**shape.headers(), "content-encoding": "gzip"})
    client = connect(raw(answer(row()), nothing, nothing, answer(done())))
    assert client.wait_for_completion("run_1", timeout=10).is_success


def test_what_is_asked_for(raw, connect):
    """gzip alone, of every host, whatever packages are installed; of streams nothing."""
    server = raw(shape.stored_output(reply(200, {}, "7")))
    assert connect(server).wait_for_completion("run_1", timeout=10).output == 7
    accepted = {one.path.split("/")[1]: one.headers["accept-encoding"] for one in server.exchanges}
    assert accepted == {"realtime": "gzip", "api": "gzip", "store": "gzip"}
    stream = raw(by_path({"/streams/": reply(200)}, answer(done())))
    connect(stream).subscribe_to_stream("run_1", "s").wait_for_completion(10)
    asked = [one for one in stream.exchanges if "/streams/" in one.path]
    assert {one.headers["accept-encoding"] for one in asked} == {"identity"}


@pytest.mark.parametrize("name", ["compress", "gzip, gzip", "whatever"])
def test_an_encoding_that_nothing_decodes(name, raw, connect):
    """Nobody asked for it: an error that says so, at once."""
    server = raw(reply(200, {**shape.headers(), "content-encoding": name}, polled(done())))
    with pytest.raises(ProtocolError, match="content-encoding"):
        connect(server).wait_for_completion("run_1", timeout=10)
    assert len(server.exchanges) == 1


def test_a_refusal_in_an_encoding_that_nothing_decodes(raw, connect):
    """Its status is the same without its body."""
    strange = {"content-encoding": "whatever"}
    server = raw(reply(503, strange, "x"), answer(done()))
    assert connect(server).wait_for_completion("run_1", timeout=10).is_success
    with pytest.raises(AuthenticationError):
        connect(raw(reply(401, strange, "x"))).wait_for_completion("run_1", timeout=10)


@pytest.mark.parametrize("name", ["identity", "aws-chunked", "UTF-8"])
def test_a_name_that_is_no_encoding(name, raw, connect):
    """Object stores return how an object was uploaded: its bytes are what they are."""
    headers = {"content-type": "text/plain", "content-encoding": name}
    client = connect(raw(shape.stored_output(reply(200, headers, TEXT))))
    assert client.wait_for_completion("run_1", timeout=10).output == TEXT


@pytest.mark.parametrize("cut", [0, 5, 40, -1])
def test_every_request_of_a_run(cut, server, connect):
    """A batch's list of runs, snapshots, changes, presigned URLs, stored values: each is asked for
    again."""
    run_id = server.create_run(payload=(server.store_packet("[1, 2]"), "application/store"))
    batch_id = server.batch(run_id)
    for kind in ("api", "batch", "packets", "presigned"):
        server.fail_next(match=kind, live=False, cut_body_at=cut, reframed=True)
    server.fail_next(match="batch", live=True, after_hold=True, cut_body_at=cut, reframed=True)
    recorder = Recorder()
    client = connect(server, retry=RETRY)
    subscription = client.subscribe_to_batch(batch_id, **recorder.options)
    server.wait_until_held()
    server.complete_run(run_id, output="done")
    (run,) = subscription.wait_for_completion(20)
    assert (run.payload, run.output) == ([1, 2], "done")
    assert recorder.errors == []
