"""A session that was started, its agent as the test plays it, and a client of the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.waiting import PATIENCE
from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer

KEY = "tr_dev_test0000000000000000"
CHAT = "chat/7"


class Conversation:
    """An `on_stream` and an `on_control` that remember what they were told, in one order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.events: list[Any] = []
        self.threads: set[str] = set()

    def on_stream(self, key: str, parts: list[Any]) -> None:
        self._note(*((key, part) for part in parts))

    def on_control(self, name: str, headers: dict[str, str]) -> None:
        self._note((name, headers))

    @property
    def callbacks(self) -> dict[str, Any]:
        return {"on_stream": self.on_stream, "on_control": self.on_control}

    def wait(self, count: int) -> list[Any]:
        """Block until so many parts and control records were told; return all of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.events) >= count, PATIENCE):
                raise AssertionError(f"{len(self.events)} of {count}: {self.events}")
            return list(self.events)

    def _note(self, *events: Any) -> None:
        with self._changed:
            self.events += events
            self.threads.add(threading.current_thread().name)
            self._changed.notify_all()


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer() as server:
        yield server


@pytest.fixture
def connect(connect: Callable[..., RealtimeClient]) -> Callable[..., RealtimeClient]:
    def make(server: Any, **options: Any) -> RealtimeClient:
        return connect(server, **{"access_token": KEY, **options})

    return make


@pytest.fixture
def client(server: RealtimeServer, connect: Callable[..., RealtimeClient]) -> RealtimeClient:
    return connect(server)


@pytest.fixture
def chat(server: RealtimeServer, client: RealtimeClient) -> Any:
    """The session `chat/7`, as its agent sees it."""
    client.sessions.start("my-chat", external_id=CHAT)
    server.clear_requests()
    return server.session(CHAT)


@pytest.fixture
def conversation() -> Conversation:
    return Conversation()
