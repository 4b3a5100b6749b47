"""Servers as simple as they get: HTTP/1.0, answers without a length, connections that end."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
import requests
import responses

from tests.support import shape
from tests.support.raw import Exchange, Hangup, Step, by_path, hangup, in_turn, reply, send
from tests.support.shape import answer, done, row
from tests.support.streams import PartRecorder
from tests.support.waiting import Recorder
from trigger_realtime_sync import (
    ApiConnectionError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RealtimeClient,
    RetryPolicy,
    UnprocessableEntityError,
)
from trigger_realtime_sync._feeds import run_feed as runs
from trigger_realtime_sync._http import session as http
from trigger_realtime_sync._http.requester import Requester

ONCE = RetryPolicy(initial_delay=0.01, max_delay=0.05, max_retries=0)


def unframed(status: int = 200, body: bytes = b"", **headers: str) -> Step:
    """Answer without a length: the body ends with its connection."""
    names = {**shape.headers(), **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = "".join(f"{name}: {text}\r\n" for name, text in names.items())
    return hangup(f"HTTP/1.0 {status} Whatever\r\n{head}\r\n".encode() + body)


def unframed_run(value: Any) -> Step:
    body = json.dumps([shape.message(value), shape.UP_TO_DATE])
    return unframed(body=body.encode(), electric_cursor="1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (422, UnprocessableEntityError),
    ],
)
def test_a_refusal_without_a_body_is_believed_at_once(status, kind, raw, connect):
    """Its head was whole: that is all there is to know."""
    server = raw(unframed(status))
    with pytest.raises(kind):
        connect(server, retry=ONCE).wait_for_completion("run_1", timeout=10)
    assert len(server.exchanges) == 1


def test_a_run_is_followed_over_answers_without_a_length(raw, connect):
    """Each ends with its connection."""
    recorder = Recorder()
    client = connect(raw(unframed_run(row()), unframed_run(done())), retry=ONCE)
    client.subscribe_to_run("run_1", **recorder.options).wait_for_completion(10)
    assert [run.is_finished for run in recorder.updates][-1]
    assert recorder.errors == []


def test_a_page_without_a_length_is_no_run(raw, connect):
    """A body that does not begin like JSON was not cut: it is retried, but not for ever."""
    server = raw(unframed(body=b"<html>an error page</html>"))
    with pytest.raises(ProtocolError, match="not JSON"):
        connect(server).wait_for_completion("run_1", timeout=10)
    assert len(server.exchanges) == 5


def test_streams_end_though_their_last_body_is_empty(raw, connect):
    """An empty answer means that nothing more is there, also where it has no length."""
    events = b"".join(b"id: %d-0\ndata: %d\n\n" % (n, n) for n in range(1, 6))
    bodies = (unframed(body=body, content_type="text/event-stream") for body in (events, b""))
    server = raw(by_path({"/streams/": in_turn(*bodies)}, answer(done())))
    parts = PartRecorder()
    client = connect(server, retry=ONCE)
    client.subscribe_to_stream("run_1", on_stream=parts).wait_for_completion(10)
    assert parts.all == [1, 2, 3, 4, 5]
    streams = [one for one in server.exchanges if "/streams/" in one.path]
    assert ["last-event-id" in one.headers for one in streams[:2]] == [False, True]


def test_a_head_that_ends_early_is_asked_for_again(raw, connect):
    """Though all that came of it looks like a whole refusal."""
    server = raw(hangup(b"HTTP/1.1 401 No\r\nx-a: 1\r\n"))
    with pytest.raises(ApiConnectionError):
        connect(server, retry=ONCE).wait_for_completion("run_1", timeout=10)


def test_a_kept_connection_that_was_closed_is_no_failure(raw, connect):
    """A server may close it just when the next request comes: that goes out again, at once."""
    served: set[Any] = set()

    def answer_once_a_connection(exchange: Exchange) -> None:
        if exchange.sock in served:
            raise Hangup
        served.add(exchange.sock)
        version = len(served)
        answer(done() if version == 5 else row(version=version))(exchange)

    recorder = Recorder()
    server = raw(answer_once_a_connection)
    client = connect(server, retry=ONCE)
    assert client.subscribe_to_run("run_1", **recorder.options).wait_for_completion(10).is_success
    assert len(server.exchanges) == 9
    assert recorder.errors == []


def test_a_held_poll_that_is_cut_off_is_backed_off_from(raw, connect, monkeypatch):
    """The connection was not idle: clients of a dead server must not all reconnect at once."""
    monkeypatch.setattr(http, "STALE_SECONDS", 0.05)

    def cut_off(exchange: Exchange) -> None:
        time.sleep(0.1)
        raise Hangup

    with pytest.raises(ApiConnectionError):
        connect(raw(answer(row()), cut_off), retry=ONCE).wait_for_completion("run_1", timeout=10)


def test_a_head_that_only_announces_the_answer_is_skipped(raw, connect):
    """103 Early Hints, of a proxy: else each answer would be taken for that of the next request."""

    def hinted(value: Any) -> Step:
        hint = send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n")
        return lambda exchange: (hint(exchange), answer(value)(exchange))

    recorder = Recorder()
    client = connect(raw(hinted(row()), hinted(done())), retry=ONCE)
    client.subscribe_to_run("run_1", **recorder.options).wait_for_completion(10)
    assert recorder.statuses == ["EXECUTING", "COMPLETED"]


@pytest.mark.parametrize("odd", [False, True])
def test_a_204_keeps_its_connection(odd, raw, connect, monkeypatch):
    """Old servers say so after each hold; one that announces a body may still send it."""
    monkeypatch.setattr(runs, "LONGEST_PAUSE", 0.0)
    extra = {"content-length": "5"} if odd else {}
    nothing = reply(204, {**shape.headers(cursor="1"), **extra})
    server = raw(answer(row()), *[nothing] * 5, answer(done()))
    assert connect(server).wait_for_completion("run_1", timeout=10).is_success
    connections = {id(exchange.sock) for exchange in server.exchanges}
    assert len(connections) == (6 if odd else 1)


def test_a_new_connection_that_is_closed_is_a_failure(raw, connect):
    """Else a server that hangs up on everyone would be asked without a pause."""
    server = raw(hangup())
    with pytest.raises(ApiConnectionError):
        connect(server, retry=ONCE).wait_for_completion("run_1", timeout=10)
    assert len(server.exchanges) == 1


def test_a_row_that_never_decodes_is_not_asked_for_without_pause(raw, connect, monkeypatch):
    """A server that sends it with every answer, at once, is backed off from."""
    paused = threading.Event()
    pause = Requester.pause

    def noted(self: Requester, seconds: float, at_least: float = 0.0) -> None:
        paused.set()
        pause(self, seconds, at_least)

    monkeypatch.setattr(Requester, "pause", noted)
    recorder = Recorder()
    client = connect(raw(answer(row(number="seven"))))
    client.subscribe_to_run("run_1", **recorder.options)
    assert paused.wait(10)
    assert not recorder.wait("error")[0].terminal


def test_it_works_with_mocked_answers():
    """Users who mock `requests` with the package `responses` get what they expect."""
    url = "https://api.trigger.dev/realtime/v1/runs"
    body = [shape.message(done(output=7)), shape.UP_TO_DATE]
    with responses.RequestsMock() as mocked, RealtimeClient("tr_x", retry=ONCE) as client:
        mocked.get(f"{url}/run_1", json=body, headers=shape.headers())
        mocked.get(f"{url}/run_2", status=401)
        mocked.get(f"{url}/run_3", body=requests.ConnectionError("no network"))
        assert client.subscribe_to_run("run_1").result(10) == 7
        with pytest.raises(AuthenticationError):
            client.wait_for_completion("run_2", timeout=10)
        with pytest.raises(ApiConnectionError):
            client.wait_for_completion("run_3", timeout=10)


def test_an_http_proxy_is_asked_for_the_whole_url(raw, connect):
    """And a server for a path."""
    server = raw(answer(done()))
    for base_url, proxies, start in (
        (server.url, None, "/realtime/v1/runs/run_1?"),
        ("http://api.example", {"http": server.url}, "http://api.example/realtime/v1/runs/run_1?"),
    ):
        client = connect(base_url, proxies=proxies)
        assert client.wait_for_completion("run_1", timeout=10).is_success
        assert server.exchanges[-1].target.startswith(start)
