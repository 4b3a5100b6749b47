"""A token is shown to nobody but the server it is for."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support import shape
from tests.support.raw import hangup, reply
from tests.support.settings import TOKEN
from tests.support.shape import answer, done, row
from tests.support.shown import every_repr, everything_shown
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import ProtocolError, TriggerRealtimeError

ECHOES = [
    lambda token: (401, {}, {"error": f"bad token {token}", "code": token}),
    lambda token: (403, {"x-echo": token, "www-authenticate": f"Bearer {token}"}, f"{token}"),
    lambda token: (400, {}, "x" * 9_990 + token),
    lambda token: (422, {}, {"message": token, "title": token}),
    lambda token: (404, {}, f"Authorization: Bearer {token}\n" * 400),
    lambda token: (200, shape.headers(), [{"token": token}]),
    lambda token: (200, shape.headers(), {"headers": token}),
    lambda token: (200, {"electric-handle": token}, []),
]


@pytest.mark.parametrize("echo", ECHOES)
def test_it_is_in_no_error_and_no_log(raw, connect, caplog, echo):
    """Though the server echoes it, in headers or body, and all logs are at DEBUG."""
    caplog.set_level(logging.DEBUG)
    recorder = Recorder()
    server = raw(lambda exchange: exchange.answer(*echo(exchange.token)))
    client = connect(server)
    subscription = client.subscribe_to_run("run_1", **recorder.options)
    with pytest.raises(TriggerRealtimeError) as caught:
        subscription.wait_for_completion(10)
    part = TOKEN[:12]
    assert part not in everything_shown(caught.value)
    assert part not in caplog.text
    assert part not in repr(client) + repr(subscription) + repr(client.subscriptions)
    assert all(part not in repr(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("line", ["{} HTTP/1.1 200 OK", "HTTP/1.1 {}", "{}"])
def test_a_broken_status_line_that_echoes_it(line, raw, connect, caplog):
    """Nothing of a line that is no status line is quoted."""
    caplog.set_level(logging.DEBUG)
    echo = hangup(f"{line.format(TOKEN)}\r\n\r\n".encode())
    connect(raw(echo, answer(done()))).wait_for_completion("run_1", timeout=5)
    assert TOKEN[:12] not in caplog.text


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
