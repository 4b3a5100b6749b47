"""Which turn of a session took a message in, and whether the session is closed."""

from __future__ import annotations

import pytest

from trigger_realtime_sync._wire.session_turns import (
    SessionLife,
    first_after,
    first_with,
    turn_of,
)
from trigger_realtime_sync._wire.stream_end import Writer
from trigger_realtime_sync._wire.stream_parts import Control


def control(name="turn-complete", seq_num=0, is_past=False, **headers):
    given = {key.replace("_", "-"): text for key, text in headers.items()}
    return Control(name, given, seq_num, None, is_past)


def turns(*numbers, past=0):
    """Turns that are over, each a second after the one before; None names no number."""
    return [
        turn_of(
            control(
                seq_num=n,
                is_past=n < past,
                **({} if number is None else {"session_in_event_id": str(number)}),
            ),
            float(n),
        )
        for n, number in enumerate(numbers)
    ]


def found(all_turns, turn):
    return None if turn is None else all_turns.index(turn)


@pytest.mark.parametrize(
    ("numbers", "sent_at", "index"),
    [
        ([0, 1, 2], None, 2),  # the one that names it
        ([0, 1, 3], None, 2),  # it took more in as well
        ([0, 1], None, None),  # earlier ones
        ([2], None, 0),  # over before
        ([None], None, 0),  # one that names none is taken for it
        ([None, 1], None, None),  # a first turn, which took nothing in
        ([None, 2], None, 1),
        ([1, None], None, 1),
        ([None, None], 0.5, 1),  # the first one was over before the message was sent
        ([None], 0.5, None),
        ([2], 9.0, 0),  # what a turn names counts more than when it was told
    ],
)
def test_the_turn_that_took_a_message_in(numbers, sent_at, index):
    """Number 2: never an earlier turn, also where it does not say what it took in."""
    given = turns(*numbers)
    assert found(given, first_with(given, 2, sent_at)) == index


def test_a_turn_of_before_the_cursor():
    """It is one that took the message in if it says so, and else an earlier one."""
    given = turns(None, 1, past=2)
    assert found(given, first_with(given, 1, None)) == 1
    alone = turns(None, past=1)
    assert first_with(alone, 1, None) is None


def test_the_next_turn():
    """The first one after another, of those that were not told before."""
    given = turns(None, 0, 1, past=1)
    assert found(given, first_after(given, None)) == 1
    assert found(given, first_after(given, given[1])) == 2
    assert first_after(given, given[2]) is None


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "9" * 17, "²"])
def test_a_number_that_is_none(text):
    """It is as if the turn named none."""
    assert turn_of(control(session_in_event_id=text), 0.0).took_in is None


def test_other_control_records_are_no_turns():
    """Only `turn-complete` ends one."""
    assert turn_of(control("upgrade-required"), 0.0) is None


@pytest.mark.parametrize(
    ("one", "writer"),
    [
        (control(), Writer.WORKING),
        (control("upgrade-required"), Writer.WORKING),
        (control("pending-version"), Writer.WORKING),
        (control(session_closed="false"), Writer.WORKING),
        (control(session_closed="true"), Writer.UNCERTAIN),
        (control("session-closed"), Writer.GONE),
        (control("session-closed", is_past=True), Writer.GONE),
    ],
)
def test_what_tells_of_the_close(one, writer):
    """Its own record is the last word; after a turn that names it, that may follow."""
    life = SessionLife()
    life.take(one)
    assert life.writer is writer


def test_a_close_is_final():
    """What the server says later takes nothing back."""
    life = SessionLife()
    life.take(control("session-closed"))
    life.closed()
    life.take(control(session_closed="true"))
    assert life.writer is Writer.GONE
