"""Clients that retry quickly, servers of both formats, and a look-out for what is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.streams import FedServer
from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync import RealtimeClient, RetryPolicy
from trigger_realtime_sync.testing import RealtimeServer

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


@pytest.fixture
def connect() -> Iterator[Callable[..., RealtimeClient]]:
    """Makes clients of a server, closed at the end."""
    with ExitStack() as stack:

        def make(server: Any, **options: Any) -> RealtimeClient:
            options = {"access_token": "tr_x", "base_url": server.url, "retry": QUICK, **options}
            return stack.enter_context(RealtimeClient(**options))

        yield make


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(version: Any) -> Iterator[RealtimeServer]:
    with RealtimeServer(streams=version) as server:
        yield server


@pytest.fixture
def client(server: RealtimeServer, connect: Callable[..., RealtimeClient]) -> RealtimeClient:
    return connect(server)


@pytest.fixture
def fed() -> Iterator[FedServer]:
    with FedServer().running() as server:
        yield server
