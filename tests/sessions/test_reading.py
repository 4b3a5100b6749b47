"""A channel of a session is read as any v2 stream is, with its control records among the parts."""

from __future__ import annotations

import logging

import attrs
import pytest

from tests.sessions.conftest import CHAT, KEY
from tests.support.waiting import Gate, eventually
from trigger_realtime_sync import (
    ConfigurationError,
    NotFoundError,
    PayloadError,
    State,
    StreamRewound,
    WaitTimeout,
)
from trigger_realtime_sync.testing import RealtimeServer


def test_parts_and_control_records_in_their_order(chat, client, conversation):
    """On the callbacks' thread, each with its place, across the runs of the session."""
    subscription = client.subscribe_to_session(CHAT, **conversation.callbacks)
    chat.write("a", {"type": "text", "text": "b"})
    chat.complete_turn(took_in=0, token="fresh")
    chat.control("upgrade-required")
    chat.write("c")
    assert conversation.wait(5) == [
        ("out", "a"),
        ("out", {"type": "text", "text": "b"}),
        ("turn-complete", {"session-in-event-id": "0", "public-access-token": "fresh"}),
        ("upgrade-required", {}),
        ("out", "c"),
    ]
    assert subscription.parts == ["a", {"type": "text", "text": "b"}, "c"]
    assert subscription.run is None
    assert subscription.state is State.LIVE
    assert all("callbacks out of session chat/7" in name for name in conversation.threads)


def test_what_is_sent_comes_back_as_text(chat, client, conversation):
    """On `in`; whatever it was."""
    client.sessions.send(CHAT, "plain")
    client.sessions.send(CHAT, {"kind": "message"})
    client.subscribe_to_session(CHAT, "in", **conversation.callbacks)
    assert conversation.wait(2) == [("in", "plain"), ("in", '{"kind":"message"}')]


def test_a_side_channel(server, chat, client, conversation):
    """A stream of its own under its name; servers up to 4.5.12 know none."""
    with pytest.raises(NotFoundError):
        client.subscribe_to_session(CHAT, channel="side").wait_for_completion(5)
    server.settings.session_channels = True
    assert client.sessions.send(CHAT, "x", channel="side") == 0
    client.subscribe_to_session(CHAT, "in", channel="side", **conversation.callbacks)
    assert conversation.wait(1) == [("side", "x")]


def test_an_external_id_that_nobody_has_used(server, client, conversation):
    """It is empty until somebody does; an id of the server's that is none ends it."""
    subscription = client.subscribe_to_session("later", **conversation.callbacks)
    eventually(lambda: subscription.state is State.LIVE)
    client.sessions.start("my-chat", external_id="later")
    server.session("later").write("a")
    assert conversation.wait(1) == [("out", "a")]
    with pytest.raises(NotFoundError):
        client.subscribe_to_session("session_missing").wait_for_completion(5)


def test_a_server_without_s2(connect):
    """It says so at once, and is not asked again and again."""
    with RealtimeServer(streams="v1") as server:
        client = connect(server)
        for call in (
            lambda: client.sessions.start("t"),
            lambda: client.sessions.retrieve(CHAT),
            lambda: client.sessions.send(CHAT, "x"),
            lambda: client.sessions.close(CHAT),
            lambda: client.sessions.list(),
        ):
            server.clear_requests()
            with pytest.raises(ConfigurationError, match="S2"):
                call()
            assert len(server.requests) == 1
        with pytest.raises(ConfigurationError, match="S2"):
            client.subscribe_to_session(CHAT).wait_for_completion(5)


def test_a_reload_goes_on_where_it_was(chat, client, connect, server, conversation):
    """From the `last_event_id`, after a control record too: neither it nor a part comes again."""
    first = client.subscribe_to_session(CHAT, **conversation.callbacks)
    chat.write("a")
    chat.complete_turn()
    conversation.wait(2)
    place = first.last_event_id
    first.cancel()
    chat.write("b")
    seen = type(conversation)()
    connect(server).subscribe_to_session(CHAT, last_event_id=place, **seen.callbacks)
    chat.write("c")
    assert seen.wait(2) == [("out", "b"), ("out", "c")]


def test_the_place_of_a_callback_is_that_of_its_call(chat, client, conversation):
    """Inside `on_stream` it is before the control record that follows, in `on_control` behind."""
    places = []

    def note(*arguments):
        places.append(subscription.last_event_id)

    chat.write("a")
    chat.complete_turn()
    subscription = client.subscribe_to_session(CHAT, on_stream=note, on_control=note, enabled=False)
    subscription.enable()
    eventually(lambda: len(places) == 2)
    subscription.cancel()
    chat.write("more")
    first, second = type(conversation)(), type(conversation)()
    client.subscribe_to_session(CHAT, last_event_id=places[0], **first.callbacks)
    client.subscribe_to_session(CHAT, last_event_id=places[1], **second.callbacks)
    assert first.wait(2) == [("turn-complete", {}), ("out", "more")]
    assert second.wait(1) == [("out", "more")]


def test_the_place_of_who_hears_control_records_alone(chat, client):
    """It is behind the last one; and where an iterator yields the parts, behind its last part."""
    names = []
    subscription = client.subscribe_to_session(
        CHAT, on_control=lambda name, headers: names.append(name)
    )
    chat.write("a")
    chat.complete_turn()
    eventually(lambda: names)
    place = subscription.last_event_id
    chat.write("b", "c")
    chat.complete_turn()
    eventually(lambda: len(names) == 2)
    later = client.subscribe_to_session(CHAT, last_event_id=place)
    updates = later.updates(5)
    assert next(updates) == "b"
    mine = subscription.updates(5)
    assert next(mine) == "a"
    rest = client.subscribe_to_session(CHAT, last_event_id=subscription.last_event_id).updates(5)
    assert [next(rest), next(rest)] == ["b", "c"]


def test_trims_are_no_loss(chat, client, conversation):
    """Turns that are over are trimmed, while they are read and behind an old cursor."""
    errors = []
    subscription = client.subscribe_to_session(
        CHAT, on_error=errors.append, **conversation.callbacks
    )
    for turn in range(4):
        chat.write(f"{turn}a", f"{turn}b")
        end = chat.complete_turn()
        told = conversation.wait(3 * turn + 3)
        chat.trim_before(end)
    assert [event[1] for event in told if event[0] == "out"] == [
        f"{n}{letter}" for n in range(4) for letter in "ab"
    ]
    subscription.cancel()
    old = type(conversation)()
    client.subscribe_to_session(CHAT, last_event_id="0", on_error=errors.append, **old.callbacks)
    assert old.wait(1) == [("turn-complete", {})]
    assert errors == []


def test_nothing_is_lost_or_doubled_by_cuts(server, chat, client, conversation):
    """Connections that are cut in the midst of batches, and failures of the server."""
    for cut in (1, 60, 150, 400):
        server.fail_next(match="session", cut_body_at=cut)
    server.fail_next(match="session", status=500, times=2)
    client.subscribe_to_session(CHAT, **conversation.callbacks)
    for turn in range(5):
        chat.write(*range(turn * 10, turn * 10 + 10))
        chat.complete_turn(took_in=turn)
        server.drop_connections(reset=True)
    told = conversation.wait(55)
    assert [part for key, part in told if key == "out"] == list(range(50))
    assert [value for key, value in told if key == "turn-complete"] == [
        {"session-in-event-id": str(turn)} for turn in range(5)
    ]


def test_a_retried_write_is_one_part(chat, client, conversation):
    """Two records with one id."""
    client.subscribe_to_session(CHAT, **conversation.callbacks)
    body = {"data": "once", "id": "same"}
    chat.append_records({"body": body}, {"body": body})
    chat.write("after")
    assert conversation.wait(2) == [("out", "once"), ("out", "after")]


def test_a_stream_that_the_storage_lost(server, chat, client, conversation):
    """It is told, and what was told before is not told again."""
    errors = []
    client.subscribe_to_session(CHAT, on_error=errors.append, **conversation.callbacks)
    chat.write("a", "b")
    chat.complete_turn()
    conversation.wait(3)
    server.rewind_stream(f"session {CHAT}", "out", to=1)
    chat.write("new")
    assert conversation.wait(4)[-1] == ("out", "new")
    (error,) = errors
    assert isinstance(error, StreamRewound)
    assert (error.run_id, error.stream) == (None, "out")
    assert "out of session chat/7" in str(error)


@attrs.define
class Text:
    text: str


def test_parts_have_their_type(chat, client, conversation):
    """One that does not fit is told, and control records are none."""
    errors = []
    client.subscribe_to_session(
        CHAT, part_type=Text, on_error=errors.append, **conversation.callbacks
    )
    chat.write({"text": "a"}, 1)
    chat.complete_turn()
    chat.write({"text": "b"})
    told = conversation.wait(3)
    assert [event for event in told if event[0] == "out"] == [
        ("out", Text("a")),
        ("out", Text("b")),
    ]
    (error,) = errors
    assert isinstance(error, PayloadError)
    assert (error.run_id, error.field, error.raw) == (None, "out", 1)


def test_only_the_newest_parts_are_kept(chat, client, conversation):
    """Control records do not count, and all parts are delivered."""
    subscription = client.subscribe_to_session(CHAT, max_parts=3, **conversation.callbacks)
    for n in range(10):
        chat.write(n)
        chat.complete_turn(took_in=n)
    conversation.wait(20)
    assert eventually(lambda: subscription.parts) == [7, 8, 9]


def test_from_the_latest(chat, client, conversation):
    """What was there before is not told."""
    chat.write("old")
    subscription = client.subscribe_to_session(CHAT, from_latest=True, **conversation.callbacks)
    eventually(lambda: subscription.last_event_id is not None or subscription.state is State.LIVE)
    eventually(lambda: _is_at_tail(subscription))
    chat.write("new")
    assert conversation.wait(1) == [("out", "new")]


def _is_at_tail(subscription):
    return subscription._seat.channel._feed._cursor.drained


def test_nothing_is_called_after_a_cancel(chat, client, conversation):
    """Neither callback, though more waits to be delivered: it stops in the midst of a turn."""
    gate = Gate()
    subscription = client.subscribe_to_session(
        CHAT, on_stream=gate, on_control=conversation.on_control
    )
    chat.write("a")
    chat.complete_turn()
    assert gate.entered.wait(5)
    subscription.cancel()
    gate.go.set()
    chat.write("b")
    assert subscription.state is State.CANCELLED
    assert client.subscriptions == {}
    assert conversation.events == []


def test_rounds_are_throttled(chat, client, conversation):
    """Control records come with the parts of their round, and none is left out."""
    client.subscribe_to_session(CHAT, throttle_in_ms=100, **conversation.callbacks)
    for n in range(10):
        chat.write(n)
        chat.complete_turn(took_in=n)
    told = conversation.wait(20)
    assert [value for key, value in told if key == "out"] == list(range(10))
    assert [key for key, _ in told] == ["out", "turn-complete"] * 10


def test_two_handles_share_one_connection(server, chat, client, conversation):
    """The second is told what there was; control records too."""
    other = type(conversation)()
    client.subscribe_to_session(CHAT, id="mine", **conversation.callbacks)
    chat.write("a")
    chat.complete_turn()
    conversation.wait(2)
    client.subscribe_to_session(CHAT, id="mine", **other.callbacks)
    assert other.wait(2) == conversation.events
    streams = [one for one in server.requests if one.path.endswith("/out")]
    assert len(streams) == 1


def test_a_session_that_is_disabled_goes_on_later(chat, client, conversation):
    """With what came meanwhile, each once."""
    subscription = client.subscribe_to_session(CHAT, **conversation.callbacks)
    chat.write("a")
    chat.complete_turn()
    conversation.wait(2)
    subscription.disable()
    chat.write("b")
    subscription.enable()
    assert conversation.wait(3)[2:] == [("out", "b")]


def test_callbacks_that_raise(chat, client, conversation, caplog):
    """They are told and logged, and the rest is delivered."""
    errors = []

    def on_control(name, headers):
        raise LookupError("in on_control")

    client.subscribe_to_session(
        CHAT,
        on_stream=conversation.on_stream,
        on_control=on_control,
        on_error=errors.append,
    )
    with caplog.at_level(logging.CRITICAL):
        chat.complete_turn()
        chat.write("a")
        conversation.wait(1)
    (error,) = errors
    assert (error.callback, error.terminal) == ("on_control", False)


def test_iterators_yield_parts_alone(chat, client):
    """And a silence is a WaitTimeout, after which they go on."""
    chat.write("a")
    chat.complete_turn()
    subscription = client.subscribe_to_session(CHAT)
    updates = subscription.updates(timeout=0.3)
    assert next(updates) == "a"
    with pytest.raises(WaitTimeout):
        next(updates)
    chat.write("b")
    assert next(updates) == "b"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"session_id": ""}, "session_id"),
        ({"session_id": ".."}, "session_id"),
        ({"session_id": None}, "session_id"),
        ({"io": "both"}, "io"),
        ({"io": None}, "io"),
        ({"channel": ""}, "channel"),
        ({"channel": 1}, "channel"),
        ({"on_control": 1}, "on_control"),
        ({"on_stream": 1}, "on_stream"),
        ({"last_event_id": 1}, "last_event_id"),
        ({"last_event_id": "v1:1-0,0,0"}, "last_event_id"),
        ({"last_event_id": "1", "from_latest": True}, "last_event_id"),
        ({"max_parts": -1}, "max_parts"),
        ({"timeout_in_seconds": 0}, "timeout_in_seconds"),
        ({"timeout_in_seconds": 601}, "timeout_in_seconds"),
        ({"skip_columns": "x y"}, "skip_columns"),
    ],
    ids=str,
)
def test_what_can_not_work_is_refused_at_the_call(server, client, options, name):
    """Naming the argument, before anything is sent."""
    given = {"session_id": CHAT, **options}
    with pytest.raises(ValueError, match=name):
        client.subscribe_to_session(**given)
    assert server.requests == []


def test_no_token_is_shown(chat, client, conversation, caplog):
    """Neither ours nor the one that a turn brings, in any repr or log."""
    caplog.set_level(logging.DEBUG)
    subscription = client.subscribe_to_session(CHAT, **conversation.callbacks)
    chat.complete_turn(token="a-secret-token-of-the-turn")
    told = conversation.wait(1)
    assert told[0][1]["public-access-token"] == "a-secret-token-of-the-turn"
    shown = f"{told!r} {subscription!r} {subscription._seat.channel.__dict__!r} {caplog.text}"
    assert "a-secret-token" not in shown
    assert KEY not in shown
