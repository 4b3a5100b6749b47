"""A bare HTTP client, so that tests see the answers of the server as they are on the wire."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs
import pytest

from trigger_realtime_sync.testing import RealtimeServer


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


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
    def values(self) -> list[dict[str, Any]]:
        return [row["value"] for row in self.rows]

    @property
    def run_ids(self) -> list[str]:
        # An update of Electric has the primary key alone.
        return ["run_" + value["id"] for value in self.values]

    @property
    def operations(self) -> list[str]:
        return [row["headers"]["operation"] for row in self.rows]

    @property
    def controls(self) -> list[str]:
        return [one["headers"]["control"] for one in self.json() if "value" not in one]

    @property
    def events(self) -> list[dict[str, str]]:
        blocks = self.body.decode().split("\n\n")[:-1]
        return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]

    @property
    def batches(self) -> list[list[dict[str, Any]]]:
        """The records of a v2 stream, by batch."""
        batches = [event for event in self.events if event.get("event") == "batch"]
        return [json.loads(event["data"])["records"] for event in batches]


@attrs.frozen
class Client:
    """Sends requests to one server, on one connection that it keeps."""

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

    def send(
        self,
        method: str,
        path: str,
        json: Any = ...,
        *,
        data: bytes | Iterable[bytes] | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Got:
        """Send JSON, bytes, pieces as chunks, or nothing."""
        wanted = {**HEADERS, "Content-Type": "application/json", **(headers or {})}
        if token is not None:
            wanted["Authorization"] = f"Bearer {token}"
        body = to_json(json) if json is not ... else data
        chunked = body is not None and not isinstance(body, bytes)
        self.connection.request(method, path, body, wanted, encode_chunked=chunked)
        answer = self.connection.getresponse()
        got = answer.read()
        return Got(answer.status, {k.lower(): v for k, v in answer.headers.items()}, got)

    def post(self, path: str, json: Any = ..., **how: Any) -> Got:
        return self.send("POST", path, json, **how)

    def trigger(self, payload: Any = ..., task: str = "my-task", **options: Any) -> Got:
        """Trigger a run with the payload and these options, by a secret key."""
        body = {"options": options} if payload is ... else {"payload": payload, "options": options}
        return self.post(f"/api/v1/tasks/{task}/trigger", body)

    def run(self, run_id: str, headers: dict[str, str | None] | None = None, **query: Any) -> Got:
        """The first answer of a run's feed."""
        return self.get(f"/realtime/v1/runs/{run_id}", headers, offset="-1", **query)

    def row(self, run_id: str, **query: Any) -> dict[str, Any]:
        (value,) = self.run(run_id, **query).values
        return value

    def runs(self, **query: Any) -> Got:
        """The first answer of a feed by tags."""
        return self.get("/realtime/v1/runs", offset="-1", **query)

    def stream(self, run_id: str, headers: dict[str, str | None] | None = None) -> Got:
        """The run's stream `s`, until the server closes it."""
        return self.get(f"/realtime/v1/streams/{run_id}/s", headers)

    def follow(self, path: str, **query: Any) -> Follower:
        """A feed, not read yet."""
        return Follower(self, path, query)

    def feed(self, run_id: str) -> Follower:
        return self.follow(f"/realtime/v1/runs/{run_id}")

    def tag_feed(self, tags: str) -> Follower:
        return self.follow("/realtime/v1/runs", tags=tags)


@attrs.define
class Follower:
    """Keeps the position in one feed."""

    client: Client
    path: str
    query: dict[str, Any]
    offset: str = "-1"
    handle: str | None = None

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
        return self.ask(live="true", cursor="")

    def start(self) -> Follower:
        """Read until up to date."""
        while self.ask().controls[-1:] != ["up-to-date"]:
            pass
        return self


def serving(*options: dict[str, Any], **more: Any) -> pytest.MarkDecorator:
    """Give `server` these options; with several dicts, run the test once for each."""
    merged = [{**one, **more} for one in options or ({},)]
    names = ["-".join(f"{name}={value}" for name, value in one.items()) for one in merged]
    return pytest.mark.parametrize("server", merged, indirect=True, ids=names)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[RealtimeServer]:
    with RealtimeServer(**getattr(request, "param", {})) as server:
        yield server


@pytest.fixture
def another(server: RealtimeServer) -> Iterator[Callable[[], Client]]:
    """Makes clients with a connection of their own."""
    url = urlsplit(server.url)
    with ExitStack() as stack:

        def make() -> Client:
            opened = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
            return Client(stack.enter_context(closing(opened)))

        yield make


@pytest.fixture
def client(another: Callable[[], Client]) -> Client:
    return another()


@pytest.fixture
def in_background() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a call on another thread."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


@pytest.fixture
def held_socket(server: RealtimeServer) -> Iterator[Callable[..., socket.socket]]:
    """Opens a socket and sends a request on it, without reading the answer."""
    opened: list[socket.socket] = []

    def send(
        target: str, headers: dict[str, str] | None = None, version: str = "1.1"
    ) -> socket.socket:
        url = urlsplit(server.url)
        opened.append(socket.create_connection((url.hostname, url.port), timeout=10))
        lines = [f"GET {target} HTTP/{version}", "Host: localhost"]
        lines += [f"{name}: {text}" for name, text in {**HEADERS, **(headers or {})}.items()]
        opened[-1].sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return opened[-1]

    yield send
    for sock in opened:
        sock.close()


@pytest.fixture
def raw_request(held_socket: Callable[..., socket.socket]) -> Callable[..., bytes]:
    """Sends a request on a fresh socket; returns every byte that comes back until the end."""

    def send(target: str, headers: dict[str, str] | None = None, version: str = "1.1") -> bytes:
        sock = held_socket(target, headers, version)
        return b"".join(iter(lambda: sock.recv(65536), b""))

    return send
