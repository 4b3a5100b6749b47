"""Seeds: of the run, of an environment variable, and of a test that failed. And the clocks of a
round: what the client and the server measure in minutes takes seconds here."""

from __future__ import annotations

import os
import time
from types import ModuleType

import attrs
import pytest

from trigger_realtime_sync._feeds import second_opinion, stray_runs, unplaced
from trigger_realtime_sync._http import rations, retry
from trigger_realtime_sync._wire import poll_times, row_judge
from trigger_realtime_sync.testing import _electric, _native

ROUNDS = int(os.environ.get("TRIGGER_CHAOS_ROUNDS", "1"))
SEED = os.environ.get("TRIGGER_CHAOS_SEED")

# Longer than any answer is old here (`tests.chaos.world.LAG`, `tests.chaos.proxy.OLDEST_STALE`), as
# the client's own is longer than replicas and caches lag.
DOUBT_SECONDS = 2.0
SHORTENED: dict[ModuleType, dict[str, float]] = {
    poll_times: {
        "LOOK_AT_RUN_SECONDS": 0.5,
        "LOOK_AT_RUNS_SECONDS": 1.0,
        "LOOK_AT_RUNS_TIMES": 10,
        "LOOK_AT_DOUBT_SECONDS": DOUBT_SECONDS,
    },
    row_judge: {"DOUBT_SECONDS": DOUBT_SECONDS},
    unplaced: {"LEAST_PAUSE": 0.05, "MOST_PAUSE": 0.2},
    second_opinion: {
        "LEAST_SILENCE": 0.5,
        "MOST_SILENCE": 1.0,
        "LONGEST_PAUSE": 2.0,
        "SILENT_RUN_SECONDS": 1.0,
        "PATIENCE": 1.0,
    },
    stray_runs: {"TURN_SECONDS": 0.05, "RUN_SECONDS": 0.3},
    rations: {
        "REFUSED_PER_SECOND": 200.0,
        "OPINIONS_PER_SECOND": 50.0,
        "SILENT_RUNS_PER_SECOND": 20.0,
        "SECONDS_AFTER_REFUSAL": 0.5,
    },
    retry: {"RATE_LIMIT_FIRST_WAIT": 0.1, "RESTART_SECONDS": 1.0},
}


@attrs.define
class Clock:
    """The wall clock by which the server computes windows of `createdAt`.

    Attributes:
        ahead: seconds that it is ahead of ours.
    """

    ahead: float = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def time_ns(self) -> int:
        return time.time_ns()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The server's clock; and all long times of the client are short."""
    for module, constants in SHORTENED.items():
        for name, seconds in constants.items():
            monkeypatch.setattr(module, name, seconds)
    clock = Clock()
    for backend in (_electric, _native):
        monkeypatch.setattr(backend, "time", clock)
    return clock


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = int(SEED) if SEED else 1
        metafunc.parametrize("seed", range(first, first + ROUNDS))
