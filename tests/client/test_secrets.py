"""A token is shown to nobody but the server it is for."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest

from tests.support import shape
from tests.support.raw import by_path, hangup, hold, reply
from tests.support.settings import TOKEN
from tests.support.shape import answer, done, row
from tests.support.shown import every_repr, everything_shown, locals_shown
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import ProtocolError, RealtimeClient, RetryPolicy, TriggerRealtimeError

ECHOES = [
    lambda token: (401, {}, {"error": f"bad token {token}", "code": token}),
    lambda token: (403, {"x-echo": token, "www-authenticate": f"Bearer {token}"}, f"{token}"),
    lambda token: (400, {}, "x" * 9_990 + token),
    lambda token: (422, {}, {"message": token, "title": token}),
    lambda token: (404, {}, f"Authorization: Bearer {token}\n" * 400),
    lambda token: (200, shape.headers(), [{"token": token}]),
    lambda token: (200, shape.headers(), {"headers": token}),
    lambda token: (200, {"electric-handle": token}, []),
    lambda token: (401, {f"x-{token}": "1"}, f"a token that ends in {token[7:]}"),
    lambda token: (400, {"x-echo": token.upper()}, f"{token[5:-2].upper()} is no token"),
    lambda token: (200, shape.headers(), f"{{{token}"),
    lambda token: (200, shape.headers(), [{"key": token, "value": None, "headers": {}}]),
    lambda token: (200, {**shape.headers(), "content-encoding": f"{token}, gzip"}, "x"),
    lambda token: (302, {"location": f"http://127.0.0.1:9/{token}"}, ""),
    lambda token: (302, {"location": f"ftp://{token}/"}, ""),
]
GIVE_UP = RetryPolicy(initial_delay=0.01, max_delay=0.02, max_retries=2)


@pytest.mark.parametrize("echo", ECHOES)
def test_it_is_in_no_error_and_no_log(raw, connect, caplog, echo):
    """Though the server echoes it, in headers or body, and all logs are at DEBUG."""
    caplog.set_level(logging.DEBUG)
    recorder = Recorder()
    server = raw(lambda exchange: exchange.answer(*echo(exchange.token)))
    client = connect(server, retry=GIVE_UP)
    subscription = client.subscribe_to_run("run_1", **recorder.options)
    with pytest.raises(TriggerRealtimeError) as caught:
        subscription.wait_for_completion(10)
    assert_unseen(everything_shown(caught.value))
    assert_unseen(locals_shown(caught.value))
    assert_unseen(caplog.text)
    assert_unseen(repr(client) + repr(subscription) + repr(client.subscriptions))
    assert_unseen(repr([vars(record) for record in caplog.records]))


def assert_unseen(text: str, secret: str = TOKEN) -> None:
    """Nothing of the secret that is long enough to be of use is in the text."""
    pieces = [secret[at : at + 10].lower() for at in range(len(secret) - 9)]
    assert [piece for piece in pieces if piece in text.lower()] == []


@pytest.mark.parametrize(
    "sent",
    [
        "{} HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 {}\r\n\r\n",
        "{}\r\n\r\n",
        "HTTP/1.1 200 {}\r\ntransfer-encoding: chunked\r\n"
        "electric-offset: 1_1\r\nelectric-handle: h\r\n\r\n{}\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
    ],
    ids=["before", "status", "line", "chunk", "length"],
)
def test_a_broken_head_that_echoes_it(sent, raw, connect, caplog):
    """Nothing is quoted of a line that is no status line, or of a framing that is none."""
    caplog.set_level(logging.DEBUG)
    echo = hangup(sent.replace("{}", TOKEN).encode())
    subscription = connect(raw(echo), retry=GIVE_UP).subscribe_to_run("run_1")
    with pytest.raises(TriggerRealtimeError) as caught:
        subscription.wait_for_completion(5)
    assert_unseen(everything_shown(caught.value))
    assert_unseen(locals_shown(caught.value))
    assert_unseen(caplog.text)


STREAM_ECHOES = [
    reply(200, {"content-type": f"text/{TOKEN}"}, "x"),
    reply(200, {"content-type": "text/event-stream", "x-stream-version": TOKEN}, "data: 1\n\n"),
    reply(
        200,
        {"content-type": "text/event-stream", "x-stream-version": "v2"},
        f"event: error\ndata: no access with {TOKEN}\n\n",
    ),
    reply(
        200,
        {"content-type": "text/event-stream", "x-stream-version": "v2"},
        f"event: batch\ndata: {{{TOKEN}\n\n",
    ),
    reply(404, {"x-echo": TOKEN}, f"no stream for {TOKEN}"),
]


@pytest.mark.parametrize("echo", STREAM_ECHOES, ids=["type", "version", "error", "batch", "404"])
def test_a_stream_that_echoes_it(echo, raw, connect, caplog):
    """In a header, an event or a batch."""
    caplog.set_level(logging.DEBUG)
    server = raw(by_path({"/runs/": hold()}, echo))
    subscription = connect(server, retry=GIVE_UP).subscribe_to_stream("run_1", "k")
    with pytest.raises(TriggerRealtimeError) as caught:
        subscription.wait_for_completion(10)
    assert_unseen(everything_shown(caught.value))
    assert_unseen(locals_shown(caught.value))
    assert_unseen(caplog.text)


def test_an_error_that_nobody_foresaw(raw, connect, caplog, monkeypatch):
    """Its text may be of the network: it is logged with its traceback, and without the token."""

    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError(f"no such thing: {TOKEN}")

    monkeypatch.setattr("trigger_realtime_sync._wire.shape_log.ShapeLog.receive", fail)
    with pytest.raises(ProtocolError, match="the reader failed") as caught:
        connect(raw(answer(done()))).wait_for_completion("run_1", timeout=5)
    assert_unseen(everything_shown(caught.value))
    assert_unseen(caplog.text)
    assert "in _receive" in caplog.text


def test_headers_of_the_user_s_are_as_secret(raw, connect, caplog):
    """They may be keys of a gateway, which quotes them when it refuses them."""
    key = "key-0123456789-of-the-gateway"
    refused = reply(403, {"x-echo": key}, {"error": f"unknown: {key}"})
    with pytest.raises(TriggerRealtimeError) as caught:
        connect(raw(refused), headers={"X-Key": key, "X-Debug": "true"}).wait_for_completion("r")
    assert "unknown: ***" in str(caught.value)
    assert_unseen(everything_shown(caught.value), key)
    assert_unseen(caplog.text, key)


def test_the_password_of_a_proxy_is_as_secret(raw, connect):
    """A proxy may quote it, as it was sent or as it is."""
    sent = base64.b64encode(b"user:password-of-the-test").decode()
    proxy = raw(reply(407, {"x-echo": f"Basic {sent}"}, {"error": "not password-of-the-test"}))
    url = proxy.url.replace("//", "//user:password-of-the-test@")
    with pytest.raises(TriggerRealtimeError) as caught:
        connect("http://api.example", proxies={"http": url}).wait_for_completion("run_1")
    shown = everything_shown(caught.value)
    assert_unseen(shown, "password-of-the-test")
    assert_unseen(shown, sent)


def test_http_client_does_not_print_it(raw, connect, capsys, monkeypatch):
    """Though the process debugs all connections of http.client."""
    monkeypatch.setattr("http.client.HTTPConnection.debuglevel", 1)
    connect(raw(answer(done()))).wait_for_completion("run_1", timeout=5)
    assert_unseen(capsys.readouterr().out)


def test_the_variables_of_a_client_do_not_show_it():
    """A debugger shows what an object has."""
    with RealtimeClient(TOKEN) as client:
        assert_unseen(repr(vars(client)))


def test_it_is_in_no_repr(server, connect):
    """No object that a debugger or a log could show has it in its repr."""
    client = connect(server, headers={"X-Key": TOKEN})
    subscription = client.subscribe_to_run(server.create_run())
    server.wait_until_held(1)
    shown = every_repr()
    assert repr(client) in shown
    assert repr(subscription) in shown
    assert TOKEN not in shown


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netrc"
    path.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(path))


@pytest.mark.usefixtures("netrc")
def test_netrc_never_replaces_it(server, client):
    """Neither for the feed nor, where no token belongs, for the object store."""
    path = server.store_packet("[1]")
    run_id = server.create_run()
    server.complete_run(run_id, output=(path, "application/store"))
    assert client.wait_for_completion(run_id, timeout=5).output == [1]
    for request in server.requests:
        told = request.headers.get("authorization")
        assert told == (None if request.kind == "presigned" else f"Bearer {TOKEN}")


@pytest.mark.usefixtures("netrc")
def test_netrc_never_replaces_it_after_a_redirect(raw, connect):
    """On the same host the token goes along, as it is."""
    server = raw(reply(307, {"location": "/moved"}), answer(done()))
    connect(server).wait_for_completion("run_1", timeout=5)
    assert [exchange.token for exchange in server.exchanges] == [TOKEN, TOKEN]


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_another_host_is_not_shown_it(raw, connect, status):
    """A redirect elsewhere carries neither the token nor anything from .netrc."""
    other = raw(answer(done()))
    server = raw(reply(status, {"location": other.url}))
    assert connect(server).wait_for_completion("run_1", timeout=5).is_success
    assert [exchange.headers.get("authorization") for exchange in other.exchanges] == [None]


def test_redirects_in_a_circle_end(raw, connect):
    """With an error that says so."""
    server = raw(lambda exchange: exchange.answer(302, {"location": exchange.target}))
    with pytest.raises(TriggerRealtimeError, match="redirects"):
        connect(server).wait_for_completion("run_1", timeout=5)


@pytest.mark.parametrize(
    "location", ["", "http://[::1", "http://h:99999/", "ftp://x/", "http://", "\\"]
)
def test_redirects_to_nowhere_end(raw, connect, location):
    """A location that is none is an error of this library, or passes, but never a crash."""
    server = raw(reply(302, {"location": location}), answer(done()))
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run("run_1", **recorder.options)
    eventually(lambda: recorder.errors or recorder.completes)
    assert not any("the reader failed" in str(error) for error in recorder.errors)
    subscription.cancel()


@pytest.mark.parametrize(
    "location", ["ftp://x/", "file:///etc/x", "http://h:99999/", "http://[::1"]
)
def test_a_redirect_to_no_url_is_the_server_s_fault(raw, connect, location):
    """And no mistake in the user's options."""
    with pytest.raises(ProtocolError, match="redirects"):
        connect(raw(reply(302, {"location": location}))).wait_for_completion("run_1", timeout=5)


def test_a_callable_s_error_is_not_quoted(server, connect, caplog):
    """Its text may hold what it was asked with."""

    def provide() -> str:
        raise OSError(f"https://auth.example/?secret={TOKEN}")

    subscription = connect(server, access_token=provide).subscribe_to_run("run_1")
    eventually(lambda: "trying again" in caplog.text)
    subscription.cancel()
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("token", ["tr_x", "pk_12345678", "s"])
def test_a_token_of_any_length_is_hidden(token, raw, connect, caplog):
    """Though the server repeats it in an error, a header, or a row that does not decode."""
    caplog.set_level("DEBUG", "trigger_realtime_sync")
    rows = answer(row(number=f"<{token}>"), row("run_2"))
    body = {"error": f"who is <{token}>?", "code": f"<{token}>"}
    recorder = Recorder()
    client = connect(raw(rows, reply(401, {"x-echo": f"<{token}>"}, body)), access_token=token)
    client.subscribe_to_runs_with_tag("t", **recorder.options)
    broken, refused = recorder.wait("error", 2)
    shown = [
        str(broken),
        repr(broken),
        str(refused),
        refused.body,
        str(refused.headers),
        caplog.text,
    ]
    assert not [text for text in shown if f"<{token}>" in text]
    assert all("<***>" in text for text in shown[:4])
