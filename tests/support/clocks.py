"""Long times made short: those of the client, and the day of the test server's windows."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any

import attrs
import pytest

from trigger_realtime_sync._feeds import second_opinion, stray_runs, unplaced
from trigger_realtime_sync._http import rations, retry
from trigger_realtime_sync._wire import poll_times, row_judge
from trigger_realtime_sync.testing import _electric, _native

# Seconds in which an old answer is not believed: longer than a test's replicas and caches lag, as
# the client's own are longer than those of servers.
DOUBT_SECONDS = 2.0
_SHORTENED: dict[ModuleType, dict[str, float]] = {
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
_DAY = 86_400.0


@attrs.define
class ServerClock:
    """The wall clock by which the test server computes windows of `createdAt`.

    Attributes:
        ahead: seconds that it is ahead of ours.
    """

    ahead: float = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def let_a_day_pass(self) -> None:
        """From now on, windows begin after every run that there is."""
        self.ahead = 1.1 * _DAY

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def shorten(monkeypatch: pytest.MonkeyPatch, *, looks: bool = True) -> ServerClock:
    """Make seconds of the client's minutes. Return the clock of the test server.

    Args:
        looks: also those after which it looks for what live polls do not tell.
    """
    for module, constants in _SHORTENED.items():
        for name, value in constants.items():
            if looks or module is not poll_times:
                monkeypatch.setattr(module, name, value)
    clock = ServerClock()
    for backend in (_electric, _native):
        monkeypatch.setattr(backend, "time", clock)
    return clock
