"""HTTP/1.1 for the test server: keep-alive, chunks sent at once, raw faults.

`http.server` parses the requests. Answers are written here byte by byte, because a fault may cut
them anywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import selectors
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from http.client import responses
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any

from .._clock import monotonic
from ._observer import Observer, RecordedRequest, parse_request
from ._request_body import read_body
from ._store import Waiter

_log = logging.getLogger("trigger_realtime_sync.testing")

# Bounds a TLS handshake, so that a client that never speaks does not keep its thread.
_HANDSHAKE_SECONDS = 10.0
# Bounds `HttpServer.halt`, all threads together.
_STOP_SECONDS = 5.0
# Connections the kernel may hold until they are accepted: a test may open a thousand at once.
_BACKLOG = 1024


class ExchangeEnded(Exception):
    """The exchange ends here: the client left, the server stops, or a fault cut it off."""


class HttpExchange:
    """One request and the means to answer it. Every byte to the client passes through here."""

    def __init__(
        self, request: RecordedRequest, sock: socket.socket, server: HttpServer, can_chunk: bool
    ) -> None:
        self.request = request
        self.cut_at: int | None = None
        self.cut_body_at: int | None = None
        self.drop_headers: frozenset[str] = frozenset()
        # After how many bytes of a body in chunks there is silence, and for how many seconds.
        self.silence: tuple[int, float] | None = None
        self._sock = sock
        self._server = server
        self._can_chunk = can_chunk
        self._chunked = False
        self._sent = 0

    def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer with its Content-Length."""
        headers = dict(headers)
        if status >= 200 and status not in (204, 304):
            headers["content-length"] = str(len(body))
        head = self._head(status, headers)
        if self.request.method == "HEAD" or "content-length" not in headers:
            body = b""
        self._send(head + body[: self.cut_body_at])
        self._end_if_cut()

    def open(self, headers: Mapping[str, str]) -> None:
        """Send the head of a 200 whose body follows in chunks."""
        self._chunked = self._can_chunk
        framing = {"transfer-encoding": "chunked"} if self._chunked else {"connection": "close"}
        self._send(self._head(200, {**headers, **framing}))

    def chunk(self, data: bytes) -> None:
        """Send a piece of the body now."""
        if self.silence is not None:
            data = self._fall_silent(data, *self.silence)
        if not data:
            return
        whole = data
        if self.cut_body_at is not None:
            data = data[: self.cut_body_at]
            self.cut_body_at -= len(data)
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data)
        if data is not whole:
            raise ExchangeEnded

    def _fall_silent(self, data: bytes, left: int, seconds: float) -> bytes:
        """Send what comes before the silence and wait. Return the rest."""
        self.silence = None
        if left > len(data):
            self.silence = (left - len(data), seconds)
            return data
        self.chunk(data[:left])
        self.pause(seconds)
        return data[left:]

    def finish(self) -> None:
        """End the body in an orderly way."""
        if self._chunked:
            self._send(b"0\r\n\r\n")
        self._end_if_cut()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self._server.reset(self._sock)
        raise ExchangeEnded

    def watched(self, waiter: Waiter) -> AbstractContextManager[None]:
        """Wake the waiter as soon as the client hangs up or the server stops."""
        return self._server.watched(self._sock, waiter)

    def wait(self, waiter: Waiter, seconds: float) -> None:
        """Wait until the waiter is woken, at most `seconds`.

        Raises:
            ExchangeEnded: the client is gone, or the server stops.
        """
        waiter.wait(seconds)
        if waiter.gone or self._server.stopping:
            raise ExchangeEnded

    def pause(self, seconds: float) -> None:
        """Sleep, unless the client leaves or the server stops: `ExchangeEnded` then."""
        waiter = Waiter()
        end = monotonic() + seconds
        with self.watched(waiter):
            while (left := end - monotonic()) > 0:
                self.wait(waiter, left)

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        reason = responses.get(status, "Unknown")
        kept = [one for one in headers.items() if one[0].lower() not in self.drop_headers]
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {text}" for name, text in kept)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _send(self, data: bytes) -> None:
        cut = None if self.cut_at is None else max(0, self.cut_at - self._sent)
        self._sent += len(data)
        try:
            self._sock.sendall(data[:cut])
        except (OSError, ValueError) as error:
            raise ExchangeEnded from error
        if cut is not None and cut < len(data):
            raise ExchangeEnded

    def _end_if_cut(self) -> None:
        # An answer shorter than its cut still ends the connection.
        if self.cut_at is not None or self.cut_body_at is not None:
            raise ExchangeEnded


class RequestHandler(BaseHTTPRequestHandler):
    """Turns the requests of one connection into exchanges, one after the other."""

    server: HttpServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        self.connection.settimeout(self.server.keep_alive())  # and then given up in silence
        super().handle_one_request()

    def do_GET(self) -> None:
        self.connection.settimeout(None)
        body, whole = read_body(self.headers, self.rfile)
        request = parse_request(self.command, self.path, dict(self.headers.items()), body, whole)
        http_1_1 = self.request_version >= "HTTP/1.1"
        exchange = HttpExchange(request, self.connection, self.server, http_1_1)
        self.close_connection = self.close_connection or not http_1_1 or not whole
        try:
            self.server.answer(exchange)
        except ExchangeEnded:
            self.close_connection = True
        except Exception:  # noqa: BLE001 (logged, and the client gets a 500)
            self.close_connection = True
            _log.exception("the test server failed on %r", request)
            with contextlib.suppress(ExchangeEnded):
                exchange.reply(500, {}, b"the test server has a bug: see its log")

    # `http.server` looks the method up by its name; which ones are allowed is the router's to say.
    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


class HttpServer(TCPServer):
    """One thread per connection, and one that accepts them and notices clients hanging up.

    Args:
        answer: called with each exchange, on the thread of its connection.
        keep_alive: how many seconds an answered connection is kept; None: for good.

    Raises:
        OSError: the address can't be used.
    """

    request_queue_size = _BACKLOG
    # On Windows the option would let two servers share a port.
    allow_reuse_address = os.name == "posix"

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[HttpExchange], None],
        observer: Observer,
        ssl_context: ssl.SSLContext | None,
        keep_alive: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), RequestHandler)
        self.socket.setblocking(False)
        self.answer = answer
        self.stopping = False
        self.tls = ssl_context
        self.keep_alive = keep_alive
        self._observer = observer
        self._numbers = itertools.count(1)
        # Protects `_connections`, `_resets` and `_waiters`.
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._resets: set[socket.socket] = set()
        # Woken when the server stops.
        self._waiters: set[Waiter] = set()
        # Descriptors for the accepting thread to watch or, without a socket, to forget.
        self._watch: deque[tuple[int, socket.socket | None, Waiter]] = deque()
        self._thread = threading.Thread(
            target=self._accept, name="realtime-server-accept", daemon=True
        )
        self._bell, self._bell_button = socket.socketpair()
        self._bell.setblocking(False)
        self._bell_button.setblocking(False)

    # --- connections

    def _open_connection(self, sock: socket.socket, address: Any) -> None:
        sock.setblocking(True)
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(
            target=self._serve,
            args=(sock, address),
            name=f"realtime-server-connection-{next(self._numbers)}",
            daemon=True,
        )
        with self._lock:
            self._connections[sock] = thread
        self._observer.count("connection", 1)
        thread.start()

    def _serve(self, sock: socket.socket, address: Any) -> None:
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.settimeout(_HANDSHAKE_SECONDS)
                sock.do_handshake()
                sock.settimeout(None)
            self.finish_request(sock, address)
        except (OSError, ValueError):
            # The client went away in the middle of a request.
            pass
        except Exception:  # noqa: BLE001 (logged)
            _log.exception("a connection of the test server failed")
        finally:
            self._hang_up(sock)

    def _hang_up(self, sock: socket.socket) -> None:
        with self._lock:
            reset = sock in self._resets
        if reset:
            sock.close()
        else:
            self.shutdown_request(sock)
        self._observer.count("connection", -1)
        # Last, because whoever stops the server joins the threads that are still listed.
        with self._lock:
            del self._connections[sock]
            self._resets.discard(sock)

    def reset(self, sock: socket.socket) -> None:
        """Let the connection end with a TCP reset when it is closed."""
        # Closing with a linger time of zero sends a reset instead of an orderly end.
        with self._lock:
            self._resets.add(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def drop_connections(self, *, reset: bool = False) -> None:
        """Close every connection now, whatever it is doing."""
        with self._lock:
            connections = list(self._connections)
        for sock in connections:
            with contextlib.suppress(OSError):
                if reset:
                    self.reset(sock)
                    socket.socket.shutdown(sock, socket.SHUT_RD)
                else:
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    # --- the accepting thread

    def start(self) -> None:
        self._thread.start()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            while not self.stopping:
                for key, _ in selector.select():
                    if key.fileobj is self.socket:
                        self._accept_one()
                    elif key.fileobj is self._bell:
                        self._update_watch(selector)
                    else:
                        self._check_hang_up(selector, key)

    def _accept_one(self) -> None:
        # The client may leave before it is accepted.
        with contextlib.suppress(OSError):
            self._open_connection(*self.get_request())

    @contextlib.contextmanager
    def watched(self, sock: socket.socket, waiter: Waiter) -> Iterator[None]:
        """Wake the waiter when the client hangs up, with `gone` set, or when the server stops."""
        descriptor = sock.fileno()
        with self._lock:
            self._waiters.add(waiter)
            if self.stopping:
                waiter.wake()
        self._update_later(descriptor, sock, waiter)
        try:
            yield
        finally:
            self._update_later(descriptor, None, waiter)
            with self._lock:
                self._waiters.discard(waiter)

    def _update_later(self, descriptor: int, sock: socket.socket | None, waiter: Waiter) -> None:
        self._watch.append((descriptor, sock, waiter))
        self._ring()

    def _ring(self) -> None:
        # A full pipe means that the thread is going to wake up anyway.
        with contextlib.suppress(OSError):
            self._bell_button.send(b"!")

    def _update_watch(self, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(65536)
        while self._watch:
            descriptor, sock, waiter = self._watch.popleft()
            with contextlib.suppress(KeyError, ValueError, OSError):
                if sock is None:
                    selector.unregister(descriptor)
                else:
                    selector.register(descriptor, selectors.EVENT_READ, (sock, waiter))

    def _check_hang_up(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        if selector.get_map().get(key.fd) is not key:
            # Unregistered earlier in this round of events.
            return
        sock, waiter = key.data
        selector.unregister(key.fd)
        try:
            left = not socket.socket.recv(sock, 1, socket.MSG_PEEK)
        except OSError:
            left = True
        # No client speaks while its poll is held: over TLS this can only be the closing alert.
        if left or isinstance(sock, ssl.SSLSocket):
            waiter.gone = True
            waiter.wake()

    def halt(self) -> None:
        """End everything, within `_STOP_SECONDS`, from any thread."""
        # Set first: the requests that are woken must see it.
        self.stopping = True
        deadline = monotonic() + _STOP_SECONDS
        self._ring()
        self._thread.join(_STOP_SECONDS)
        with self._lock:
            waiters, threads = list(self._waiters), list(self._connections.values())
        for waiter in waiters:
            waiter.wake()
        self.drop_connections()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - monotonic()))
        self.server_close()
        self._bell.close()
        self._bell_button.close()
