"""Servers of both stream formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.streams import FedServer
from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(version: Any) -> Iterator[RealtimeServer]:
    with RealtimeServer(streams=version) as server:
        yield server


@pytest.fixture
def fed() -> Iterator[FedServer]:
    with FedServer() as server:
        yield server
