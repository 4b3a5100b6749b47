"""The connection to one browser, where its server tells which that is."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Any, Protocol

# Seconds for which a browser may take nothing of what is written to it.
WRITE_SECONDS = 30.0
# Under which names servers put the socket into the environment of WSGI.
_NAMES = ("gunicorn.socket", "werkzeug.socket")


class Connection(Protocol):
    """What is written to while a relay is the response."""

    def give_back(self) -> None:
        """Leave it to the server as it was. The next request may come on it."""

    def cut(self) -> None:
        """Let a write that is blocked fail. On any thread."""


class SocketConnection:
    """The socket that a server writes to, while a relay is its response.

    A write that takes longer than `WRITE_SECONDS` fails: the thread that is blocked in it would
    stay for as long as the browser keeps the connection.
    """

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._before = sock.gettimeout()
        # Bounds a whole `sendall`: a browser that takes a byte now and then gains nothing by it.
        sock.settimeout(WRITE_SECONDS)

    def give_back(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.settimeout(self._before)

    def cut(self) -> None:
        # Another object for the same connection, since each kind of socket (TLS, gevent's) has a
        # `shutdown` of its own, which does more than this.
        with contextlib.suppress(OSError, ValueError):
            _shut_down(os.dup(self._socket.fileno()))


def _shut_down(descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def connection_of(environ: Mapping[str, Any] | None) -> Connection | None:
    """Return the connection of a WSGI request, or None where its server does not tell.

    None for HTTP/2 too, where other responses share it.
    """
    if environ is None or str(environ.get("SERVER_PROTOCOL", "")).startswith("HTTP/2"):
        return None
    sock = next((environ[name] for name in _NAMES if environ.get(name) is not None), None)
    try:
        return None if sock is None else SocketConnection(sock)
    except (AttributeError, OSError):
        return None
