"""Connections that another thread can cut off while they block.

Closing a response or a session interrupts nothing, and a held poll blocks before there is a
response at all. What works is `shutdown()` on the socket itself, so each connection registers its
socket with the call that uses it.
"""

from __future__ import annotations

import socket
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from .call import Call, Interrupted, Nudged, current_call, watch
from .chunked import EagerResponse


def _watch_new() -> None:
    """Clear the call's socket while this thread's connection is being made."""
    call = current_call()
    if call is not None:
        call.reused = False
    watch(None)


def _take_over(connection: HTTPConnection) -> None:
    """Hand a kept-alive connection over from the call that used it last to this thread's."""
    call = current_call()
    previous: Call | None = getattr(connection, "last_call", None)
    connection.last_call = call  # type: ignore[attr-defined]
    if call is not None:
        call.reused = connection.sock is not None
    if connection.sock is None:
        return
    if previous is not None and previous is not call and previous.hand_over(connection.sock):
        connection.close()
    else:
        watch(connection.sock)


def _open_socket(connection: HTTPConnection) -> socket.socket:
    """Open a socket as urllib3 does, but let the call watch it before it connects.

    So connecting can be interrupted too.
    """
    host = connection._dns_host.strip("[]")
    try:
        addresses = socket.getaddrinfo(host, connection.port, 0, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise NewConnectionError(connection, "the name of the server is not known") from error
    failure: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        try:
            return _connected(connection, socket.socket(family, kind, protocol), address)
        except OSError as error:
            failure = error
    # A bare OSError would look to urllib3 like the failure of an established connection.
    raise NewConnectionError(connection, "no connection") from failure


def _connected(connection: HTTPConnection, sock: socket.socket, address: Any) -> socket.socket:
    try:
        for option in connection.socket_options or ():
            sock.setsockopt(*option)
        sock.settimeout(connection.timeout)
        watch(sock)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


class PlainConnection(HTTPConnection):
    """An interruptible connection without TLS."""

    response_class = EagerResponse

    def _new_conn(self) -> socket.socket:
        return _open_socket(self)

    def connect(self) -> None:
        _watch_new()
        super().connect()
        watch(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _take_over(self)
        super().request(*args, **kwargs)


class TlsConnection(HTTPSConnection):
    """An interruptible connection with TLS."""

    response_class = EagerResponse

    def connect(self) -> None:
        _watch_new()
        try:
            super().connect()
            watch(self.sock)
        finally:
            self._drop_guard()

    def _new_conn(self) -> socket.socket:
        sock = _open_socket(self)
        # The handshake detaches the socket object: only a duplicate can interrupt it.
        self._guard: socket.socket | None = sock.dup()
        try:
            watch(self._guard)
        except (Interrupted, Nudged):
            sock.close()
            raise
        return sock

    def _drop_guard(self) -> None:
        guard = getattr(self, "_guard", None)
        self._guard = None
        if guard is not None:
            guard.close()

    def request(self, *args: Any, **kwargs: Any) -> None:
        _take_over(self)
        super().request(*args, **kwargs)
