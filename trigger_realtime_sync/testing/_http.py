"""HTTP/1.1 over werkzeug's threaded server: keep-alive, chunks as they come, raw faults."""

from __future__ import annotations

import contextlib
import itertools
import logging
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from ._observe import Observer, RecordedRequest, record
from ._store import Waiter

_log = logging.getLogger("trigger_realtime_sync.testing")
_HANDSHAKE_SECONDS = 10.0
_STOP_SECONDS = 5.0
_BACKLOG = 1024


class Gone(Exception):
    """The exchange ends here: the client left, the server stops, or a fault cut it off."""


class Exchange:
    """One request and the way to answer it. Every byte to the client passes here."""

    def __init__(
        self, request: RecordedRequest, sock: socket.socket, server: Server, chunked: bool
    ) -> None:
        self.request = request
        self.cut_at: int | None = None
        self.cut_body_at: int | None = None
        self.drop_headers: frozenset[str] = frozenset()
        self._sock = sock
        self._server = server
        self._can_chunk = chunked
        self._chunked = False
        self._sent = 0

    def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer with its Content-Length."""
        headers = dict(headers)
        if status >= 200 and status not in (204, 304):
            headers["content-length"] = str(len(body))
        head = self._head(status, headers)
        if self.request.method == "HEAD" or "content-length" not in headers:
            body = b""
        self._send(head + body, cut=self._body_cut(len(head), len(body)))
        self._finished()

    def open(self, headers: Mapping[str, str]) -> None:
        """The head of a 200 whose body follows in chunks."""
        self._chunked = self._can_chunk
        framing = {"transfer-encoding": "chunked"} if self._chunked else {"connection": "close"}
        self._send(self._head(200, {**headers, **framing}))

    def chunk(self, data: bytes) -> None:
        """Send this part of the body now."""
        if not data:
            return
        whole = data
        if self.cut_body_at is not None:
            data = data[: self.cut_body_at]
            self.cut_body_at -= len(data)
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data)
        if data is not whole:
            raise Gone

    def finish(self) -> None:
        """End the body cleanly."""
        if self._chunked:
            self._send(b"0\r\n\r\n")
        self._finished()

    def reset(self) -> None:
        """Tear the connection down with a TCP reset."""
        self._server.reset(self._sock)
        raise Gone

    @contextlib.contextmanager
    def watched(self, waiter: Waiter) -> Iterator[None]:
        """Wake the waiter, `gone` set, as soon as the client hangs up."""
        descriptor = self._sock.fileno()
        self._server.watch(descriptor, self._sock, waiter)
        try:
            yield
        finally:
            self._server.watch(descriptor, None, waiter)

    def wait(self, waiter: Waiter, seconds: float) -> None:
        """Wait for the waiter; `Gone` when there is nobody left to answer."""
        waiter.wait(seconds)
        if waiter.gone or self._server.stopping:
            raise Gone

    def pause(self, seconds: float) -> None:
        """Wait that long, or until the client or the server is gone."""
        waiter = Waiter()
        end = time.monotonic() + seconds
        with self._server.pausing(waiter), self.watched(waiter):
            while (left := end - time.monotonic()) > 0:
                self.wait(waiter, left)

    def _head(self, status: int, headers: Mapping[str, str]) -> bytes:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
        kept = [one for one in headers.items() if one[0].lower() not in self.drop_headers]
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {text}" for name, text in kept)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _body_cut(self, head: int, body: int) -> int | None:
        if self.cut_body_at is None or self.cut_body_at >= body:
            return None
        return head + self.cut_body_at

    def _send(self, data: bytes, cut: int | None = None) -> None:
        if cut is None and self.cut_at is not None:
            cut = max(0, self.cut_at - self._sent)
        self._sent += len(data)
        try:
            self._sock.sendall(data if cut is None else data[:cut])
        except (OSError, ValueError) as error:
            raise Gone from error
        if cut is not None and cut < len(data):
            raise Gone

    def _finished(self) -> None:
        if self.cut_at is not None or self.cut_body_at is not None:
            raise Gone


class Handler(WSGIRequestHandler):
    """werkzeug's handler, without its rule of one request per connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        self._drain()
        request = record(self.command, self.path, dict(self.headers.items()))
        http_1_1 = self.request_version >= "HTTP/1.1"
        exchange = Exchange(request, self.connection, self.server, http_1_1)
        self.close_connection = self.close_connection or not http_1_1
        try:
            self.server.answer(exchange)
        except Gone:
            self.close_connection = True
        except Exception:  # noqa: BLE001 (reported, and the client is told)
            self.close_connection = True
            _log.exception("the test server failed on %s %s", request.method, request.path)
            with contextlib.suppress(Gone):
                exchange.reply(500, {}, b"the test server has a bug: see its log")

    def _drain(self) -> None:
        # An unread body would be taken for the next request.
        length = self.headers.get("Content-Length", "0")
        self.rfile.read(int(length) if length.isdecimal() else 0)

    def log(self, type: str, message: str, *args: Any) -> None:
        _log.debug(message, *args)


class Server(ThreadedWSGIServer):
    """A thread per connection, and one that accepts and notices clients hanging up."""

    request_queue_size = _BACKLOG
    block_on_close = False

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[Exchange], None],
        observer: Observer,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        # Bound here, because werkzeug answers a taken port by printing and ending the process.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listening:
            super().__init__(host, port, _no_app, Handler, fd=listening.fileno())
        self.socket.setblocking(False)
        self.answer = answer
        self.stopping = False
        self.tls = ssl_context
        self._observer = observer
        self._names = itertools.count(1)
        # Protects the attributes below.
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._resets: set[socket.socket] = set()
        self._pausing: set[Waiter] = set()
        # What the accepting thread should (or, without a socket, should no longer) watch.
        self._watch: deque[tuple[int, socket.socket | None, Waiter]] = deque()
        self._thread = threading.Thread(
            target=self._accept, name="realtime-server-accept", daemon=True
        )
        self._bell, self._bell_button = socket.socketpair()
        self._bell.setblocking(False)
        self._bell_button.setblocking(False)

    # --- connections

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self._serve,
            args=(request, client_address),
            name=f"realtime-server-connection-{next(self._names)}",
            daemon=True,
        )
        with self._lock:
            self._connections[request] = thread
        self._observer.connected(1)
        thread.start()

    def _serve(self, sock: socket.socket, client_address: Any) -> None:
        try:
            if self.tls is not None:
                sock = self._encrypted(sock, self.tls)
            self.finish_request(sock, client_address)
        except (OSError, ValueError):
            # The client went away while it was talking.
            pass
        except Exception:  # noqa: BLE001 (reported)
            _log.exception("a connection of the test server failed")
        finally:
            self._hang_up(sock)

    def _encrypted(self, raw: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        raw.settimeout(_HANDSHAKE_SECONDS)
        sock = tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._connections[sock] = self._connections.pop(raw)
        try:
            sock.do_handshake()
        except OSError:
            self._hang_up(sock)
            raise
        sock.settimeout(None)
        return sock

    def _hang_up(self, sock: socket.socket) -> None:
        with self._lock:
            if sock not in self._connections:
                return
            reset = sock in self._resets
        if reset:
            sock.close()
        else:
            self.shutdown_request(sock)
        self._observer.connected(-1)
        # Last, because whoever stops the server joins the threads that are still listed.
        with self._lock:
            del self._connections[sock]
            self._resets.discard(sock)

    def reset(self, sock: socket.socket) -> None:
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
                        self._welcome()
                    elif key.fileobj is self._bell:
                        self._rewatch(selector)
                    else:
                        self._look(selector, key)

    def _welcome(self) -> None:
        try:
            sock, address = self.get_request()
        except OSError:
            # The client was gone before it was let in.
            return
        sock.setblocking(True)
        self.process_request(sock, address)

    def watch(self, descriptor: int, sock: socket.socket | None, waiter: Waiter) -> None:
        self._watch.append((descriptor, sock, waiter))
        self._ring()

    def _ring(self) -> None:
        # A full pipe means that the thread has been told already.
        with contextlib.suppress(OSError):
            self._bell_button.send(b"!")

    def _rewatch(self, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(65536)
        while self._watch:
            descriptor, sock, waiter = self._watch.popleft()
            with contextlib.suppress(KeyError, ValueError, OSError):
                if sock is None:
                    selector.unregister(descriptor)
                else:
                    selector.register(descriptor, selectors.EVENT_READ, (sock, waiter))

    def _look(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        if selector.get_map().get(key.fd) is not key:
            # Let go a moment ago, in the same round of events.
            return
        sock, waiter = key.data
        selector.unregister(key.fd)
        try:
            left = not socket.socket.recv(sock, 1, socket.MSG_PEEK)
        except OSError:
            left = True
        # Nobody speaks while a poll is held: over TLS it can only be the closing alert.
        if left or isinstance(sock, ssl.SSLSocket):
            waiter.gone = True
            waiter.wake()

    @contextlib.contextmanager
    def pausing(self, waiter: Waiter) -> Iterator[None]:
        with self._lock:
            self._pausing.add(waiter)
            if self.stopping:
                waiter.wake()
        try:
            yield
        finally:
            with self._lock:
                self._pausing.discard(waiter)

    def halt(self) -> None:
        """End everything: bounded, from any thread. The caller wakes the held requests."""
        deadline = time.monotonic() + _STOP_SECONDS
        self._ring()
        self._thread.join(_STOP_SECONDS)
        with self._lock:
            waiters, threads = list(self._pausing), list(self._connections.values())
        for waiter in waiters:
            waiter.wake()
        self.drop_connections()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        self.server_close()
        self._bell.close()
        self._bell_button.close()


def _no_app(environ: Any, start_response: Any) -> Any:
    raise NotImplementedError("requests are answered by the handler")
