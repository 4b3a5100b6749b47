"""What ends a pause."""

from __future__ import annotations

import threading

from trigger_realtime_sync._http.bell import Bell


def test_a_ring_before_the_wait_is_not_lost():
    """Nor one between two waits, until it is cleared."""
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(10)
    assert bell.wait(10)
    bell.clear()
    assert not bell.wait(0.01)


def test_a_ring_ends_a_wait():
    """From another thread."""
    bell = Bell()
    told: list[bool] = []
    waiting = threading.Thread(target=lambda: told.append(bell.wait(10)))
    waiting.start()
    bell.ring()
    waiting.join(5)
    assert told == [True]


def test_a_ring_that_was_cleared_does_not_shorten_the_next_wait():
    """What it left behind is cleared with it."""
    bell = Bell()
    for _ in range(3):
        bell.ring()
        bell.clear()
    assert not bell.wait(0.05)
    assert not bell.rung
