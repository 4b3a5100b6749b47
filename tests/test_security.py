"""What `SECURITY.md` promises, sentence by sentence.

More of it: test_security_limits.py, client/test_secrets.py.
"""

from __future__ import annotations

import functools
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support.raw import RawServer, Step, answer_bytes, hangup, hold, reply
from tests.support.settings import TOKEN
from tests.support.shape import SIGNATURE, answer, done, stored_output
from tests.support.shown import every_repr, everything_shown, locals_shown
from tests.support.waiting import eventually
from trigger_realtime_sync import (
    ConfigurationError,
    PayloadError,
    RealtimeClient,
    RetryPolicy,
    TriggerRealtimeError,
)
from trigger_realtime_sync.testing import RealtimeServer

SECRET = "hunter2hunter2"


@pytest.fixture
def connect(connect: Any) -> Any:
    retry = RetryPolicy(initial_delay=0.01, max_delay=0.05, max_retries=2)
    return functools.partial(connect, retry=retry)


# Base URLs.


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@api.example",
        f"https://{SECRET}@api.example/path",
        f"https://:{SECRET}@api.example",
        f"http://user:{SECRET}@[::1]:3030",
        f"https://user:{SECRET}@api.example:99999999",
        f"https://user:{SECRET}",
        f"https://api.example/?key={SECRET}",
        SECRET,
    ],
)
@pytest.mark.parametrize("how", ["argument", "environment", "subscription"])
def test_a_base_url_with_credentials_is_refused_unseen(url, how, monkeypatch):
    """However it comes in, and without being shown: a query may be a key, and so may what is no
    URL."""
    with pytest.raises(ConfigurationError) as caught:  # noqa: PT012
        if how == "environment":
            monkeypatch.setenv("TRIGGER_API_URL", url)
            RealtimeClient(TOKEN)
        elif how == "argument":
            RealtimeClient(TOKEN, base_url=url)
        else:
            with RealtimeClient(TOKEN, base_url="https://api.example") as client:
                client.subscribe_to_run("run_1", base_url=url)
    assert SECRET not in everything_shown(caught.value)


# Line breaks.

BREAKS = ["\r\n", "\n", "\r", "\0", "\r\nX-Injected: 1\r\n\r\n"]


@pytest.mark.parametrize("line_break", BREAKS)
def test_ids_and_tags_with_line_breaks_are_refused(line_break, connect):
    """Before anything is sent."""
    client = connect("http://127.0.0.1:9")
    text = f"run_1{line_break}x"
    for subscribe in (
        client.subscribe_to_run,
        client.subscribe_to_batch,
        client.subscribe_to_runs_with_tag,
        client.subscribe_to_run_with_streams,
        client.subscribe_to_runs_with_streams,
        lambda id_: client.subscribe_to_stream(id_, "key"),
        lambda id_: client.subscribe_to_stream("run_1", "key", last_event_id=id_),
        lambda id_: client.subscribe_to_run("run_1", skip_columns=[id_]),
        lambda id_: client.subscribe_to_runs_with_tag("tag", created_at=id_),
    ):
        with pytest.raises(ValueError):
            subscribe(text)


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize("how", ["argument", "environment", "callable", "branch", "header"])
def test_tokens_and_headers_with_line_breaks_are_refused(line_break, how, monkeypatch):
    """And what was refused is not shown."""
    if how == "environment" and "\0" in line_break:
        pytest.skip("the environment can't hold it")
    text = f"{SECRET}{line_break}x"
    with pytest.raises((ConfigurationError, TriggerRealtimeError)) as caught:  # noqa: PT012
        if how == "environment":
            monkeypatch.setenv("TRIGGER_SECRET_KEY", text)
            options: dict[str, Any] = {}
        elif how == "branch":
            options = {"access_token": TOKEN, "preview_branch": text}
        elif how == "header":
            options = {"access_token": TOKEN, "headers": {"X-Key": text}}
        else:
            options = {"access_token": (lambda: text) if how == "callable" else text}
        with RealtimeClient(base_url="http://127.0.0.1:9", **options) as client:
            client.wait_for_completion("run_1", timeout=5)
    if how != "branch":
        assert SECRET not in everything_shown(caught.value)


def test_what_stays_of_an_id_can_not_leave_its_segment(raw, connect):
    """Slashes, question marks, percents and dots of an id are encoded, so that they stay in it."""
    for run_id in ("../../api/v1/runs", "a/b", "a?b=c", "a#b", "a%2Fb", "..%2f", "a;b", "a&b=c"):
        server = raw(answer(done(run_id)))
        connect(server).wait_for_completion(run_id, timeout=5)
        [exchange] = server.exchanges
        path, _, query = exchange.target.partition("?")
        assert path.count("/") == 4
        assert path.startswith("/realtime/v1/runs/")
        assert query == "log=full&offset=-1"


@pytest.mark.parametrize("line_break", BREAKS)
def test_a_key_of_a_stream_can_not_leave_its_segment_either(line_break, raw, connect):
    """A task may name its stream as it likes."""
    server = raw(reply(404, {}, {"error": "Not found"}))
    with connect(server).subscribe_to_stream("run_1", f"a/b?c{line_break}d"):
        eventually(lambda: any("/streams/" in one.target for one in server.exchanges))
    [target] = {one.target for one in server.exchanges if "/streams/" in one.target}
    assert target.startswith("/realtime/v1/streams/run_1/a%2Fb%3Fc%")
    assert target.count("/") == 5


# Redirects.


def redirect_to(other: RawServer) -> Step:
    return reply(307, {"location": f"{other.url}/moved", "set-cookie": "session=stolen"})


def test_a_redirect_to_plain_http_carries_no_token(raw, connect, tls, bundle):
    """Though the host is the same one."""
    plain = raw(answer(done()))
    secure = raw(redirect_to(plain), tls=tls)
    connect(secure, verify=bundle).wait_for_completion("run_1", timeout=5)
    assert [one.token for one in secure.exchanges] == [TOKEN]
    assert [one.headers.get("authorization") for one in plain.exchanges] == [None]


def test_a_redirect_elsewhere_carries_no_header_of_the_user_s(raw, connect):
    """They may be keys of a gateway: those go to the API's own host alone."""
    other = raw(answer(done()))
    server = raw(redirect_to(other))
    client = connect(server, headers={"X-Gateway-Key": SECRET})
    client.wait_for_completion("run_1", timeout=5)
    assert [one.headers.get("x-gateway-key") for one in server.exchanges] == [SECRET]
    assert [one.headers.get("x-gateway-key") for one in other.exchanges] == [None]


def test_a_redirect_on_the_same_host_carries_both(raw, connect):
    """A gateway may move a path."""
    server = raw(reply(308, {"location": "/moved"}), answer(done()))
    client = connect(server, headers={"X-Gateway-Key": SECRET})
    client.wait_for_completion("run_1", timeout=5)
    assert [one.headers.get("x-gateway-key") for one in server.exchanges] == [SECRET, SECRET]
    assert [one.token for one in server.exchanges] == [TOKEN, TOKEN]


def test_there_and_back_again_carries_no_token(raw, connect):
    """Where another host redirects back to, the token is gone."""
    other = raw(lambda exchange: reply(302, {"location": f"{server.url}/back"})(exchange))
    server = raw(redirect_to(other), answer(done()))
    connect(server).wait_for_completion("run_1", timeout=5)
    told = [one.headers.get("authorization") for one in (*server.exchanges, *other.exchanges)]
    assert told == [f"Bearer {TOKEN}", None, None]


def test_cookies_are_not_kept(raw, connect):
    """A cookie that the server sets is not sent back."""
    busy = reply(503, {"set-cookie": "session=1; Path=/", "retry-after": "0"})
    server = raw(busy, answer(done()))
    connect(server).wait_for_completion("run_1", timeout=5)
    assert [one.headers.get("cookie") for one in server.exchanges] == [None, None]


# Presigned URLs.


def test_a_presigned_url_gets_no_token_and_no_header_of_the_user_s(raw, connect):
    """It is of a third party."""
    server = raw(stored_output(reply(200, {}, [1])))
    client = connect(server, headers={"X-Gateway-Key": SECRET})
    assert client.wait_for_completion("run_1", timeout=5).output == [1]
    last = server.exchanges[-1].headers
    assert "authorization" not in last
    assert "x-gateway-key" not in last
    assert "x-trigger-api-version" not in last


@pytest.mark.parametrize(
    "fetch",
    [
        reply(403, {"x-echo": SIGNATURE}, f"<Signature>{SIGNATURE}</Signature>"),
        lambda exchange: exchange.answer(500, {"date": exchange.target, exchange.target: "x"}),
        hangup(f"HTTP/1.1 {SIGNATURE}\r\n\r\n".encode()),
        lambda exchange: exchange.answer(307, {"location": f"{exchange.target}&again={SIGNATURE}"}),
        reply(302, {"location": f"http://[::1?{SIGNATURE}"}),
        lambda exchange: exchange.answer(302, {"location": exchange.target}),
        hangup(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1"),
    ],
    ids=[
        *("403", "500", "status line", "redirect", "redirect to nowhere"),
        *("redirect in a circle", "cut"),
    ],
)
def test_a_presigned_url_is_in_no_error_and_no_log(raw, connect, caplog, fetch):
    """Its signature is as good as a token, for minutes. urllib3 would log it at DEBUG."""
    caplog.set_level(logging.DEBUG)
    run = connect(raw(stored_output(fetch))).wait_for_completion("run_1", timeout=5)
    with pytest.raises(PayloadError) as caught:
        _ = run.output
    assert SIGNATURE not in everything_shown(caught.value)
    assert SIGNATURE not in locals_shown(caught.value)
    assert SIGNATURE not in caplog.text
    assert SIGNATURE not in repr([vars(record) for record in caplog.records])
    assert "/realtime/v1/runs/run_1" in caplog.text


def test_an_error_that_nobody_foresaw_shows_no_presigned_url(raw, connect, monkeypatch):
    """Nor does what lies below it; one that shows none is passed on as the cause."""
    run = connect(raw(stored_output(reply(200, {}, [1])))).wait_for_completion("run_1", timeout=5)
    errors = iter([RuntimeError(f"/store?signature={SIGNATURE}"), RuntimeError("no such thing")])

    def fail(*arguments: Any) -> Any:
        raise next(errors)

    monkeypatch.setattr("trigger_realtime_sync._feeds.packet_fetcher.Packet", fail)
    with pytest.raises(PayloadError) as caught:
        _ = run.output
    assert SIGNATURE not in everything_shown(caught.value)
    with pytest.raises(PayloadError, match="RuntimeError") as caught:
        _ = run.output
    assert "no such thing" in str(caught.value.__cause__)


def test_nobody_else_s_log_records_are_touched(raw, connect, caplog):
    """What urllib3 logs for other code of the process says all that it did."""
    caplog.set_level(logging.DEBUG)
    connect("http://127.0.0.1:9")
    requests.get(f"{raw(reply()).url}/theirs?signature={SIGNATURE}", timeout=5)
    assert f"/theirs?signature={SIGNATURE}" in caplog.text


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "", None, 7, "//host/x"])
def test_a_presigned_url_must_be_http(raw, connect, url):
    """A server can't make this client read files."""
    server = raw(stored_output(hold(), locate=reply(200, {}, {"presignedUrl": url})))
    run = connect(server).wait_for_completion("run_1", timeout=5)
    with pytest.raises(PayloadError):
        _ = run.output


# Tokens in the environment, and proxies.


def test_a_token_of_the_environment_is_as_secret(monkeypatch, caplog, connect):
    """It is sent, and not shown."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TRIGGER_SECRET_KEY", f"  {TOKEN}\n")
    with RealtimeServer(tokens=[TOKEN]) as server:
        run = server.create_run()
        server.complete_run(run)
        client = connect(server, access_token=None)
        assert client.wait_for_completion(run, timeout=5).is_success
        assert TOKEN not in repr(client) + repr(vars(client))
    assert TOKEN not in caplog.text


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that refuses connections: it is taken, so that no other test listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_credentials_of_a_proxy_are_in_no_error_and_no_log(
    how, monkeypatch, caplog, connect, unused_port
):
    """Even if the proxy can't be reached."""
    caplog.set_level(logging.DEBUG)
    proxy = f"http://user:{SECRET}@127.0.0.1:{unused_port}"
    options: dict[str, Any] = {}
    if how == "argument":
        options = {"proxies": {"http": proxy, "https": proxy}}
    else:
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    client = connect("https://api.example", **options)
    with pytest.raises(TriggerRealtimeError) as caught:
        client.wait_for_completion("run_1", timeout=20)
    assert SECRET not in everything_shown(caught.value)
    assert SECRET not in caplog.text
    assert SECRET not in every_repr()


def test_a_proxy_sees_the_token_of_https_never(raw, connect):
    """It is asked for a tunnel, and the token goes through that."""
    proxy = raw(hangup(answer_bytes(502)))
    client = connect("https://api.example", proxies={"https": proxy.url})
    with pytest.raises(TriggerRealtimeError):
        client.wait_for_completion("run_1", timeout=20)
    eventually(lambda: proxy.exchanges)
    assert {one.method for one in proxy.exchanges} == {"CONNECT"}
    assert all(TOKEN not in repr(one.headers) for one in proxy.exchanges)
