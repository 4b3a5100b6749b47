"""Callbacks that are due when a poll is held have run before a test goes on.

A feed posts what it read, and polls again. On a busy machine its callbacks run after that; and if
a test changes the run meanwhile, states coalesce, which a test of each state does not expect.
"""

from __future__ import annotations

import time
import weakref
from typing import Any

import pytest

from trigger_realtime_sync._dispatch.pool import WorkerPool
from trigger_realtime_sync.testing import RealtimeServer

# Seconds after which a callback is taken for one that blocks on purpose.
BLOCKED_SECONDS = 0.3


def settle_when_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `RealtimeServer.wait_until_held` wait for due callbacks as well."""
    pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()
    make, wait_until_held = WorkerPool.__init__, RealtimeServer.wait_until_held

    def remember(self: WorkerPool, *arguments: Any) -> None:
        make(self, *arguments)
        pools.add(self)

    def wait_until_told(self: RealtimeServer, *arguments: Any, **options: Any) -> None:
        wait_until_held(self, *arguments, **options)
        deadline = time.monotonic() + BLOCKED_SECONDS
        while any(map(_is_busy, list(pools))) and time.monotonic() < deadline:
            time.sleep(0.0005)

    monkeypatch.setattr(WorkerPool, "__init__", remember)
    monkeypatch.setattr(RealtimeServer, "wait_until_held", wait_until_told)


def _is_busy(pool: WorkerPool) -> bool:
    with pool._lock:
        return bool(pool._ready) or len(pool._threads) > pool._waiting
