"""What every folder shares: a server, clients that are closed, and a check for leaked threads.

The arguments of tests are fixtures: their types stand here, and in the conftest of each folder.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import trustme
from hypothesis import HealthCheck, settings

from tests.support.raw import RawServer
from tests.support.settings import ENVIRONMENT, QUICK, TOKEN
from tests.support.settling import settle_when_held
from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer

# How long one example takes depends on what else the machine does.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test after which threads of a client are left; hide the developer's environment."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    yield
    eventually(lambda: not threads_named("trigger-realtime"), "threads are left", seconds=5)


@pytest.fixture(autouse=True)
def _held_means_told(monkeypatch: pytest.MonkeyPatch) -> None:
    settle_when_held(monkeypatch)


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer() as server:
        yield server


@pytest.fixture
def connect() -> Iterator[Callable[..., RealtimeClient]]:
    """Make clients of a server, or of a URL, that retry quickly; close them after the test."""
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
    """Start servers that answer by a script: `raw(answer(row()), hold())`."""
    with ExitStack() as stack:
        yield lambda *script, **options: stack.enter_context(RawServer(*script, **options))


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def bundle(authority: trustme.CA) -> Iterator[str]:
    """The path of the authority's certificate, for `verify=`."""
    with authority.cert_pem.tempfile() as path:
        yield path


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """For a server at 127.0.0.1 whose certificate the authority issued."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context
