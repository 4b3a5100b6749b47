"""The proxy of a request is chosen as in requests."""

from __future__ import annotations

import pytest

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
