"""Servers of both backends, clients that are closed, and a look-out for what is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.raw import Exchange, RawServer
from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync import RealtimeClient, RetryPolicy
from trigger_realtime_sync.testing import RealtimeServer

TOKEN = "tr_secret_of_the_test"
QUICK = RetryPolicy(initial_delay=0.01, max_delay=0.05)


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread of a client outlives the client."""
    for name in ("TRIGGER_ACCESS_TOKEN", "TRIGGER_SECRET_KEY", "TRIGGER_API_URL"):
        monkeypatch.delenv(name, raising=False)
    yield
    eventually(
        lambda: not threads_named("trigger-realtime"),
        f"threads are left: {threads_named('trigger-realtime')}",
        seconds=5,
    )


@pytest.fixture(params=["native", "electric"])
def server(request: pytest.FixtureRequest) -> Iterator[RealtimeServer]:
    with RealtimeServer(backend=request.param) as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., RealtimeClient]]:
    """Makes clients of a server that retry quickly, and closes them at the end."""
    with ExitStack() as stack:

        def make(server: Any, **options: Any) -> RealtimeClient:
            url = server if isinstance(server, str) else server.url
            options = {"access_token": TOKEN, "base_url": url, "retry": QUICK, **options}
            return stack.enter_context(RealtimeClient(**options))

        yield make


@pytest.fixture
def client(server: RealtimeServer, connect: Callable[..., RealtimeClient]) -> RealtimeClient:
    return connect(server)


@pytest.fixture
def raw() -> Iterator[Callable[..., RawServer]]:
    """Starts raw servers: `raw(handle)`."""
    with ExitStack() as stack:

        def start(handle: Callable[[Exchange], None], **options: Any) -> RawServer:
            return stack.enter_context(RawServer(handle, **options))

        yield start
