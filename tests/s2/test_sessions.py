"""Chats on a real S2: turns, trims, reloads and closes, beside the official SDK."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from tests.interop import official as interop
from tests.s2.process import trim_record
from tests.support.waiting import eventually
from trigger_realtime_sync import State, StreamRewound

# What is to be seen within seconds, on a machine that does other things too.
SOON = 15.0
CHAT = "chat-7"


class Agent:
    """Writes to `out` as a chat agent does."""

    def __init__(self, s2):
        self._s2 = s2
        self._ids = itertools.count()

    def write(self, *parts):
        return self._s2.append_parts(
            f"sessions:{CHAT}", "out", *((f"p{next(self._ids)}", part) for part in parts)
        )

    def control(self, name, **headers):
        pairs = [[key.replace("_", "-"), text] for key, text in headers.items()]
        return self._append({"headers": [["trigger-control", name], *pairs]})

    def complete_turn(self, took_in, **headers):
        return self.control("turn-complete", session_in_event_id=str(took_in), **headers)

    def trim_before(self, number):
        return self._append(trim_record(number))

    def _append(self, record):
        return self._s2.append(f"sessions:{CHAT}", "out", record)


class Listener:
    """What our client tells, in its order."""

    def __init__(self):
        self._changed = threading.Condition()
        self.told = []
        self.errors = []
        self.callbacks = {
            "on_stream": lambda key, parts: self._note(*parts),
            "on_control": lambda name, headers: self._note((name, dict(headers))),
            "on_error": self.errors.append,
        }

    def _note(self, *items):
        with self._changed:
            self.told += items
            self._changed.notify_all()

    def wait(self, count):
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.told) >= count, SOON):
                raise AssertionError(f"{len(self.told)} of {count}: {self.told}; {self.errors}")
            return list(self.told)


@pytest.fixture
def here(place):
    return place()


@pytest.fixture
def agent(here):
    return Agent(here.s2)


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def client(here):
    """Sessions are kept by the server of the runs, channels by S2."""
    client = here.client()
    client.sessions.start("my-chat", external_id=CHAT)
    return client


def turn(number, *parts):
    """What is told of a turn."""
    return [*parts, ("turn-complete", {"session-in-event-id": str(number)})]


def test_turns(client, agent, listener):
    """Parts and control records, each once and in order, as the conversation goes."""
    subscription = client.subscribe_to_session(CHAT, **listener.callbacks)
    for n in range(5):
        number = client.sessions.send(CHAT, {"text": f"question {n}"})
        assert number == n
        agent.write(f"{n}a", {"type": "text-delta", "delta": f"{n}b"})
        agent.complete_turn(number)
        asked = list(subscription.updates(SOON, turn_of=number))
        assert asked[-1] == {"type": "text-delta", "delta": f"{n}b"}
    assert listener.wait(15) == [
        item
        for n in range(5)
        for item in turn(n, f"{n}a", {"type": "text-delta", "delta": f"{n}b"})
    ]
    texts = client.subscribe_to_session(CHAT, "in").updates(SOON)
    for n in range(5):
        assert json.loads(next(texts)) == {"text": f"question {n}"}


def test_trims(client, agent, listener):
    """After each turn what came before it is gone: who reads on loses nothing, and is told of none;
    an old place is answered from the first record left."""
    client.subscribe_to_session(CHAT, **listener.callbacks)
    expected = []
    for n in range(4):
        agent.write(f"{n}a", f"{n}b")
        end = agent.complete_turn(n)
        expected += turn(n, f"{n}a", f"{n}b")
        listener.wait(len(expected))
        agent.trim_before(end)
    assert listener.told == expected
    old, new = Listener(), Listener()
    client.subscribe_to_session(CHAT, last_event_id="0", **old.callbacks)
    client.subscribe_to_session(CHAT, **new.callbacks)
    # S2 drops what is trimmed when it likes: from there on all is told, to its end.
    agent.write("after")
    for one in (old, new):
        eventually(lambda one=one: "after" in one.told, seconds=SOON)
        assert one.told == [*expected, "after"][-len(one.told) :]
        assert one.errors == []
    assert listener.errors == []


def test_an_earlier_turn_told_again(here, client, agent):
    """After a cut, and to who comes later: it is not the end of the answer."""
    first = client.sessions.send(CHAT, "one")
    agent.write("a")
    agent.complete_turn(first)
    second = client.sessions.send(CHAT, "two")
    subscription = client.subscribe_to_session(CHAT)
    updates = subscription.updates(SOON, turn_of=second)
    assert next(updates) == "a"
    here.route.cut()
    agent.write("b")
    agent.complete_turn(second)
    agent.write("c")
    assert list(updates) == ["b"]
    assert list(subscription.updates(SOON, turn_of=first)) == ["a"]


def test_a_reload(here, client, agent, listener):
    """Another client goes on at the place of the first one, and knows which turns were over."""
    with here.client() as before:
        subscription = before.subscribe_to_session(CHAT, **listener.callbacks)
        agent.write("a")
        agent.complete_turn(0)
        agent.write("b")
        listener.wait(3)
        position = subscription.last_event_id
    agent.write("c")
    after = Listener()
    subscription = client.subscribe_to_session(CHAT, last_event_id=position, **after.callbacks)
    agent.complete_turn(1)
    assert after.wait(2) == turn(1, "c")
    assert list(subscription.updates(SOON, turn_of=0)) == []
    assert list(subscription.updates(SOON, turn_of=1)) == ["c"]


def test_a_closed_session(client, agent, listener):
    """It ends what is read, all of it told, and what is subscribed to later."""
    subscription = client.subscribe_to_session(CHAT, **listener.callbacks)
    for first in range(0, 2000, 500):
        agent.write(*range(first, first + 500))
    agent.control("session-closed", session_closed_reason="done")
    assert subscription.wait_for_completion(SOON) is None
    assert listener.told == [
        *range(2000),
        ("session-closed", {"session-closed-reason": "done"}),
    ]
    assert subscription.state is State.COMPLETED
    again = client.subscribe_to_session(CHAT, last_event_id=subscription.last_event_id)
    assert again.wait_for_completion(SOON) is None
    assert again.parts == []


def test_a_session_that_nobody_writes_to(here, client):
    """S2 has no such stream yet: it is read until the session is closed."""
    subscription = client.subscribe_to_session(CHAT)
    eventually(lambda: subscription.state is State.LIVE)
    here.runs.complete_run(here.runs.session(CHAT).run_id)
    client.sessions.close(CHAT)
    assert subscription.wait_for_completion(SOON) is None


def test_s2_that_is_killed_within_a_turn(place, listener):
    """With a disk: nothing is lost, and nothing comes twice."""
    here = place(disk=True)
    agent = Agent(here.s2)
    here.client().subscribe_to_session(CHAT, **listener.callbacks)
    expected = []
    for n in range(3):
        agent.write(*(f"{n}.{m}" for m in range(50)))
        listener.wait(len(expected) + 50)
        here.s2.kill()
        here.s2.start()
        agent.write(f"{n}.50")
        agent.complete_turn(n)
        expected += turn(n, *(f"{n}.{m}" for m in range(51)))
    assert listener.wait(len(expected)) == expected
    assert listener.errors == []


def test_s2_that_lost_the_session(client, here, agent, listener):
    """Without a disk: that is told, and what follows is delivered."""
    client.subscribe_to_session(CHAT, **listener.callbacks)
    agent.write("a", "b")
    agent.complete_turn(0)
    listener.wait(3)
    here.s2.kill()
    here.s2.start()
    agent.write("new")
    agent.complete_turn(1)
    assert listener.wait(5)[3:] == turn(1, "new")
    (error,) = listener.errors
    assert isinstance(error, StreamRewound)


def test_bodies_that_are_cut_again_and_again(here, client, agent, listener):
    """In the midst of events: each part and each control record once, in order."""
    here.route.cut_after = 1500
    client.subscribe_to_session(CHAT, **listener.callbacks)
    expected = []
    for n in range(20):
        agent.write(f"{n}a", f"{n}b")
        agent.complete_turn(n)
        expected += turn(n, f"{n}a", f"{n}b")
        listener.wait(len(expected))
    assert listener.told == expected
    assert listener.errors == []


def test_beside_the_official_client(here, client, agent, listener):
    """The same parts and control records, in the same order, across trims and the end of a body."""
    reason = interop.why_not()
    if reason is not None:
        pytest.skip(reason)
    official = interop.Official()
    here.stack.callback(official.close)
    theirs = official.subscribe("session", here.route.url, CHAT)
    client.subscribe_to_session(CHAT, **listener.callbacks)
    expected = []
    for n in range(4):
        agent.write(*(f"{n}.{m}" for m in range(30)))
        end = agent.complete_turn(n, public_access_token=f"token{n}")
        expected += [
            *(f"{n}.{m}" for m in range(30)),
            (
                "turn-complete",
                {"session-in-event-id": str(n), "public-access-token": f"token{n}"},
            ),
        ]
        listener.wait(len(expected))
        theirs.wait_for(seen=len(expected))
        agent.trim_before(end)
    seen = []
    for one in theirs.seen:
        headers = dict(one["headers"])
        name = headers.pop("trigger-control", None)
        seen.append((name, headers) if name else one["value"])
    assert seen == expected == listener.told
