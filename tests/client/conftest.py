"""Servers of both backends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trigger_realtime_sync._http.requester import Requester
from trigger_realtime_sync._wire import poll_times
from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture(params=["native", "electric"])
def server(request: pytest.FixtureRequest) -> Iterator[RealtimeServer]:
    with RealtimeServer(backend=request.param) as server:
        yield server


@pytest.fixture(params=["native", "electric"])
def brisk(request: pytest.FixtureRequest) -> Iterator[RealtimeServer]:
    """Servers of both backends that hold their polls for a moment only."""
    with RealtimeServer(backend=request.param, hold=0.15) as server:
        yield server


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let feeds ask without waiting for a change every fraction of a second, not every minutes."""
    monkeypatch.setattr(poll_times, "LOOK_AT_RUN_SECONDS", 0.3)
    monkeypatch.setattr(poll_times, "LOOK_AT_RUNS_SECONDS", 0.3)
    monkeypatch.setattr(poll_times, "LOOK_AT_DOUBT_SECONDS", 0.3)
    monkeypatch.setattr(poll_times, "LOOK_AT_RUNS_TIMES", 10)


@pytest.fixture
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be told by a feed that asks without waiting for a change."""
    for name in ("LOOK_AT_RUN_SECONDS", "LOOK_AT_RUNS_SECONDS", "LOOK_AT_DOUBT_SECONDS"):
        monkeypatch.setattr(poll_times, name, 3600.0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record each wait of a feed instead of waiting."""
    seconds: list[float] = []
    original = Requester.pause

    def pause(self: Requester, delay: float, at_least: float = 0.0) -> None:
        seconds.append(delay)
        original(self, 0.0)

    monkeypatch.setattr(Requester, "pause", pause)
    return seconds
