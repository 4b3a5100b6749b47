"""When a feed asks without waiting for a change (docs/protocol.md, section 2, items 5 and 6)."""

from __future__ import annotations

import pytest

from trigger_realtime_sync._wire.poll_times import (
    CATCH_UP_TIMES,
    LOOK_AT_DOUBT_SECONDS,
    LOOK_AT_RUN_SECONDS,
    LOOK_AT_RUNS_SECONDS,
    LOOK_AT_RUNS_TIMES,
    PollTimes,
)


def times(*, single: bool, at: float = 100.0, took: float = 0.1) -> PollTimes:
    """Times of a feed whose last answer that was not live came at `at`."""
    times = PollTimes(single=single)
    times.answered(at, took)
    return times


def is_due(times: PollTimes, now: float, *, doubts: bool = False) -> bool:
    return times.is_look_due(now, doubts=doubts)


def test_one_run_is_looked_at_a_minute_after_the_last_answer_that_was_not_live():
    """Whatever live polls were held in between."""
    feed = times(single=True)
    assert not is_due(feed, 100 + LOOK_AT_RUN_SECONDS - 0.1)
    assert is_due(feed, 100 + LOOK_AT_RUN_SECONDS)


def test_one_run_is_looked_at_a_minute_after_its_last_row():
    """While it changes, live polls tell it."""
    feed = times(single=True)
    feed.row_came(150)
    assert not is_due(feed, 100 + LOOK_AT_RUN_SECONDS)
    assert is_due(feed, 150 + LOOK_AT_RUN_SECONDS)


def test_many_runs_are_looked_at_every_five_minutes():
    """Rows do not put it off: they say nothing of the other runs."""
    feed = times(single=False)
    feed.row_came(100 + LOOK_AT_RUNS_SECONDS - 1)
    assert not is_due(feed, 100 + LOOK_AT_RUNS_SECONDS - 0.1)
    assert is_due(feed, 100 + LOOK_AT_RUNS_SECONDS)


def test_large_snapshots_are_rarer():
    """A hundred times as long as the last one took."""
    feed = times(single=False, took=20)
    assert not is_due(feed, 100 + LOOK_AT_RUNS_TIMES * 20 - 1)
    assert is_due(feed, 100 + LOOK_AT_RUNS_TIMES * 20)
    assert not is_due(feed, 100 + LOOK_AT_RUNS_TIMES * 20 - 1, doubts=True)


@pytest.mark.parametrize("single", [True, False])
def test_what_is_in_doubt_is_looked_at_sooner(single):
    """After the time that neither replica lag nor a cache lasts."""
    feed = times(single=single)
    feed.row_came(100 + LOOK_AT_DOUBT_SECONDS)
    assert not is_due(feed, 100 + LOOK_AT_DOUBT_SECONDS - 0.1, doubts=True)
    assert is_due(feed, 100 + LOOK_AT_DOUBT_SECONDS, doubts=True)
    assert not is_due(feed, 100 + LOOK_AT_DOUBT_SECONDS, doubts=False)


def test_catch_ups_after_lost_answers_are_spaced():
    """By ten times as long as the last one took; the first one may come at once."""
    assert PollTimes(single=True).until_catch_up(7) == 0
    feed = times(single=True, took=0.5)
    assert feed.until_catch_up(100) == CATCH_UP_TIMES * 0.5
    assert feed.until_catch_up(104) == pytest.approx(1)
    assert feed.until_catch_up(200) == 0
