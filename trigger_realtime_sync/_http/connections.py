"""Connections that another thread can cut off while they block.

Closing a response or a session interrupts nothing, and a held poll blocks before there is a
response at all. What works is `shutdown()` on the socket itself; so each connection tells the call
that uses it which socket it has.
"""

from __future__ import annotations

import os
import queue
import socket
import ssl
import threading
from typing import Any

import requests.adapters
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from ..errors import ConfigurationError
from .call import Call, Interrupted, Nudged, current_call, watch
from .chunked import EagerResponse

# Kept-alive connections per host. Each held poll has one, so it must not be below the number of
# subscriptions of a busy client, or every poll would connect anew.
POOL_SIZE = 2048


def _watch_new() -> None:
    """The call of this thread connects."""
    call = current_call()
    if call is not None:
        call.reused = False
    watch(None)


def _take_over(connection: HTTPConnection) -> None:
    """A kept-alive connection goes from the call that used it last to this thread's."""
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
    """As urllib3 opens one, but the call knows each socket before it connects, and can cut even
    that off."""
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
    # Not as it is: urllib3 takes an OSError for one of a connection that stood.
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


class _PlainConnection(HTTPConnection):
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


class _TlsConnection(HTTPSConnection):
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
        # The handshake takes the socket object over, so only a second one can interrupt it.
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


class _KeptConnections(queue.LifoQueue[Any]):
    """Without the placeholders that urllib3 fills a pool with, 3 ms for so many: none of its pools
    here waits for one, for none bounds how many connections there are."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is not None:
            super().put(item, block, timeout)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection
    QueueCls = _KeptConnections


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
    QueueCls = _KeptConnections


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """An adapter of watched connections, with one TLS context for all of them.

    requests and urllib3 would read the certificates of all authorities for each connection: 20 ms
    and a megabyte each time.
    """

    def __init__(self, verify: bool | str) -> None:
        self._verify = verify
        self._context: ssl.SSLContext | None = None
        self._context_lock = threading.Lock()
        super().__init__(pool_connections=32, pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_watched_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._tls_context(), **kwargs)
        _use_watched_pools(manager)
        return manager

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https":
            pool.pop("ca_certs", None)
            pool.pop("ca_cert_dir", None)
            pool["ssl_context"] = self._tls_context()
            pool["cert_reqs"] = "CERT_NONE" if self._verify is False else "CERT_REQUIRED"
        return host, pool

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """As it is, but where there is no proxy the URL is not taken apart to look for one."""
        if proxies:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        try:
            host, pool = self.build_connection_pool_key_attributes(request, verify, cert)
        except ValueError as error:
            raise requests.exceptions.InvalidURL(error, request=request) from None
        return self.poolmanager.connection_from_host(**host, pool_kwargs=pool)

    def request_url(self, request: Any, proxies: Any) -> str:
        """The same. What begins like another host's is left to requests."""
        path: str = request.path_url
        if proxies or path.startswith("//"):
            return super().request_url(request, proxies)
        return path

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Nothing to do: the shared context holds the certificates already."""

    def close(self) -> None:
        """Closes every kept connection: requests would only forget them."""
        managers = [self.poolmanager, *self.proxy_manager.values()]
        for manager in managers:
            for key in manager.pools.keys():  # noqa: SIM118 (not a mapping)
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()

    def _tls_context(self) -> ssl.SSLContext:
        with self._context_lock:
            if self._context is None:
                try:
                    self._context = _make_context(self._verify)
                except OSError as error:
                    raise ConfigurationError(
                        f"verify: the certificates can't be read: {type(error).__name__}: {error}"
                    ) from None
            return self._context


def _use_watched_pools(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


def _make_context(verify: bool | str) -> ssl.SSLContext:
    context = create_urllib3_context()
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.verify_mode = ssl.CERT_REQUIRED
    path = verify if isinstance(verify, str) else _ca_bundle()
    if os.path.isdir(path):
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context


def _ca_bundle() -> str:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(name):
            return os.environ[name]
    return str(DEFAULT_CA_BUNDLE_PATH)
