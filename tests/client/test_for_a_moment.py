"""What ends a subscription at its start may be a moment's trouble later: a login page of a network,
an inspection of TLS, a deployment behind a proxy. What was live goes on."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from tests.support.raw import Step, in_turn, reply
from tests.support.settings import QUICK
from tests.support.shape import UP_TO_DATE, answer, done, headers, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import (
    ApiError,
    ConfigurationError,
    ConnectionUntrusted,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RetryPolicy,
    State,
)
from trigger_realtime_sync._channel import requesters
from trigger_realtime_sync._http import retry as failures
from trigger_realtime_sync.testing import RealtimeServer

PAGE = "<html>Please log in</html>"
HTML = {"content-type": "text/html; charset=utf-8"}


@pytest.fixture
def server(tls: ssl.SSLContext) -> Iterator[RealtimeServer]:
    with RealtimeServer(ssl_context=tls) as server:
        yield server


@pytest.fixture
def stranger(server: RealtimeServer, tls: ssl.SSLContext) -> Callable[[], None]:
    """Let someone else answer from now on, whose certificate nobody knows."""

    def come_between() -> None:
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        server.drop_connections()

    return come_between


@pytest.fixture
def back(authority: trustme.CA, tls: ssl.SSLContext) -> Callable[[], None]:
    """Let the server answer again."""
    return lambda: authority.issue_cert("127.0.0.1").configure_cert(tls)


KINDS: dict[str, Callable[[Any, Recorder], Any]] = {
    "run": lambda client, seen: client.subscribe_to_run("run_1", **seen.options),
    "tag": lambda client, seen: client.subscribe_to_runs_with_tag("t", **seen.options),
    "batch": lambda client, seen: client.subscribe_to_batch("batch_1", **seen.options),
    "stream": lambda client, seen: client.subscribe_to_stream("run_1", "s", **seen.options),
    "streams": lambda client, seen: client.subscribe_to_run_with_streams("run_1", **seen.options),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_that_is_not_trusted_for_a_moment(
    kind, server, connect, bundle, stranger, back
):
    """It is told once, whatever is read of the subscription, and the subscription goes on."""
    server.create_run(id="run_1", tags=["t"], realtime_streams=["s"], status="EXECUTING")
    server.append("run_1", "s", "a")
    server.batch("run_1", id="batch_1")
    recorder = Recorder()
    client = connect(server, verify=bundle)
    subscription = KINDS[kind](client, recorder)
    server.wait_until_held(1)
    if kind.startswith("stream"):
        eventually(lambda: server.open_streams == 1)
    stranger()
    error = recorder.wait("error")[0]
    assert isinstance(error, ConnectionUntrusted)
    assert error.terminal is False
    assert "not trusted" in str(error)
    eventually(lambda: subscription.state is State.RETRYING)
    back()
    eventually(lambda: subscription.state is State.LIVE)
    server.wait_until_held(1)
    server.complete_run("run_1")
    finished = subscription.wait_for_completion(10, **({"expected": 1} if kind == "tag" else {}))
    assert finished is not None
    assert recorder.errors == [error]


def test_it_is_told_again_after_an_hour(server, connect, bundle, stranger, monkeypatch):
    """Where nobody has acted."""
    monkeypatch.setattr(requesters, "UNTRUSTED_AGAIN_SECONDS", 0.2)
    server.create_run(id="run_1")
    recorder = Recorder()
    connect(server, verify=bundle).subscribe_to_run("run_1", **recorder.options)
    server.wait_until_held(1)
    stranger()
    assert [error.terminal for error in recorder.wait("error", 2)[:2]] == [False, False]


def test_a_new_subscription_of_a_client_that_has_worked(server, connect, bundle, stranger, back):
    """It waits as well: the client's certificates are right."""
    server.create_run(id="run_1")
    client = connect(server, verify=bundle)
    client.subscribe_to_run("run_1").cancel()
    with client.subscribe_to_run("run_1"):
        server.wait_until_held(1)
    stranger()
    recorder = Recorder()
    subscription = client.subscribe_to_run("run_1", **recorder.options)
    assert isinstance(recorder.wait("error")[0], ConnectionUntrusted)
    back()
    server.complete_run("run_1")
    assert subscription.wait_for_completion(10).is_success


def test_a_client_that_never_worked(server, connect, stranger):
    """An unknown authority is a matter of configuration: terminal, and it says what to do."""
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run("run_1", **recorder.options)
    with pytest.raises(ConfigurationError, match="verify= takes the path"):
        subscription.wait_for_completion(5)
    assert [error.terminal for error in recorder.wait("error")] == [True]


def test_attempts_that_are_counted(server, connect, bundle, stranger):
    """With `max_retries` the last refusal ends the subscription."""
    retry = RetryPolicy(QUICK.initial_delay, QUICK.max_delay, max_retries=2)
    server.create_run(id="run_1")
    recorder = Recorder()
    client = connect(server, verify=bundle, retry=retry)
    subscription = client.subscribe_to_run("run_1", **recorder.options)
    server.wait_until_held(1)
    stranger()
    with pytest.raises(ConnectionUntrusted) as caught:
        subscription.wait_for_completion(10)
    assert [error.terminal for error in recorder.wait("error", 2)] == [False, True]
    assert caught.value.terminal


def test_a_redirect_to_a_login_page_that_nobody_trusts(raw, connect, tls):
    """Without TLS a network sends whoever is not logged in to a page of its own."""
    login = raw(reply(200, HTML, PAGE), tls=tls)
    gone = reply(302, {"location": f"{login.url}/login"})
    server = raw(answer(row()), gone, gone, answer(done()))
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run("run_1", **recorder.options)
    assert subscription.wait_for_completion(10).is_success
    assert [type(error) for error in recorder.errors] == [ConnectionUntrusted]


FOREIGN: dict[str, tuple[Step, type[Exception]]] = {
    "a page": (reply(200, HTML, PAGE), ProtocolError),
    "no such host": (reply(404, HTML, PAGE), NotFoundError),
    "blocked": (reply(403, HTML, PAGE), PermissionDeniedError),
    "another success": (reply(203, headers(), [UP_TO_DATE]), ApiError),
    "not modified": (reply(304), ApiError),
    "a redirect to nowhere": (reply(302, {"location": "http://[::1"}), ProtocolError),
    "a circle": (
        lambda exchange: exchange.answer(302, {"location": exchange.target}),
        ProtocolError,
    ),
    "an unknown encoding": (
        reply(200, {**headers(), "content-encoding": "whatever"}, "x"),
        ProtocolError,
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_answer_that_is_not_the_api_s(name, raw, connect):
    """Once answers of the API were read it is waited out, more than five in a row."""
    foreign, _ = FOREIGN[name]
    # A circle takes six requests each time.
    server = raw(answer(row()), *[foreign] * 60, answer(done()))
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run("run_1", **recorder.options)
    assert subscription.wait_for_completion(20).is_success
    assert recorder.errors == []


@pytest.mark.parametrize("name", FOREIGN)
def test_it_is_not_waited_out_for_ever(name, raw, connect, monkeypatch):
    """After a minute it is taken for the server's word."""
    monkeypatch.setattr(failures, "UNREADABLE_SECONDS", 0.3)
    foreign, kind = FOREIGN[name]
    server = raw(answer(row()), foreign)
    subscription = connect(server).subscribe_to_run("run_1")
    with pytest.raises(kind):
        subscription.wait_for_completion(20)
    assert subscription.state is State.FAILED


@pytest.mark.parametrize("name", FOREIGN)
def test_the_first_answer_is_the_server_s_word(name, raw, connect):
    """A wrong base_url is told soon."""
    foreign, kind = FOREIGN[name]
    server = raw(foreign)
    with pytest.raises(kind):
        connect(server).subscribe_to_run("run_1").wait_for_completion(10)
    assert len(server.exchanges) <= 6


def test_a_refusal_of_the_api_is_no_page(raw, connect):
    """It ends what was live at once: waiting does not heal it."""
    refusal = in_turn(reply(403, {"content-type": "application/json"}, {"error": "no scope"}))
    server = raw(answer(row()), refusal)
    with pytest.raises(PermissionDeniedError):
        connect(server).subscribe_to_run("run_1").wait_for_completion(10)
    assert len(server.exchanges) == 2
