"""The fixture `realtime_server`.

Every pytest run of everyone who has the package loads this module: it must stay cheap to import.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .server import RealtimeServer


@pytest.fixture
def realtime_server() -> Iterator[RealtimeServer]:
    """Yield a running `RealtimeServer` (native backend, v2 streams), stopped after the test."""
    from . import RealtimeServer

    with RealtimeServer() as server:
        yield server
