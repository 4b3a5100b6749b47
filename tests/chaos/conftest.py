"""Seeds: of the run, of an environment variable, and of a test that failed. And `clock`, that of
the server: what the client measures in minutes takes seconds."""

from __future__ import annotations

import os

import pytest

from tests.chaos.world import Habits
from tests.support.clocks import ServerClock, shorten

ROUNDS = int(os.environ.get("TRIGGER_CHAOS_ROUNDS", "1"))
SEED = os.environ.get("TRIGGER_CHAOS_SEED")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, seed: int) -> ServerClock:
    return shorten(monkeypatch, looks=Habits.of(seed).looks)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = int(SEED) if SEED else 1
        metafunc.parametrize("seed", range(first, first + ROUNDS))
