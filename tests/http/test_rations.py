"""What the feeds of a client share to stay polite (docs/protocol.md, section 5 and item 7)."""

from __future__ import annotations

import logging
import threading

from trigger_realtime_sync._http.rations import (
    OPINIONS_PER_SECOND,
    REFUSED_PER_SECOND,
    SECONDS_AFTER_REFUSAL,
    SILENT_RUNS_PER_SECOND,
    Places,
    Ration,
    Rations,
)


def test_turns_are_spaced():
    """Whoever asks gets the next one, in the order of asking."""
    ration = Ration(4)
    assert [ration.reserve(100) for _ in range(3)] == [0, 0.25, 0.5]
    assert ration.reserve(100.7) == 100.75 - 100.7
    assert ration.reserve(200) == 0


def test_a_turn_that_is_not_free_is_not_waited_for():
    """It is not taken either."""
    ration = Ration(2)
    assert ration.try_take(100)
    assert not ration.try_take(100.4)
    assert not ration.try_take(100.4)
    assert ration.try_take(100.5)


def test_a_turn_that_comes_soon_is_waited_for():
    """One that comes later is not taken."""
    ration = Ration(1)
    assert [ration.reserve_within(100, 2) for _ in range(4)] == [0, 1, 2, None]
    assert ration.reserve_within(101, 2) == 2


def test_turns_do_not_gather():
    """An hour without requests allows no burst."""
    ration = Ration(2)
    ration.try_take(0)
    assert [ration.try_take(3600) for _ in range(3)] == [True, False, False]


def test_turns_may_be_closed():
    """Never sooner than they were."""
    ration = Ration(2)
    ration.close_until(50)
    ration.close_until(10)
    assert not ration.try_take(49)
    assert ration.try_take(50)


def test_threads_share_the_turns():
    """No turn is given twice."""
    ration, waits = Ration(10), []
    threads = [
        threading.Thread(target=lambda: waits.extend(ration.reserve(0) for _ in range(50)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({round(wait, 6) for wait in waits}) == 400
    assert max(waits) < 40


def test_second_opinions_rest_after_a_refusal_of_the_api():
    """It shares its limit with the user's own triggers."""
    rations = Rations()
    rations.api_refused(100)
    assert not rations.opinions.try_take(100 + SECONDS_AFTER_REFUSAL - 1)
    assert rations.opinions.try_take(100 + SECONDS_AFTER_REFUSAL)
    assert not rations.opinions.try_take(100 + SECONDS_AFTER_REFUSAL + 0.9 / OPINIONS_PER_SECOND)


def test_what_is_asked_at_most():
    """As section 5 and item 7 have it."""
    assert (REFUSED_PER_SECOND, OPINIONS_PER_SECOND, SILENT_RUNS_PER_SECOND) == (20, 2, 0.1)


def test_one_warning_for_a_client(caplog):
    """The first feed without a place; one line when the last one has it again."""
    caplog.set_level(logging.INFO)
    places = Places()
    for label in ("run a", "run b", "run c"):
        places.refused(label)
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert [one.getMessage()[:5] for one in warnings] == ["run a"]
    caplog.clear()
    places.granted("run a")
    places.granted("run b")
    assert not caplog.records
    places.granted("run c")
    assert len(caplog.records) == 1
    places.refused("run a")
    assert all(one.levelno == logging.INFO for one in caplog.records)
