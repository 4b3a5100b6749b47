"""When the stream of a finished run is over, and when it is given up."""

from __future__ import annotations

import pytest

from trigger_realtime_sync._wire.stream_end import (
    LATE_SECONDS,
    QUIET_SECONDS,
    EndPatience,
    StreamEnd,
    Writer,
)


def test_given_up_after_the_patience_and_three_reads():
    """Counted from the first read that proved nothing."""
    patience = EndPatience(30)
    assert not patience.proved_nothing(100)
    assert not patience.proved_nothing(130)
    assert patience.proved_nothing(131)
    patience = EndPatience(30)
    assert [patience.proved_nothing(now) for now in (100, 110, 120, 129.9)] == [False] * 4
    assert patience.proved_nothing(130)


def test_a_part_or_an_end_starts_it_anew():
    """Seconds and reads."""
    patience = EndPatience(30)
    assert [patience.proved_nothing(now) for now in (100, 120)] == [False, False]
    patience.restart()
    assert [patience.proved_nothing(now) for now in (131, 161)] == [False, False]
    assert patience.proved_nothing(161)


def test_a_server_that_asks_for_longer_is_not_waited_for():
    """What it asks for reaches beyond the patience: there is no further attempt."""
    assert EndPatience(30).proved_nothing(100, asked=30.1)
    assert not EndPatience(30).proved_nothing(100, asked=29)


def test_pauses_leave_time_for_enough_reads():
    """However long the back-off has become."""
    patience, now, reads = EndPatience(30), 100.0, 1
    while not patience.proved_nothing(now):
        now += patience.longest_pause(now)
        reads += 1
    assert reads > 3
    assert 130 <= now <= 138
    assert EndPatience(30).longest_pause(0) == 7.5
    late = EndPatience(30)
    late.proved_nothing(100)
    assert late.longest_pause(129) == 1
    assert late.longest_pause(500) == 7.5


@pytest.mark.parametrize("writer", Writer)
def test_the_end_is_sought_once_the_run_has_finished(writer):
    """Of a cancelled run once, and then again when its task has stopped."""
    end = StreamEnd()
    assert end.is_sought(writer) is (writer is not Writer.WORKING)
    end.proven(writer, 0)
    assert end.is_sought(writer) is (writer in (Writer.UNCERTAIN, Writer.GONE))


def test_over_at_the_first_proven_end_of_a_writer_that_is_gone():
    """And not before."""
    end = StreamEnd()
    assert end.proven(Writer.STOPPING, 0) == 0
    assert end.proven(Writer.GONE, 0) is None
    assert StreamEnd().proven(Writer.GONE, 0) is None


def test_a_writer_that_may_outlive_its_run_is_looked_at_twice():
    """And again as long as that brings parts, within bounds."""
    end = StreamEnd()
    end.has_news()
    assert end.proven(Writer.UNCERTAIN, 100) == QUIET_SECONDS
    assert end.proven(Writer.UNCERTAIN, 102) is None
    end = StreamEnd()
    end.proven(Writer.UNCERTAIN, 100)
    end.has_news()
    assert end.proven(Writer.UNCERTAIN, 102) == QUIET_SECONDS
    end.has_news()
    assert end.proven(Writer.UNCERTAIN, 100 + LATE_SECONDS) is None


def test_an_end_that_looks_like_a_cut_is_confirmed_by_another():
    """Of two in a row: a part between them starts the count anew."""
    end = StreamEnd()
    assert [end.is_confirmed(), end.is_confirmed(), end.is_confirmed()] == [False, True, True]
    end.has_news()
    assert [end.is_confirmed(), end.is_confirmed()] == [False, True]
