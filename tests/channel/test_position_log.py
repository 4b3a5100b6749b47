"""The log of positions: the one after each part, whichever way the parts came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync._channel.position_log import LONGEST_LIST, PositionLog


@given(st.lists(st.integers(0, 3) | st.integers(0, 400), max_size=12), st.integers(0, 2000))
def test_each_part_has_the_position_it_came_with(runs, drop):
    """One by one or many at once, copied on the way, and after the first ones were dropped."""
    log, count = PositionLog(), 0

    def add(log: PositionLog, size: int) -> None:
        log.add(size, [f"after part {n}" for n in range(count, count + size)].__getitem__)

    for size in runs:
        add(log, size)
        count += size
    copy = log.copy()
    log.drop_before(drop)
    for size in (1, 2):
        add(log, size)
        add(copy, size)
        count += size
    for n in range(drop, count):
        assert log[n] == f"after part {n}"
    for n in range(count):
        assert copy[n] == f"after part {n}"


@pytest.mark.parametrize("size", [1, 2])
def test_what_was_dropped_is_not_kept(size):
    """A stream that goes on for days keeps the positions of the parts it keeps, and few more."""
    log = PositionLog()
    for n in range(0, 5 * LONGEST_LIST, size):
        log.add(size, ["", ""].__getitem__)
        log.drop_before(n)
    assert len(log._runs) <= 2
