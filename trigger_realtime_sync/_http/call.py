"""The network activity of one thread, which other threads can cut off."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import weakref
from collections.abc import Iterator

from .._clock import monotonic
from .mask import Mask


class Interrupted(Exception):
    """The call was cut off for good: its subscription ended."""


class Nudged(Exception):
    """The request was cut off on purpose: something changed, so another one must be sent."""


class Call:
    """The requests of one thread, one at a time, and a switch that ends them at once.

    Attributes:
        interrupted: whether the call was cut off for good.
        nudged: whether the current request, or else the next one, was cut off.
        reused: whether the current request was sent on a kept-alive connection.
        connected: whether the current request had a connection, and so may have been sent.
        trusted: whether a TLS handshake ever succeeded.
        hung_up: whether it was ended at once, on a kept-alive connection, without an answer: most
            likely the server had closed that already.
        mask: hides the secrets of the current request in what is said about it.
        most_idle: for how many seconds a kept-alive connection may have been idle to be used.
        ends_at: a moment of `time.monotonic()` after which no step of a request is waited for; None
            for no bound.
    """

    def __init__(self) -> None:
        # Protects the socket, so that it is never shut down after it became another call's. A
        # signal handler may interrupt who holds it, and end the call.
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._process = os.getpid()
        self.interrupted = False
        self.nudged = False
        self.reused = False
        self.connected = False
        self.trusted = False
        self.hung_up = False
        self.most_idle = math.inf
        self.ends_at: float | None = None
        self.mask = Mask()

    def begin(self) -> None:
        """Forget what is known of the last request: nothing of the next one was sent yet."""
        self.connected = self.hung_up = False

    def interrupt(self) -> None:
        """Cut off the current request and refuse all later ones. Safe from any thread, and in a
        signal handler."""
        self.interrupted = True
        with self._lock:
            if self._socket is not None:
                _shut_down(self._socket)

    def nudge(self) -> None:
        """Cut off the current request, or else the next one. Safe from any thread."""
        with self._lock:
            self.nudged = True
            if self._socket is not None:
                _shut_down(self._socket)

    def rearm(self) -> None:
        """Forget an earlier nudge: the next request satisfies it."""
        with self._lock:
            self.nudged = False

    def check(self) -> None:
        """Raise Interrupted or Nudged if the call was cut off.

        A call is cut off in a forked child too, where its thread exists only if it forked itself.
        """
        if self.interrupted or os.getpid() != self._process:
            raise Interrupted
        if self.nudged:
            raise Nudged

    def watch(self, sock: socket.socket | None) -> None:
        """Set the socket that the call blocks on; raises if the call was cut off."""
        with self._lock:
            self._socket = sock
        self.check()

    def release(self) -> None:
        """Let go of the connection: it returns to its pool, for any call to use."""
        with self._lock:
            self._socket = None

    def limit_silence(self, seconds: float) -> None:
        """Lower the socket timeout until the connection's next request."""
        with self._lock:
            if self._socket is not None:
                now = self._socket.gettimeout()
                _set_timeout(self._socket, seconds if now is None else min(now, seconds))
        self._end_if_interrupted()

    def set_silence(self, seconds: float) -> None:
        """Set the socket timeout until the connection's next request."""
        with self._lock:
            if self._socket is not None:
                _set_timeout(self._socket, seconds)
        self._end_if_interrupted()

    def _end_if_interrupted(self) -> None:
        if self.interrupted:
            self.interrupt()

    def limited(self, seconds: float | None) -> float | None:
        """Return how many seconds a step may take that would be waited for so long (None: for
        ever)."""
        if self.ends_at is None:
            return seconds
        # Not 0, which would mean not to wait at all, and be another error.
        left = max(self.ends_at - monotonic(), 0.001)
        return left if seconds is None else min(seconds, left)

    def hand_over(self, sock: socket.socket) -> bool:
        """Let go of a kept-alive connection that another call is about to use.

        Returns:
            True if this call may have shut the connection down.
        """
        with self._lock:
            if self._socket is sock:
                self._socket = None
            return self.interrupted or self.nudged


def _set_timeout(sock: socket.socket, seconds: float) -> None:
    # It may be closed by now: by close(), or since the answer is read and was the last one on it.
    with contextlib.suppress(OSError):
        sock.settimeout(seconds)


def _shut_down(sock: socket.socket) -> None:
    # Not sock.shutdown(): an SSLSocket's would drop the TLS state under the reading thread.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


_current = threading.local()
_open_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def close_inherited() -> None:
    """Close a forked child's copies of all sockets; the parent's connections stay open.

    The pools cannot do it: their locks may be held by threads that the child does not have.
    """
    for sock in list(_open_sockets):
        with contextlib.suppress(OSError):
            os.close(sock.detach())


def current_call() -> Call | None:
    """Return the call that this thread is making, if any."""
    return getattr(_current, "call", None)


@contextlib.contextmanager
def calling(call: Call) -> Iterator[None]:
    """Make the connections that this thread uses inside the block belong to the call."""
    _current.call = call
    try:
        yield
    finally:
        _current.call = None


def watch(sock: socket.socket | None) -> None:
    """Let this thread's call, if any, watch a socket; see `Call.watch`."""
    if sock is not None:
        _open_sockets.add(sock)
    call = current_call()
    if call is not None:
        call.watch(sock)
