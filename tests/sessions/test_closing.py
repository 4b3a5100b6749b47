"""A subscription of a session ends when that is closed, and all of it was delivered."""

from __future__ import annotations

import threading
import time

import pytest

from tests.sessions.conftest import CHAT
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import State, StreamUnreadable

SOON = 10.0


def test_the_agent_tells_of_the_close(chat, client, conversation):
    """With its reason, after all parts; and everything is delivered first."""
    recorder = Recorder()
    subscription = client.subscribe_to_session(
        CHAT, on_complete=recorder.on_complete, **conversation.callbacks
    )
    chat.write("a")
    client.sessions.close(CHAT, "done")
    assert subscription.wait_for_completion(SOON) is None
    assert subscription.state is State.COMPLETED
    assert conversation.events == [
        ("out", "a"),
        ("session-closed", {"session-closed-reason": "done"}),
    ]
    assert recorder.completes == [None]
    assert client.subscriptions == {}


def test_what_was_written_before_is_read_to_its_end(chat, client):
    """More than one answer has, of a session that was closed long ago."""
    for first in range(0, 3000, 500):
        chat.write(*range(first, first + 500))
    chat.close()
    subscription = client.subscribe_to_session(CHAT)
    subscription.wait_for_completion(SOON)
    assert subscription.parts == list(range(3000))


def test_a_turn_that_tells_of_the_close(chat, client, conversation):
    """The record of the close may never be seen, and may follow."""
    subscription = client.subscribe_to_session(CHAT, **conversation.callbacks)
    chat.write("a")
    chat.complete_turn(closed=True)
    conversation.wait(2)
    chat.control("session-closed", {"session-closed-reason": "done"})
    subscription.wait_for_completion(SOON)
    assert [name for name, _ in conversation.events] == ["out", "turn-complete", "session-closed"]
    again = client.subscribe_to_session(CHAT, last_event_id=subscription.last_event_id)
    assert again.wait_for_completion(SOON) is None


def test_a_turn_that_tells_of_the_close_is_enough(chat, client):
    """Nothing follows."""
    chat.complete_turn(closed=True)
    assert client.subscribe_to_session(CHAT).wait_for_completion(SOON) is None


def test_nobody_tells_of_the_close(server, chat, client):
    """Where no run is alive, the server is asked: at the start, and when this client closes it."""
    server.complete_run(chat.run_id)
    chat.write("a")
    subscription = client.subscribe_to_session(CHAT)
    eventually(lambda: subscription.parts)
    server.wait_for_requests(1, match=lambda one: one.path.startswith("/api/v1/sessions/"))
    session = client.sessions.close(CHAT)
    assert subscription.wait_for_completion(SOON) is None
    later = client.subscribe_to_session(session.id)
    assert later.wait_for_completion(SOON) is None
    assert later.parts == ["a"]


def test_a_close_by_others_is_noticed_after_a_silence(server, chat, client):
    """Of `timeout_in_seconds`."""
    server.complete_run(chat.run_id)
    subscription = client.subscribe_to_session(CHAT, timeout_in_seconds=1)
    eventually(lambda: subscription.state is State.LIVE)
    chat.close()
    assert subscription.wait_for_completion(SOON) is None


def test_a_public_token_can_not_ask(server, connect, client):
    """It is refused once, and the subscription goes on; a close by this client is known."""
    session = client.sessions.start("my-chat", external_id=CHAT)
    server.complete_run(session.run_id)
    holder = connect(server, access_token=session.public_access_token)
    subscription = holder.subscribe_to_session(CHAT, timeout_in_seconds=1)

    def asked():
        return [one for one in server.requests if one.path.startswith("/api/v1/sessions/")]

    eventually(asked)
    eventually(lambda: len([one for one in server.requests if one.path.endswith("/out")]) >= 3)
    assert len(asked()) == 1
    assert subscription.state is State.LIVE
    holder.sessions.close(CHAT, access_token="tr_dev_test0000000000000000")
    assert subscription.wait_for_completion(SOON) is None


def test_a_server_that_does_not_answer_whether_it_is_closed(server, chat, client):
    """The stream is read all the same."""
    server.fail_next(
        match=lambda one: one.path.startswith("/api/v1/sessions/"), status=500, times=100
    )
    chat.write("a")
    subscription = client.subscribe_to_session(CHAT)
    assert next(subscription.updates(SOON)) == "a"
    chat.control("session-closed")
    assert subscription.wait_for_completion(SOON) is None


def test_a_closed_session_whose_stream_can_not_be_read(server, chat, connect):
    """It is given up in time, and that is an error."""
    client = connect(server, stream_patience=0.5)
    subscription = client.subscribe_to_session(CHAT)
    eventually(lambda: subscription.state is State.LIVE)
    chat.write("a")
    eventually(lambda: subscription.parts)
    server.fail_next(match=lambda one: one.path.endswith("/out"), status=500, times=10_000)
    server.complete_run(chat.run_id)
    client.sessions.close(CHAT)
    with pytest.raises(StreamUnreadable, match="out of session chat/7"):
        subscription.wait_for_completion(SOON)
    assert subscription.state is State.FAILED


def test_waiting_inside_of_a_callback(chat, client):
    """It would never end."""
    problems = []

    def on_control(name, headers):
        try:
            subscription.wait_for_completion(1)
        except RuntimeError as problem:
            problems.append(problem)

    subscription = client.subscribe_to_session(CHAT, on_control=on_control, enabled=False)
    subscription.enable()
    chat.complete_turn()
    eventually(lambda: problems)


def test_a_client_that_closes_leaves_no_thread(chat, client, conversation):
    """Whatever its readers wait for."""
    client.subscribe_to_session(CHAT, **conversation.callbacks)
    chat.write("a")
    conversation.wait(1)
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 2
    assert not [one for one in threading.enumerate() if "session" in one.name]
