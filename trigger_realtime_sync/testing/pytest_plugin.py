"""The fixture `realtime_server`. Loaded by every pytest run, so it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .server import RealtimeServer


@pytest.fixture
def realtime_server() -> Iterator[RealtimeServer]:
    """A fresh, running `RealtimeServer` (native backend, v2 streams), stopped after the test."""
    from . import RealtimeServer

    with RealtimeServer() as server:
        yield server
