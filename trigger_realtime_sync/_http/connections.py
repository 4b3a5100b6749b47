"""Connections that another thread can cut off while they block.

Closing a response or a session interrupts nothing, and a held poll blocks before there is a
response at all. What works is `shutdown()` on the socket itself, so each connection registers its
socket with the call that uses it.
"""

from __future__ import annotations

import math
import socket
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from .._clock import monotonic
from .addresses import Addresses, connect
from .call import Call, Interrupted, Nudged, current_call, watch
from .deadlines import TimedResponse

# Bytes of a body that is sent together with its head. A longer one does not fit into few packets
# anyway, and would be copied.
MOST_JOINED = 64 << 10


class WatchedConnection(HTTPConnection):
    """An interruptible connection without TLS."""

    response_class = TimedResponse
    # Whoever debugs http.client has it print what every connection sends, the token included.
    debuglevel = 0
    _last_call: Call | None = None
    _kept_since = -math.inf
    # Whether the head of the current request waits for its body, and that head.
    _holds_head = False
    _head = b""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The pool replaces it by its own.
        self.addresses = Addresses()

    def kept(self) -> None:
        """Note that the connection goes back to its pool."""
        self._kept_since = monotonic()

    def freshen(self) -> None:
        """Close a kept-alive connection that was idle for longer than this thread's call allows: a
        server that closes it meanwhile would look like one whose answer was lost."""
        call = current_call()
        most_idle = math.inf if call is None or self.sock is None else call.most_idle
        if monotonic() - self._kept_since > most_idle:
            self.close()

    def _new_conn(self) -> socket.socket:
        """Open a socket to whichever address of the host answers first.

        The call watches it before it is connected, so that connecting can be interrupted too.
        """
        host = self._dns_host.strip("[]")
        try:
            addresses = socket.getaddrinfo(host, self.port, 0, socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise NewConnectionError(self, "the name of the server is not known") from error
        call = current_call()
        timeout = self.timeout if call is None else call.limited(self.timeout)
        try:
            sock = connect(self.addresses, addresses, self._prepare, timeout or 0.0)
        except OSError as error:
            # A bare OSError would look to urllib3 like the failure of an established connection.
            raise NewConnectionError(self, "no connection") from error
        sock.settimeout(timeout)
        return sock

    def _prepare(self, sock: socket.socket) -> None:
        for option in self.socket_options or ():
            sock.setsockopt(*option)

    def connect(self) -> None:
        """Connect. The call's earlier socket is not watched meanwhile."""
        call = current_call()
        if call is not None:
            call.reused = False
        watch(None)
        super().connect()
        watch(self.sock)
        if call is not None:
            call.connected = True
            self._limit_sending(call)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send a request. A kept-alive connection leaves the call that used it last."""
        previous, call = self._last_call, current_call()
        self._last_call = call
        if call is not None:
            call.reused = self.sock is not None
        if self.sock is not None:
            if previous is not None and previous is not call and previous.hand_over(self.sock):
                self.close()
            else:
                watch(self.sock)
                if call is not None:
                    call.connected = True
                    self._limit_sending(call)
        body = kwargs.get("body")
        self._head = b""
        self._holds_head = isinstance(body, bytes) and 0 < len(body) <= MOST_JOINED
        super().request(*args, **kwargs)

    def send(self, data: Any) -> None:
        """Send bytes, the head of a request together with a small body.

        urllib3 sends them one after the other: two packets, the first of which wakes a server that
        can't do anything with it.
        """
        if self._holds_head:
            self._holds_head, self._head = False, data
            return
        # Before sending, which may connect first, and then sends to a proxy.
        head, self._head = self._head, b""
        super().send(head + data if head else data)

    def _limit_sending(self, call: Call) -> None:
        """Let the sending of a large body take as long as the call may."""
        if call.ends_at is not None and self.sock is not None:
            self.sock.settimeout(call.limited(None))

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        """Read the head of the answer, for no longer than the call may still take."""
        call = current_call()
        if call is not None:
            self.timeout = call.limited(self.timeout)
        return super().getresponse(*args, **kwargs)


class WatchedTlsConnection(WatchedConnection, HTTPSConnection):
    """An interruptible connection with TLS."""

    _guard: socket.socket | None = None

    def connect(self) -> None:
        """Connect, and drop the guard."""
        try:
            super().connect()
        finally:
            guard, self._guard = self._guard, None
            if guard is not None:
                guard.close()
        call = current_call()
        if call is not None:
            call.trusted = True

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        # The handshake detaches the socket object: only a duplicate can interrupt it.
        try:
            self._guard = sock.dup()
            watch(self._guard)
        except (Interrupted, Nudged):
            sock.close()
            raise
        except OSError as error:
            sock.close()
            raise NewConnectionError(self, "no connection") from error
        return sock
