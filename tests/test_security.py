"""What `SECURITY.md` promises, sentence by sentence.

More of it: test_security_limits.py, client/test_secrets.py.
"""

from __future__ import annotations

import logging
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

from tests.support import shape
from tests.support.raw import Exchange, Hangup, RawServer
from tests.support.waiting import eventually
from trigger_realtime_sync import (
    ConfigurationError,
    PayloadError,
    RealtimeClient,
    RetryPolicy,
    TriggerRealtimeError,
)
from trigger_realtime_sync.testing import RealtimeServer

TOKEN = "tr_very_secret_token_0123456789"
SECRET = "hunter2hunter2"
QUICK = RetryPolicy(initial_delay=0.01, max_delay=0.05, max_retries=2)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRIGGER_ACCESS_TOKEN", "TRIGGER_SECRET_KEY", "TRIGGER_API_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def raw(stack: ExitStack) -> Callable[..., RawServer]:
    return lambda handle, **options: stack.enter_context(RawServer(handle, **options))


@pytest.fixture
def connect(stack: ExitStack) -> Callable[..., RealtimeClient]:
    def make(url: str, **options: Any) -> RealtimeClient:
        options = {"access_token": TOKEN, "retry": QUICK, **options}
        return stack.enter_context(RealtimeClient(base_url=url, **options))

    return make


def everything_said(error: BaseException) -> str:
    """All that could be printed of an error."""
    shown = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    return "\n".join(shown)


# Base URLs.


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@api.example",
        f"https://{SECRET}@api.example/path",
        f"https://:{SECRET}@api.example",
        f"http://user:{SECRET}@[::1]:3030",
        f"https://user:{SECRET}@api.example:99999999",
    ],
)
@pytest.mark.parametrize("how", ["argument", "environment", "subscription"])
def test_a_base_url_with_credentials_is_refused_unseen(
    url: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it comes in, and without being shown."""
    with pytest.raises(ConfigurationError) as caught:  # noqa: PT012
        if how == "environment":
            monkeypatch.setenv("TRIGGER_API_URL", url)
            RealtimeClient(TOKEN)
        elif how == "argument":
            RealtimeClient(TOKEN, base_url=url)
        else:
            with RealtimeClient(TOKEN, base_url="https://api.example") as client:
                client.subscribe_to_run("run_1", base_url=url)
    assert SECRET not in everything_said(caught.value)


# Line breaks.

BREAKS = ["\r\n", "\n", "\r", "\0", "\r\nX-Injected: 1\r\n\r\n"]


@pytest.mark.parametrize("line_break", BREAKS)
def test_ids_and_tags_with_line_breaks_are_refused(line_break: str, connect: Any) -> None:
    """Before anything is sent."""
    client = connect("http://127.0.0.1:9")
    text = f"run_1{line_break}x"
    for subscribe in (
        client.subscribe_to_run,
        client.subscribe_to_batch,
        client.subscribe_to_runs_with_tag,
        client.subscribe_to_run_with_streams,
        client.subscribe_to_runs_with_streams,
        lambda id_: client.subscribe_to_stream("run_1", id_),
        lambda id_: client.subscribe_to_stream(id_, "key"),
        lambda id_: client.subscribe_to_stream("run_1", "key", last_event_id=id_),
        lambda id_: client.subscribe_to_run("run_1", skip_columns=[id_]),
        lambda id_: client.subscribe_to_runs_with_tag("tag", created_at=id_),
    ):
        with pytest.raises(ValueError):
            subscribe(text)


@pytest.mark.parametrize("line_break", BREAKS)
@pytest.mark.parametrize("how", ["argument", "environment", "callable", "branch", "header"])
def test_tokens_and_headers_with_line_breaks_are_refused(
    line_break: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        assert SECRET not in everything_said(caught.value)


def test_what_stays_of_an_id_can_not_leave_its_segment(raw: Any, connect: Any) -> None:
    """Slashes, question marks, percents and dots of an id are encoded, so that they stay in it."""
    seen: list[str] = []

    def handle(exchange: Exchange) -> None:
        seen.append(exchange.target)
        shape.answer(exchange, shape.done())

    client = connect(raw(handle).url)
    for run_id in ("../../api/v1/runs", "a/b", "a?b=c", "a#b", "a%2Fb", "..%2f", "a;b", "a&b=c"):
        client.wait_for_completion(run_id, timeout=5)
    for target in seen:
        path, _, query = target.partition("?")
        assert path.count("/") == 4
        assert path.startswith("/realtime/v1/runs/")
        assert query == "log=full&offset=-1"


# Redirects.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


def finish(exchange: Exchange) -> None:
    shape.answer(exchange, shape.done())


def redirect_to(other: RawServer) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.answer(
        307, {"location": other.url + exchange.target, "set-cookie": "session=stolen"}
    )


def test_a_redirect_to_plain_http_carries_no_token(
    raw: Any, connect: Any, tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Any
) -> None:
    """Though the host is the same one."""
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    plain = raw(finish)
    secure = raw(redirect_to(plain), tls=tls)
    connect(secure.url, verify=str(bundle)).wait_for_completion("run_1", timeout=5)
    assert [one.token for one in secure.exchanges] == [TOKEN]
    assert [one.headers.get("authorization") for one in plain.exchanges] == [None]


def test_a_redirect_elsewhere_carries_no_header_of_the_user_s(raw: Any, connect: Any) -> None:
    """They may be keys of a gateway: those go to the API's own host alone."""
    other = raw(finish)
    server = raw(redirect_to(other))
    client = connect(server.url, headers={"X-Gateway-Key": SECRET})
    client.wait_for_completion("run_1", timeout=5)
    assert [one.headers.get("x-gateway-key") for one in server.exchanges] == [SECRET]
    assert [one.headers.get("x-gateway-key") for one in other.exchanges] == [None]


def test_a_redirect_on_the_same_host_carries_both(raw: Any, connect: Any) -> None:
    """A gateway may move a path."""

    def handle(exchange: Exchange) -> None:
        if exchange.path.startswith("/moved"):
            finish(exchange)
        else:
            exchange.answer(308, {"location": "/moved" + exchange.target})

    server = raw(handle)
    client = connect(server.url, headers={"X-Gateway-Key": SECRET})
    client.wait_for_completion("run_1", timeout=5)
    assert [one.headers.get("x-gateway-key") for one in server.exchanges] == [SECRET, SECRET]
    assert [one.token for one in server.exchanges] == [TOKEN, TOKEN]


def test_there_and_back_again_carries_no_token(raw: Any, connect: Any) -> None:
    """Where another host redirects back to, the token is gone."""
    server: Any = None
    other = raw(lambda exchange: exchange.answer(302, {"location": server.url + "/back"}))

    def handle(exchange: Exchange) -> None:
        if exchange.path == "/back":
            finish(exchange)
        else:
            redirect_to(other)(exchange)

    server = raw(handle)
    connect(server.url).wait_for_completion("run_1", timeout=5)
    told = [one.headers.get("authorization") for one in (*server.exchanges, *other.exchanges)]
    assert told == [f"Bearer {TOKEN}", None, None]


def test_cookies_are_not_kept(raw: Any, connect: Any) -> None:
    """What a server wants remembered is forgotten."""

    def handle(exchange: Exchange) -> None:
        if exchange.index == 0:
            exchange.answer(503, {"set-cookie": "session=1; Path=/", "retry-after": "0"})
        else:
            finish(exchange)

    server = raw(handle)
    connect(server.url).wait_for_completion("run_1", timeout=5)
    assert [one.headers.get("cookie") for one in server.exchanges] == [None, None]


# Presigned URLs.


def presigned(raw: Any, answer: Callable[[Exchange], None]) -> RawServer:
    """A server whose run has a large output, and the store of it on the same port."""

    def handle(exchange: Exchange) -> None:
        if exchange.path.startswith("/realtime"):
            done = shape.done()
            done.update(output="packets/x.json", outputType="application/store")
            shape.answer(exchange, done)
        elif exchange.path.startswith("/api"):
            url = f"http://{exchange.headers['host']}/store?X-Amz-Signature={SECRET}"
            exchange.answer(200, {}, {"presignedUrl": url})
        else:
            answer(exchange)

    server: RawServer = raw(handle)
    return server


def test_a_presigned_url_gets_no_token_and_no_header_of_the_user_s(raw: Any, connect: Any) -> None:
    """It is of a third party."""
    server = presigned(raw, lambda exchange: exchange.answer(200, {}, [1]))
    client = connect(server.url, headers={"X-Gateway-Key": SECRET})
    assert client.wait_for_completion("run_1", timeout=5).output == [1]
    last = server.exchanges[-1].headers
    assert "authorization" not in last
    assert "x-gateway-key" not in last
    assert "x-trigger-api-version" not in last


def cut(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[1")
    raise Hangup


@pytest.mark.parametrize(
    "answer",
    [
        lambda exchange: exchange.answer(403, {}, f"<Signature>{SECRET}</Signature>"),
        lambda exchange: exchange.answer(500, {"x": SECRET}),
        lambda exchange: exchange.answer(302, {"location": f"http://[::1?{SECRET}"}),
        lambda exchange: exchange.answer(302, {"location": exchange.target}),
        cut,
    ],
    ids=["403", "500", "redirect to nowhere", "redirect in a circle", "cut"],
)
def test_a_presigned_url_is_in_no_error_and_no_log(
    raw: Any, connect: Any, caplog: pytest.LogCaptureFixture, answer: Any
) -> None:
    """Its signature is as good as a token, for minutes. (urllib3 at DEBUG logs paths by itself.)"""
    caplog.set_level(logging.DEBUG, "trigger_realtime_sync")
    server = presigned(raw, answer)
    run = connect(server.url).wait_for_completion("run_1", timeout=5)
    with pytest.raises(PayloadError) as caught:
        _ = run.output
    cause = caught.value.__cause__
    said = str(caught.value) + repr(caught.value) + str(cause)
    said += "".join(r.getMessage() for r in caplog.records if r.name == "trigger_realtime_sync")
    assert f"Signature={SECRET}" not in said


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "", None, 7, "//host/x"])
def test_a_presigned_url_must_be_http(raw: Any, connect: Any, url: Any) -> None:
    """A server can't make this client read files."""

    def handle(exchange: Exchange) -> None:
        if exchange.path.startswith("/api"):
            exchange.answer(200, {}, {"presignedUrl": url})
        else:
            done = shape.done()
            done.update(output="packets/x.json", outputType="application/store")
            shape.answer(exchange, done)

    run = connect(raw(handle).url).wait_for_completion("run_1", timeout=5)
    with pytest.raises(PayloadError):
        _ = run.output


# Tokens in the environment, and proxies.


def test_a_token_of_the_environment_is_as_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, connect: Any
) -> None:
    """It is sent, and not shown."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TRIGGER_SECRET_KEY", f"  {TOKEN}\n")
    with RealtimeServer(tokens=[TOKEN]) as server:
        run = server.create_run()
        server.complete_run(run)
        client = connect(server.url, access_token=None)
        assert client.wait_for_completion(run, timeout=5).is_success
        assert TOKEN not in repr(client) + repr(vars(client))
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_credentials_of_a_proxy_are_in_no_error_and_no_log(
    how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, connect: Any
) -> None:
    """Of one that can't be reached, too."""
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    proxy = f"http://user:{SECRET}@127.0.0.1:{port}"
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
    assert SECRET not in everything_said(caught.value)
    assert SECRET not in caplog.text
    assert SECRET not in repr(client) + repr(client._engine)


def test_a_proxy_sees_the_token_of_https_never(raw: Any, connect: Any) -> None:
    """It is asked for a tunnel, and the token goes through that."""

    def refuse(exchange: Exchange) -> None:
        exchange.answer(502)
        raise Hangup

    proxy = raw(refuse)
    client = connect("https://api.example", proxies={"https": proxy.url})
    with pytest.raises(TriggerRealtimeError):
        client.wait_for_completion("run_1", timeout=20)
    eventually(lambda: proxy.exchanges)
    assert {one.method for one in proxy.exchanges} == {"CONNECT"}
    assert all(TOKEN not in repr(one.headers) for one in proxy.exchanges)
