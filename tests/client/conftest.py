"""Servers of both backends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture(params=["native", "electric"])
def server(request: pytest.FixtureRequest) -> Iterator[RealtimeServer]:
    with RealtimeServer(backend=request.param) as server:
        yield server
