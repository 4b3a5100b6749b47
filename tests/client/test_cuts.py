"""An answer that breaks off is asked for again, wherever it was cut."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import Any

import pytest

from tests.support import shape
from tests.support.raw import Exchange, Hangup, answer_bytes, hangup, send
from tests.support.shape import answer, done, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import AuthenticationError, RetryPolicy
from trigger_realtime_sync._feeds import run_feed as runs

IMMEDIATELY = RetryPolicy(initial_delay=1e-6, max_delay=1e-6)


def plain(rows: list[Any], offset: str, cursor: str | None) -> bytes:
    messages = [*map(shape.message, rows), shape.UP_TO_DATE]
    return answer_bytes(200, shape.headers(offset, cursor=cursor), messages)


def gzipped(rows: list[Any], offset: str, cursor: str | None) -> bytes:
    messages = [*map(shape.message, rows), shape.UP_TO_DATE]
    names = {**shape.headers(offset, cursor=cursor), "content-encoding": "gzip"}
    return answer_bytes(200, names, gzip.compress(json.dumps(messages).encode(), mtime=0))


def chunked(rows: list[Any], offset: str, cursor: str | None) -> bytes:
    body = json.dumps([*map(shape.message, rows), shape.UP_TO_DATE]).encode()
    names = {**shape.headers(offset, cursor=cursor), "transfer-encoding": "chunked"}
    head = "\r\n".join(["HTTP/1.1 200 OK", *(f"{n}: {v}" for n, v in names.items()), "", ""])
    parts = [body[i : i + 97] for i in range(0, len(body), 97)]
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


def small(version: int, status: str = "EXECUTING") -> Any:
    """A row of few columns: every byte costs a connection here."""
    whole = shape.row("run_1", version, status)
    return {name: whole[name] for name in ("id", "friendlyId", "status", "updatedAt")}


@pytest.mark.parametrize("form", [plain, gzipped, chunked])
def test_cut_at_every_byte(form, raw, connect, caplog):
    """Status line, headers, body: no state is lost, made up, or delivered twice."""
    caplog.set_level("ERROR")
    first = form([small(1)], "1_0", None)
    cuts = {"first": itertools.count(), "live": itertools.count()}
    second = form([small(2)], "2_0", "7")
    last = form([small(3, "COMPLETED_SUCCESSFULLY")], "3_0", "8")

    def cut_everywhere(exchange: Exchange) -> None:
        # Every request that is answered whole must name a place that was really given.
        assert exchange.query["offset"] in ("-1", "1_0", "2_0")
        if exchange.live:
            assert exchange.query["handle"] == "h1"
            assert exchange.query["cursor"] in ("", "7")
        data, kind = (second, "live") if exchange.live else (first, "first")
        if exchange.query["offset"] == "2_0":
            # Not before the second state was told: the two would coalesce.
            eventually(lambda: len(recorder.updates) == 2)
            exchange.send(last)
            raise Hangup
        cut = next(cuts[kind])
        exchange.send(data[:cut])
        if cut < len(data):
            raise Hangup

    recorder = Recorder()
    server = raw(cut_everywhere)
    client = connect(server, retry=IMMEDIATELY)
    subscription = client.subscribe_to_run("run_1", **recorder.options)
    assert subscription.wait_for_completion(300).is_success
    assert [run.updated_at.microsecond for run in recorder.updates] == [1000, 2000, 3000]
    assert recorder.errors == []
    # A chunked body is whole as soon as its last chunk can't be another one.
    assert len(server.exchanges) >= len(first) + len(second) - 8


@pytest.mark.parametrize("status", [401, 403, 404, 400, 409, 429, 503])
def test_an_error_that_is_cut_is_asked_for_again(status, raw, connect):
    """A refusal whose headers were cut may be another than it looks: it is not believed."""
    whole = answer_bytes(status, {"x-should-retry": "true"}, {"error": "x" * 20})
    # The last byte alone is left out when nothing of the head is missing.
    cuts = [hangup(whole[:at]) for at in (9, 12, 20, len(whole) - 21, len(whole) - 1)]
    recorder = Recorder()
    client = connect(raw(*cuts, answer(done())), retry=IMMEDIATELY)
    subscription = client.subscribe_to_run("run_1", **recorder.options)
    assert subscription.wait_for_completion(10).is_success
    assert recorder.errors == []


def test_an_error_that_is_always_cut_is_believed_in_the_end(raw, connect):
    """A server that can't frame its refusals refuses all the same."""
    whole = answer_bytes(401, {}, {"error": "no"})
    server = raw(hangup(whole[:-1]))
    with pytest.raises(AuthenticationError):
        connect(server, retry=IMMEDIATELY).wait_for_completion("run_1", timeout=10)
    assert len(server.exchanges) < 10


def test_cut_refusals_count_in_a_row(raw, connect):
    """A whole one between them proves that the server can frame them."""
    # A 400 without its body would not be known for a rotation.
    body = {"message": "Invalid request", "errors": {"offset": ["out of bounds"]}}
    busy, rotated = answer_bytes(503, {}, body), answer_bytes(400, {}, body)
    script = [[hangup(whole[:-1])] * 3 + [send(whole)] for whole in (busy, rotated)]
    client = connect(raw(*script[0], *script[1], answer(done())), retry=IMMEDIATELY)
    assert client.wait_for_completion("run_1", timeout=10).is_success


def test_a_204_that_is_cut_moves_nothing(raw, connect, monkeypatch):
    """Half an offset is another offset: what a 204 says of it is not needed, nor taken."""
    monkeypatch.setattr(runs, "LONGEST_PAUSE", 0.0)
    whole = answer_bytes(204, shape.headers("1795414742345_16010", cursor="77"))
    # After each live poll that failed, the client catches up by a request that is not live.
    caught_up = answer(offset="1795414742345_16010")
    cuts = [one for at in range(1, len(whole)) for one in (hangup(whole[:at]), caught_up)]
    server = raw(answer(row(), offset="1795414742345_16010"), *cuts, answer(done()))
    client = connect(server, retry=IMMEDIATELY)
    assert client.wait_for_completion("run_1", timeout=30).is_success
    live = [one.query for one in server.exchanges if one.live]
    assert {(query["offset"], query["handle"]) for query in live} == {("1795414742345_16010", "h1")}
    assert len(live) == len(whole)
