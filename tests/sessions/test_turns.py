"""Iterating until a turn is over: the next one, or the one that has taken a message in."""

from __future__ import annotations

import pickle

import pytest

from tests.sessions.conftest import CHAT
from tests.support.waiting import eventually
from trigger_realtime_sync import WaitTimeout

SOON = 10.0


def known(subscription, *parts, turns=0):
    """Wait until the subscription knows these parts, and so many turns."""
    store = subscription._seat.view.parts
    eventually(lambda: len(subscription._seat.view.parts.turns((CHAT, "out"))) >= turns)
    eventually(lambda: subscription.parts == list(parts))
    return store


def test_until_the_next_turn(chat, client):
    """Parts up to its end; what follows is for another iterator."""
    updates = client.subscribe_to_session(CHAT).updates(SOON, until_turn_complete=True)
    chat.write("a", "b")
    chat.complete_turn()
    chat.write("c")
    assert list(updates) == ["a", "b"]


def test_a_turn_that_was_over_is_not_the_next_one(chat, client):
    """Its parts come first, as ever."""
    chat.write("a")
    chat.complete_turn()
    subscription = client.subscribe_to_session(CHAT)
    known(subscription, "a", turns=1)
    updates = subscription.updates(SOON, until_turn_complete=True)
    chat.write("b")
    chat.complete_turn()
    assert list(updates) == ["a", "b"]


def test_turn_after_turn(chat, client):
    """An iterator goes on after the turn that the last one ended with, though the next one is over
    by then."""
    subscription = client.subscribe_to_session(CHAT)
    updates = subscription.updates(SOON, until_turn_complete=True)
    chat.write("a")
    chat.complete_turn()
    assert list(updates) == ["a"]
    chat.write("b")
    chat.complete_turn()
    chat.write("c")
    known(subscription, "a", "b", "c", turns=2)
    assert list(subscription.updates(SOON, until_turn_complete=True)) == ["a", "b"]
    with pytest.raises(WaitTimeout):
        list(subscription.updates(0.3, until_turn_complete=True))


def test_the_turn_that_took_a_message_in(chat, client):
    """Not the one before, which ends after the message was sent."""
    subscription = client.subscribe_to_session(CHAT)
    chat.write("a")
    first = client.sessions.send(CHAT, "one")
    second = client.sessions.send(CHAT, "two")
    assert (first, second) == (0, 1)
    chat.complete_turn(took_in=0)
    chat.write("b")
    chat.complete_turn(took_in=1)
    chat.write("c")
    assert list(subscription.updates(SOON, turn_of=second)) == ["a", "b"]
    assert list(subscription.updates(SOON, turn_of=first)) == ["a"]


def test_a_turn_that_was_over_before_the_call(chat, client):
    """Also where its parts are not kept any more, and where it is before the place to begin."""
    chat.write("a")
    chat.complete_turn(took_in=3)
    chat.write("b", "c")
    subscription = client.subscribe_to_session(CHAT, max_parts=1)
    known(subscription, "c", turns=1)
    assert list(subscription.updates(SOON, turn_of=2)) == []
    whole = client.subscribe_to_session(CHAT)
    known(whole, "a", "b", "c", turns=1)
    assert list(whole.updates(SOON, turn_of=3)) == ["a"]
    later = client.subscribe_to_session(CHAT, last_event_id=whole.last_event_id)
    assert list(later.updates(SOON, turn_of=3)) == []


def test_a_turn_that_does_not_say_what_it_took_in(chat, client):
    """It is the end of the answer, if it was not over before the message was sent."""
    chat.write("a")
    chat.complete_turn()
    subscription = client.subscribe_to_session(CHAT)
    known(subscription, "a", turns=1)
    number = client.sessions.send(CHAT, "one")
    chat.write("b")
    chat.complete_turn()
    assert list(subscription.updates(SOON, turn_of=number)) == ["a", "b"]
    # Of a number that was kept nobody knows when its message was sent.
    assert list(subscription.updates(SOON, turn_of=int(number))) == ["a"]


def test_a_first_turn_is_not_the_end_once_others_say_more(chat, client):
    """One without the header took nothing in where later ones have it."""
    chat.write("a")
    chat.complete_turn()
    chat.write("b")
    chat.complete_turn(took_in=0)
    subscription = client.subscribe_to_session(CHAT)
    known(subscription, "a", "b", turns=2)
    assert list(subscription.updates(SOON, turn_of=0)) == ["a", "b"]


def test_turns_of_older_agents(chat, client):
    """They are data, and end an iterator just so."""
    subscription = client.subscribe_to_session(CHAT)
    number = client.sessions.send(CHAT, "one")
    chat.write("a", {"type": "trigger:turn-complete"}, "b")
    assert list(subscription.updates(SOON, turn_of=number)) == ["a"]
    assert subscription.parts == ["a", "b"]


def test_the_place_after_a_turn(chat, client, server, connect):
    """`last_event_id` is behind the end of the turn that an iterator ended with."""
    subscription = client.subscribe_to_session(CHAT)
    number = client.sessions.send(CHAT, "one")
    chat.write("a")
    chat.complete_turn(took_in=0)
    chat.write("b")
    assert list(subscription.updates(SOON, turn_of=number)) == ["a"]
    other = connect(server).subscribe_to_session(CHAT, last_event_id=subscription.last_event_id)
    updates = other.updates(SOON, until_turn_complete=True)
    chat.complete_turn(took_in=1)
    assert list(updates) == ["b"]


def test_a_turn_that_was_cut_off(server, chat, client):
    """An earlier one that is told again after a reconnect is not the end."""
    subscription = client.subscribe_to_session(CHAT)
    chat.write("a")
    chat.complete_turn(took_in=0)
    known(subscription, "a", turns=1)
    client.sessions.send(CHAT, "one")
    number = client.sessions.send(CHAT, "two")
    updates = subscription.updates(SOON, turn_of=number)
    server.drop_connections(reset=True)
    chat.write("b")
    chat.complete_turn(took_in=1)
    assert list(updates) == ["a", "b"]


def test_a_session_that_is_closed_ends_every_iterator(chat, client):
    """The turn that it waits for may never come."""
    subscription = client.subscribe_to_session(CHAT)
    chat.write("a")
    updates = subscription.updates(SOON, turn_of=7)
    chat.control("session-closed")
    assert list(updates) == ["a"]


def test_what_can_not_work(server, client, chat):
    """Both ends at once, a number that is none, and a stream of a run."""
    subscription = client.subscribe_to_session(CHAT)
    with pytest.raises(ValueError, match="until_turn_complete"):
        subscription.updates(until_turn_complete=True, turn_of=1)
    for number in (-1, "1", 1.5, True):
        with pytest.raises(ValueError, match="turn_of"):
            subscription.updates(turn_of=number)
    stream = client.subscribe_to_stream(server.create_run(), enabled=False)
    for options in ({"until_turn_complete": True}, {"turn_of": 0}):
        with pytest.raises(ValueError, match="session"):
            stream.updates(**options)


def test_the_number_is_an_int(chat, client):
    """For JSON, for pickle and for a database."""
    number = client.sessions.send(CHAT, "one")
    assert (number, repr(number), isinstance(number, int)) == (0, "0", True)
    assert type(pickle.loads(pickle.dumps(number))) is int
