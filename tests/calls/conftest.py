"""A client whose calls are tried again at once, and a server that knows no task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.settings import QUICK
from trigger_realtime_sync import RealtimeClient, RetryPolicy
from trigger_realtime_sync._calls import patience

KEY = "tr_dev_test0000000000000000"
CALL_RETRY = RetryPolicy(initial_delay=0.01, max_delay=0.05, max_retries=4)


@pytest.fixture
def connect(connect: Callable[..., RealtimeClient]) -> Callable[..., RealtimeClient]:
    def make(server: Any, **options: Any) -> RealtimeClient:
        usual = {"access_token": KEY, "retry": QUICK, "call_retry": CALL_RETRY}
        return connect(server, **{**usual, **options})

    return make


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let a server that may have forgotten be asked again after a fraction of a second."""
    monkeypatch.setattr(patience, "LATER_SECONDS", 0.4)
    return 0.4
