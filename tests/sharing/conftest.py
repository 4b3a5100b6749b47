"""A Redis, servers of both backends, and clients that share.

redis: a `redis-server` that only this test uses; without one the test is skipped.
share: makes clients of a server that share by the Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.redis import SERVER, Redis
from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture
def redis() -> Iterator[Redis]:
    pytest.importorskip("redis")
    if SERVER is None:
        pytest.skip("there is no redis-server here")
    server = Redis()
    yield server
    server.close()


@pytest.fixture(params=["native", "electric"])
def server(request: pytest.FixtureRequest) -> Iterator[RealtimeServer]:
    with RealtimeServer(backend=request.param) as server:
        yield server


@pytest.fixture
def share(
    server: RealtimeServer, redis: Redis, connect: Callable[..., RealtimeClient]
) -> Callable[..., RealtimeClient]:
    from trigger_realtime_sync.sharing import RedisSharing

    def make(**options: Any) -> RealtimeClient:
        names = ("redis", "lease", "lead", "prefix", "audience", "on_outage", "encrypt", "history")
        sharing = {name: options.pop(name) for name in names if name in options}
        shared = RedisSharing(sharing.pop("redis", redis.url), **{"lease": 0.9, **sharing})
        return connect(server, shared=shared, **options)

    return make
