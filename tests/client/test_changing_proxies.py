"""The proxies of the environment change while a client lives: a network is joined or left."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.raw import Exchange, Hangup, hangup, hold
from tests.support.shape import answer, done, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import ConfigurationError, State

# A name that no server has (RFC 6761).
NOWHERE = "http://api.invalid"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def closed() -> Iterator[str]:
    """The URL of a proxy that has gone: its port is taken, and refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_proxy_that_is_needed_from_now_on(raw, connect, monkeypatch):
    """A subscription that can't reach its server finds the proxy when there is one."""
    proxy = raw(answer(done()))
    subscription = connect(NOWHERE).subscribe_to_run("run_1")
    eventually(lambda: subscription.state is State.RETRYING)
    monkeypatch.setenv("http_proxy", proxy.url)
    assert subscription.wait_for_completion(10).is_success
    assert proxy.exchanges[0].target.startswith(f"{NOWHERE}/realtime/")


def test_a_proxy_that_is_not_needed_any_more(raw, connect, monkeypatch, closed):
    """A subscription whose proxy has gone asks the server itself."""
    monkeypatch.setenv("http_proxy", closed)
    subscription = connect(raw(answer(done()))).subscribe_to_run("run_1")
    eventually(lambda: subscription.state is State.RETRYING)
    monkeypatch.delenv("http_proxy")
    assert subscription.wait_for_completion(10).is_success


def test_a_proxy_that_leaves_a_live_subscription(raw, connect, monkeypatch):
    """It goes on through the next one, at the same place."""
    first, second = raw(answer(row()), hangup()), raw(answer(done()))
    monkeypatch.setenv("http_proxy", first.url)
    recorder = Recorder()
    subscription = connect(NOWHERE).subscribe_to_run("run_1", **recorder.options)
    recorder.wait("update")
    monkeypatch.setenv("http_proxy", second.url)
    assert subscription.wait_for_completion(10).is_success
    assert second.exchanges[0].query["offset"] == "1_1"


def test_a_proxy_of_the_environment_that_can_not_be_used(raw, connect, monkeypatch):
    """It ends nothing that was live; as the first one it is a matter of configuration."""
    changed = threading.Event()

    def wait_for_change(exchange: Exchange) -> None:
        changed.wait(10)
        raise Hangup

    server = raw(answer(row()), wait_for_change, answer(done()))
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run("run_1", **recorder.options)
    recorder.wait("update")
    monkeypatch.setenv("http_proxy", "gopher://127.0.0.1:1")
    changed.set()
    eventually(lambda: subscription.state is State.RETRYING)
    monkeypatch.delenv("http_proxy")
    assert subscription.wait_for_completion(10).is_success
    monkeypatch.setenv("http_proxy", "gopher://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="neither an HTTP nor a SOCKS proxy"):
        connect(raw(hold())).wait_for_completion("run_1", timeout=10)
