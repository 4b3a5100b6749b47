"""A bare HTTP client, so that what the server sends is seen as it is."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs
import pytest

from trigger_realtime_sync.testing import RealtimeServer

HEADERS = {
    "Authorization": "Bearer tr_test",
    "x-trigger-electric-version": "1.0.0-beta.1",
    "x-trigger-api-version": "2025-07-16",
}


@attrs.frozen
class Got:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rows(self) -> list[Any]:
        return [one for one in self.json() if "value" in one]

    @property
    def controls(self) -> list[str]:
        return [one["headers"]["control"] for one in self.json() if "value" not in one]


@attrs.define
class Client:
    """Asks one server, on one connection that it keeps."""

    server: RealtimeServer
    connection: http.client.HTTPConnection

    def get(self, path: str, headers: dict[str, str | None] | None = None, **query: Any) -> Got:
        wanted = {**HEADERS, **(headers or {})}
        target = f"{path}?{urlencode(query)}" if query else path
        self.connection.request(
            "GET", target, headers={name: text for name, text in wanted.items() if text is not None}
        )
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return Got(answer.status, {k.lower(): v for k, v in answer.headers.items()}, body)

    def follow(self, path: str, **query: Any) -> Follower:
        return Follower(self, path, query)


@attrs.define
class Follower:
    """Keeps the position in one feed."""

    client: Client
    path: str
    query: dict[str, Any]
    offset: str = "-1"
    handle: str | None = None
    cursor: str = ""

    def ask(self, **more: Any) -> Got:
        query = {**self.query, "offset": self.offset, "log": "full", **more}
        if self.handle is not None:
            query["handle"] = self.handle
        got = self.client.get(self.path, **query)
        if got.status == 200:
            self.offset = got.headers["electric-offset"]
            self.handle = got.headers["electric-handle"]
        return got

    def live(self) -> Got:
        return self.ask(live="true", cursor=self.cursor)

    def start(self) -> Follower:
        """Read until up to date."""
        while self.ask().controls[-1:] != ["up-to-date"]:
            pass
        return self


@pytest.fixture
def client_of() -> Iterator[Callable[[RealtimeServer], Client]]:
    """A new client for a server, closed after the test."""
    made: list[Client] = []

    def make(server: RealtimeServer) -> Client:
        url = urlsplit(server.url)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
        made.append(Client(server, connection))
        return made[-1]

    yield make
    for client in made:
        client.connection.close()


@pytest.fixture
def native() -> Iterator[RealtimeServer]:
    with RealtimeServer("native") as server:
        yield server


@pytest.fixture
def electric() -> Iterator[RealtimeServer]:
    with RealtimeServer("electric") as server:
        yield server


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a call on another thread."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


@pytest.fixture
def raw_request() -> Callable[..., bytes]:
    """Sends a request on a fresh socket; every byte that comes back until the end."""

    def send(server: RealtimeServer, target: str, headers: dict[str, str] | None = None) -> bytes:
        url = urlsplit(server.url)
        with closing(socket.create_connection((url.hostname, url.port), timeout=10)) as sock:
            sock.sendall(request_bytes(target, headers))
            return b"".join(iter(lambda: sock.recv(65536), b""))

    return send


def request_bytes(target: str, headers: dict[str, str] | None = None) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {text}" for name, text in {**HEADERS, **(headers or {})}.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.fixture
def held_socket() -> Iterator[Callable[[RealtimeServer, str], socket.socket]]:
    """A socket on which a request was sent and nothing read."""
    made: list[socket.socket] = []

    def send(server: RealtimeServer, target: str) -> socket.socket:
        url = urlsplit(server.url)
        made.append(socket.create_connection((url.hostname, url.port), timeout=10))
        made[-1].sendall(request_bytes(target))
        return made[-1]

    yield send
    for sock in made:
        sock.close()
