"""What one thread does on the network, and the switch that ends it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Iterator


class Interrupted(Exception):
    """The call was cut off because its subscription ended."""


class Nudged(Exception):
    """The answer was cut off on purpose: something changed that calls for another request."""


class Call:
    """What one thread is doing on the network, and the switch that ends it at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.interrupted = False
        self.nudged = False
        # Whether the request under way went out on a connection that had served another one.
        self.reused = False

    def interrupt(self) -> None:
        """Ends whatever the call is blocked on, and all that it would begin. Any thread."""
        with self._lock:
            self.interrupted = True
            if self._socket is not None:
                _shut_down(self._socket)

    def nudge(self) -> None:
        """Cuts off the request under way, or the next one, if none is. Any thread."""
        with self._lock:
            self.nudged = True
            if self._socket is not None:
                _shut_down(self._socket)

    def rearm(self) -> None:
        """What a nudge before this one called for is done by the next request."""
        with self._lock:
            self.nudged = False

    def check(self) -> None:
        """Raises Interrupted once the call was interrupted, Nudged when it was nudged."""
        if self.interrupted:
            raise Interrupted
        if self.nudged:
            raise Nudged

    def watch(self, sock: socket.socket | None) -> None:
        """Names the socket that this call blocks on from now on."""
        with self._lock:
            self._socket = sock
        self.check()

    def release(self) -> None:
        """The connection goes back to its pool: it is another call's now."""
        with self._lock:
            self._socket = None

    def limit_silence(self, seconds: float) -> None:
        """Of the connection that is read, until its next request."""
        with self._lock:
            if self._socket is not None:
                now = self._socket.gettimeout()
                self._socket.settimeout(seconds if now is None else min(now, seconds))

    def hand_over(self, sock: socket.socket) -> bool:
        """Another call uses this kept-alive connection now. Whether it was shut down before."""
        with self._lock:
            if self._socket is sock:
                self._socket = None
            return self.interrupted or self.nudged

    def abandon(self) -> None:
        """In a forked child, where the thread of the call does not exist."""
        self._lock = threading.Lock()
        self._socket = None
        self.interrupted = True


def _shut_down(sock: socket.socket) -> None:
    # Of the base class: an SSLSocket's own would drop the TLS state under the reading thread.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


_current = threading.local()
_open_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def close_inherited() -> None:
    """In a forked child: closes its copies of all sockets, without a word to the servers.

    Not through the pools: their locks may be held by threads that the child does not have.
    """
    for sock in list(_open_sockets):
        with contextlib.suppress(OSError):
            os.close(sock.detach())


def current_call() -> Call | None:
    """The call that this thread makes, if any."""
    return getattr(_current, "call", None)


@contextlib.contextmanager
def calling(call: Call) -> Iterator[None]:
    """Connections used by this thread inside the block belong to this call."""
    _current.call = call
    try:
        yield
    finally:
        _current.call = None


def watch(sock: socket.socket | None) -> None:
    if sock is not None:
        _open_sockets.add(sock)
    call = current_call()
    if call is not None:
        call.watch(sock)
