"""The log of places: the one after each part, whichever way the parts came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync._channel.places import LONGEST_LIST, PlaceLog
from trigger_realtime_sync._wire.stream_parts import Place, Places, SomePlaces


def places(first: int, count: int, *, listed: bool) -> Places:
    """The places after so many parts: a list, or what makes them when asked."""
    whole: list[Place] = [f"after part {n}" for n in range(first, first + count)]
    return whole if listed else SomePlaces(whole, list(range(count)))


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=12), st.integers(0, 2000))
def test_each_part_has_the_place_it_came_with(runs: list[tuple[int, bool]], drop: int) -> None:
    """One by one or many at once, copied on the way, and after the first ones were dropped."""
    log, count = PlaceLog(), 0
    for size, listed in runs:
        log.add(places(count, size, listed=listed))
        count += size
    copy = log.copy()
    log.drop_before(drop)
    log.add(places(count, 3, listed=True))
    copy.add(places(count, 2, listed=False))
    for n in range(drop, count + 3):
        assert log[n] == f"after part {n}"
    for n in range(count + 2):
        assert copy[n] == f"after part {n}"


@pytest.mark.parametrize("listed", [True, False])
def test_what_was_dropped_is_not_kept(listed: bool) -> None:
    """A stream that goes on for days keeps the places of the parts it keeps, and few more."""
    log = PlaceLog()
    for n in range(5 * LONGEST_LIST):
        log.add(places(n, 1, listed=listed))
        log.drop_before(n)
    assert sum(map(len, log._runs)) <= 2 * LONGEST_LIST
