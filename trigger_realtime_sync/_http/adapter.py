"""The requests adapter: pools of interruptible connections, sharing one TLS context."""

from __future__ import annotations

import queue
import ssl
from collections import deque
from functools import cache
from typing import Any

import requests.adapters
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from .addresses import Addresses
from .connections import WatchedConnection, WatchedTlsConnection
from .tls import SharedContext

# Kept-alive connections per host. Each held poll occupies one, so this must exceed the number of
# subscriptions of a busy client, or every poll would connect anew.
POOL_SIZE = 2048


class _KeptConnections:
    """The kept-alive connections of a pool, the youngest first.

    Takes the place of a `LifoQueue`, which urllib3 fills with placeholders (3 ms for POOL_SIZE):
    only a pool needs them which limits its connections; none here does. And it takes no lock, so
    that a signal handler may make a call inside of any other.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: deque[Any] = deque()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return a connection; never wait for one.

        Raises:
            queue.Empty: there is none.
        """
        try:
            return self._kept.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Keep a connection.

        Raises:
            queue.Full: there are enough.
        """
        if len(self._kept) >= self._most:
            raise queue.Full
        if item is not None:
            self._kept.append(item)

    def qsize(self) -> int:
        """Return how many are kept."""
        return len(self._kept)


class _OneHost(HTTPConnectionPool):
    """A pool whose connections share what was learnt of the addresses of their host. It hands out
    none that was idle for longer than the call allows."""

    QueueCls: Any = _KeptConnections

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._addresses = Addresses()

    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.addresses = self._addresses
        return connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        # Before urllib3 looks whether it is closed, and tells a proxy where to connect it.
        connection.freshen()
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.kept()
        super()._put_conn(conn)


class _PlainPool(_OneHost):
    ConnectionCls = WatchedConnection


class _TlsPool(_OneHost, HTTPSConnectionPool):
    ConnectionCls = WatchedTlsConnection


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """Makes interruptible connections, all with the same TLS context.

    Args:
        verify: see `SharedContext`.
    """

    def __init__(self, verify: bool | str | ssl.SSLContext) -> None:
        self._tls = SharedContext(verify)
        super().__init__(pool_connections=32, pool_maxsize=POOL_SIZE)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_watched_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._tls.get(), **kwargs)
        if "_socks_options" in manager.connection_pool_kw:
            manager.pool_classes_by_scheme = _socks_pools()
        else:
            _use_watched_pools(manager)
        return manager

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https":
            pool.pop("ca_certs", None)
            pool.pop("ca_cert_dir", None)
            context = self._tls.get()
            pool["ssl_context"] = context
            # urllib3 sets it on the context.
            kind: Any = context.verify_mode.name
            pool["cert_reqs"] = kind
        return host, pool

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Skip the parsing of the URL that looks for a proxy where there is none."""
        if proxies:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        try:
            host, pool = self.build_connection_pool_key_attributes(request, verify, cert)
        except ValueError as error:
            raise requests.exceptions.InvalidURL(error, request=request) from None
        return self.poolmanager.connection_from_host(**host, pool_kwargs=pool)

    def request_url(self, request: Any, proxies: Any) -> str:
        """Skip the same parsing, but leave a path that could be taken for a host to requests."""
        path: str = request.path_url
        if proxies or path.startswith("//"):
            return super().request_url(request, proxies)
        return path

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Do nothing: the shared context holds the certificates already."""

    def close(self) -> None:
        """Close every kept connection: requests would only forget them."""
        managers = [self.poolmanager, *self.proxy_manager.values()]
        for manager in managers:
            for key in manager.pools.keys():  # noqa: SIM118 (not a mapping)
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()


def _use_watched_pools(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}


@cache
def _socks_pools() -> dict[str, type[HTTPConnectionPool]]:
    from .socks_connections import WatchedSocksConnection, WatchedSocksTlsConnection

    class PlainPool(_OneHost):
        ConnectionCls = WatchedSocksConnection

    class TlsPool(_TlsPool):
        ConnectionCls = WatchedSocksTlsConnection

    return {"http": PlainPool, "https": TlsPool}
