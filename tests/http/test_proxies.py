"""The proxy of a request is chosen as in requests."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.raw import RawServer, reply
from trigger_realtime_sync import ApiConnectionError, ApiError, ConfigurationError, RealtimeClient
from trigger_realtime_sync._http.call import Call
from trigger_realtime_sync._http.prepared import origin_of
from trigger_realtime_sync._http.session import MOST_ORIGINS, HttpOptions, Transport
from trigger_realtime_sync.config import Timeouts


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://from-environment:1")
    monkeypatch.setenv("HTTP_PROXY", "http://from-environment:2")
    monkeypatch.setenv("NO_PROXY", "inside.example")


def proxies(url: str, given: dict[str, str] | None = None) -> dict[str, str]:
    transport = Transport(HttpOptions(timeouts=Timeouts(), proxies=given))
    first = transport._proxies(origin_of(url))
    assert transport._proxies(origin_of(url)) is first
    return {name: first[name] for name in ("http", "https") if name in first}


def test_the_proxies_of_the_environment():
    """They are the default, except for the hosts that NO_PROXY names."""
    assert proxies("https://api.example/path?query")["https"] == "http://from-environment:1"
    assert proxies("https://inside.example:8443/path") == {}


def test_the_users_proxies_win():
    """The environment's are used for the schemes that the user does not name."""
    given = {"https": "http://mine:3"}
    assert proxies("https://api.example", given) == {**given, "http": "http://from-environment:2"}
    assert proxies("https://inside.example", given) == given


def test_many_hosts_cost_no_memory():
    """Presigned URLs may lead to any number of hosts."""
    transport = Transport(HttpOptions(timeouts=Timeouts()))
    for number in range(3 * MOST_ORIGINS):
        transport._proxies(f"https://host{number}.example")
    assert transport._proxies.cache_info().currsize <= MOST_ORIGINS


def through(proxy: str, url: str = "http://api.example/x") -> None:
    transport = Transport(HttpOptions(timeouts=Timeouts(), proxies={"http": proxy, "https": proxy}))
    try:
        transport.get(url, call=Call(), label="test", token="tr_x").close()
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("gopher://mine:3", "neither an HTTP nor a SOCKS proxy"),
        ("http://", "names no host"),
        ("http://[::1", "is no URL"),
    ],
)
def test_a_proxy_that_can_not_be_used(proxy, words):
    """It is a mistake in the options, which says what is wrong, and does not show the URL."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        through(proxy)
    assert proxy not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("socks") is not None, reason="PySocks is there")
@pytest.mark.parametrize("scheme", ["socks4", "socks5", "socks5h"])
@pytest.mark.parametrize("url", ["http://api.example/x", "https://api.example/x"])
def test_a_socks_proxy_without_its_package(scheme, url):
    """The error says what to install."""
    with pytest.raises(ConfigurationError, match=r"PySocks: pip install 'requests\[socks\]'"):
        through(f"{scheme}://127.0.0.1:1", url)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password(scheme, raw):
    """It is no failure that passes, whether it was asked for a tunnel or for an answer."""
    proxy = raw(reply(407, {"proxy-authenticate": "Basic", "content-type": "text/html"}, "<html>"))
    with RealtimeClient("tr_x", base_url=f"{scheme}://api.example", proxies=both(proxy)) as client:
        with pytest.raises(ApiError, match="407") as caught:
            client.wait_for_completion("run_1", timeout=10)
        assert caught.value.status == 407
        assert caught.value.terminal
    assert len(proxy.exchanges) == 1


@pytest.mark.parametrize("status", [403, 502, 503])
def test_another_refusal_of_a_tunnel(status, raw):
    """It may pass: the server is not reached for now."""
    proxy = raw(reply(status))
    with pytest.raises(ApiConnectionError, match=f"{status}"):
        through(proxy.url, "https://api.example/x")


def both(proxy: RawServer) -> dict[str, str]:
    return {"http": proxy.url, "https": proxy.url}
