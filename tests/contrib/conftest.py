"""Servers, clients, and the events that a browser would see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync import RealtimeClient, RetryPolicy
from trigger_realtime_sync.testing import RealtimeServer

TOKEN = "tr_secret_of_the_test"
QUICK = RetryPolicy(initial_delay=0.01, max_delay=0.05)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "web: starts web servers, workers or browsers; slow")


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread of a client outlives the client, and no variable decides how a test ends."""
    for name in ("TRIGGER_ACCESS_TOKEN", "TRIGGER_SECRET_KEY", "TRIGGER_API_URL"):
        monkeypatch.delenv(name, raising=False)
    yield
    eventually(
        lambda: not threads_named("trigger-realtime"),
        f"threads are left: {threads_named('trigger-realtime')}",
        seconds=5,
    )


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer() as server:
        yield server


@pytest.fixture
def client(server: RealtimeServer) -> Iterator[RealtimeClient]:
    with RealtimeClient(access_token=TOKEN, base_url=server.url, retry=QUICK) as client:
        yield client


@pytest.fixture
def browse() -> Iterator[Callable[..., Any]]:
    """Open `EventSource`s by `browse(port, path, last_event_id)`, and close them at the end."""
    from tests.contrib.processes import Browser

    with ExitStack() as stack:

        def open_one(port: int, path: str, last_event_id: str | None = None) -> Browser:
            browser = Browser(port, path, last_event_id)
            stack.callback(browser.close)
            return browser

        yield open_one
