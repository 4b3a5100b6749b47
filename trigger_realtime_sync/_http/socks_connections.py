"""Connections through a SOCKS proxy that can be cut off. Imported only for one: needs PySocks."""

from __future__ import annotations

import importlib
import socket
from collections.abc import Mapping
from typing import Any

from urllib3.exceptions import NewConnectionError

from .call import watch
from .connections import WatchedConnection, WatchedTlsConnection

# Without stubs, and not installed where nobody needs it.
socks: Any = importlib.import_module("socks")


class WatchedSocksConnection(WatchedConnection):
    """An interruptible connection through a SOCKS proxy, without TLS.

    Args:
        _socks_options: as urllib3's manager of SOCKS proxies passes them.
    """

    def __init__(self, *args: Any, _socks_options: Mapping[str, Any], **options: Any) -> None:
        super().__init__(*args, **options)
        self._socks_options = _socks_options

    def _new_conn(self) -> socket.socket:
        proxy = self._socks_options
        failure: OSError | None = None
        try:
            infos = socket.getaddrinfo(
                proxy["proxy_host"], proxy["proxy_port"], 0, socket.SOCK_STREAM
            )
        except (socket.gaierror, UnicodeError) as error:
            raise NewConnectionError(self, "the name of the proxy is not known") from error
        for family, kind, protocol, _, address in infos:
            try:
                return self._through(socks.socksocket(family, kind, protocol), address)
            except OSError as error:
                failure = error
        raise NewConnectionError(self, "no connection") from failure

    def _through(self, sock: Any, address: Any) -> socket.socket:
        proxy = self._socks_options
        try:
            self._prepare(sock)
            sock.set_proxy(
                proxy["socks_version"],
                *address[:2],
                proxy["rdns"],
                proxy["username"],
                proxy["password"],
            )
            sock.settimeout(self.timeout)
            watch(sock)
            sock.connect((self._dns_host.strip("[]"), self.port))
            watch(sock)
        except BaseException:
            sock.close()
            raise
        return sock  # type: ignore[no-any-return]


class WatchedSocksTlsConnection(WatchedTlsConnection, WatchedSocksConnection):
    """An interruptible connection through a SOCKS proxy, with TLS."""
