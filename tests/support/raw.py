"""A server that answers exactly the bytes its script says, however wrong."""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit


class Hangup(Exception):
    """The exchange ends, and the connection with it."""


class Exchange:
    """One request, and the socket to answer it on."""

    def __init__(self, sock: socket.socket, head: bytes, index: int) -> None:
        self.sock = sock
        self.head = head
        self.index = index
        self.body = b""
        self._ended = threading.Event()
        self._keep = False
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ", 2)
        parts = urlsplit(self.target)
        self.path = unquote(parts.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        pairs = (line.split(":", 1) for line in lines[1:] if ":" in line)
        self.headers = {name.strip().lower(): value.strip() for name, value in pairs}

    @property
    def live(self) -> bool:
        return self.query.get("live") == "true"

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def read_body(self) -> None:
        """Read as many bytes as the head announces."""
        left = int(self.headers.get("content-length", 0))
        while left and (data := self.sock.recv(left)):
            self.body += data
            left -= len(data)

    def json(self) -> Any:
        """Return what the body holds."""
        return json.loads(self.body)

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise Hangup from None

    def answer(
        self, status: int = 200, headers: Mapping[str, str] | None = None, body: Any = b""
    ) -> None:
        self.send(answer_bytes(status, headers, body))

    def hold(self, seconds: float = 30.0) -> None:
        """Block until the client hangs up."""
        select.select([self.sock], [], [], seconds)
        raise Hangup

    def end(self, *, keep: bool = False) -> None:
        """Let the server's thread go on: with the next request if `keep`, else by hanging up."""
        self._keep = keep
        self._ended.set()

    def wait_for_end(self) -> None:
        """Block while another thread answers, until it calls `end()`."""
        self._ended.wait()
        if not self._keep:
            raise Hangup


def answer_bytes(
    status: int = 200, headers: Mapping[str, str] | None = None, body: Any = b""
) -> bytes:
    """Return a whole answer with its Content-Length. A body that is no text or bytes is sent as
    JSON."""
    if not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if status != 204:
        lines.append(f"content-length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


# A step of a script: it answers one exchange, and raises `Hangup` to close the connection.
Step = Callable[[Exchange], object]


def reply(status: int = 200, headers: Mapping[str, str] | None = None, body: Any = b"") -> Step:
    return lambda exchange: exchange.answer(status, headers, body)


def send(data: bytes) -> Step:
    return lambda exchange: exchange.send(data)


def hold() -> Step:
    """Answer nothing until the client hangs up."""
    return lambda exchange: exchange.hold()


def hangup(after: bytes = b"") -> Step:
    """Close the connection, after these bytes."""

    def step(exchange: Exchange) -> None:
        exchange.send(after)
        raise Hangup

    return step


def endless(head: bytes, piece: bytes) -> Step:
    """Send the piece again and again, until the client hangs up; a gigabyte is an error."""

    def step(exchange: Exchange) -> None:
        exchange.send(head)
        for _ in range((1 << 30) // len(piece)):
            exchange.send(piece)
        raise AssertionError("the client read a gigabyte")

    return step


def in_turn(*steps: Step) -> Step:
    """Answer each request by its step, in the order of their arrival; by the last one for ever."""
    turns = itertools.chain(steps, itertools.repeat(steps[-1]))
    # Two threads must not advance the iterator at once.
    lock = threading.Lock()

    def step(exchange: Exchange) -> None:
        with lock:
            turn = next(turns)
        turn(exchange)

    return step


def by_path(steps: Mapping[str, Step], otherwise: Step) -> Step:
    """Answer by the first step whose key is part of the request's path."""

    def step(exchange: Exchange) -> None:
        found = (one for part, one in steps.items() if part in exchange.path)
        next(found, otherwise)(exchange)

    return step


def by_poll(first: Step, live: Step) -> Step:
    """Answer live polls by one step, and all other requests by the other."""
    return lambda exchange: (live if exchange.live else first)(exchange)


Server = TypeVar("Server", bound="RawServer")


class RawServer:
    """Answers the n-th request by the n-th step of its script, on a thread per connection; the
    last step answers all that follow."""

    def __init__(self, *script: Step, tls: ssl.SSLContext | None = None) -> None:
        self._answer = in_turn(*script)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.exchanges: list[Exchange] = []
        self.errors: list[BaseException] = []

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._sockets)

    @property
    def url(self) -> str:
        port = self._listener.getsockname()[1]
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"

    def __enter__(self: Server) -> Server:
        threading.Thread(target=self._accept, name="raw-server", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            sockets, exchanges = list(self._sockets), list(self.exchanges)
        for sock in sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for exchange in exchanges:
            exchange.end()
        if self.errors:
            raise self.errors[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._serve, args=(sock,), name="raw-server-connection", daemon=True
            ).start()

    def _serve(self, sock: socket.socket) -> None:
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True)
            except (OSError, ValueError):
                sock.close()
                return
        with self._lock:
            self._sockets.add(sock)
        try:
            while (head := _read_head(sock)) is not None:
                with self._lock:
                    exchange = Exchange(sock, head, len(self.exchanges))
                    self.exchanges.append(exchange)
                exchange.read_body()
                self._answer(exchange)
        except (Hangup, OSError):
            pass
        except BaseException as error:  # noqa: BLE001 (raised when the test ends)
            self.errors.append(error)
        finally:
            with self._lock:
                self._sockets.discard(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


def _read_head(sock: socket.socket) -> bytes | None:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            return None
        data += byte
    return data
