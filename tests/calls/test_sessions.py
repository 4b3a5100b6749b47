"""Sessions are started, found, listed, closed and sent to."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from tests.support.raw import reply
from trigger_realtime_sync import (
    ApiConnectionError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    ProtocolError,
    Session,
    Task,
)

LATER = datetime.now(timezone.utc) + timedelta(days=1)


@pytest.fixture
def client(server, connect):
    return connect(server)


def bodies(server, path):
    return [json.loads(one.body) for one in server.requests if one.path == path]


def test_a_session_is_started_with_all_options(server, client):
    """And found by both of its ids."""
    session = client.sessions.start(
        Task("my-chat"),
        type="support",
        payload={"chatId": "c", "deep": [1, {"a": None}]},
        external_id="c",
        tags=["a", "b"],
        run_tags="r",
        version="20261125.1",
        region="us-east-1",
        metadata={"plan": "pro"},
        machine="small-1x",
        queue="chats",
        max_attempts=3,
        max_duration=timedelta(minutes=5),
        idle_timeout=timedelta(seconds=30),
        expires_at=LATER,
    )
    (body,) = bodies(server, "/api/v1/sessions")
    assert body == {
        "type": "support",
        "externalId": "c",
        "taskIdentifier": "my-chat",
        "triggerConfig": {
            "basePayload": {"chatId": "c", "deep": [1, {"a": None}]},
            "tags": ["r"],
            "lockToVersion": "20261125.1",
            "region": "us-east-1",
            "machine": "small-1x",
            "queue": "chats",
            "maxAttempts": 3,
            "maxDuration": 300,
            "idleTimeoutInSeconds": 30,
        },
        "tags": ["a", "b"],
        "metadata": {"plan": "pro"},
        "expiresAt": body["expiresAt"],
    }
    assert session.external_id == "c"
    assert session.run_id == server.session("c").run_id
    assert (session.type, session.task_identifier) == ("support", "my-chat")
    assert (session.tags, session.metadata) == (["a", "b"], {"plan": "pro"})
    assert abs(session.expires_at - LATER) < timedelta(seconds=1)
    assert not session.is_cached
    assert not session.is_closed
    for name in ("c", session.id):
        found = client.sessions.retrieve(name)
        assert (found.id, found.run_id) == (session.id, session.run_id)
        assert found.public_access_token is None


def test_a_session_needs_no_options(server, client):
    """It is a chat then, whose runs get an empty payload."""
    session = client.sessions.start("my-chat")
    (body,) = bodies(server, "/api/v1/sessions")
    assert body == {
        "type": "chat",
        "taskIdentifier": "my-chat",
        "triggerConfig": {"basePayload": {}},
    }
    assert session.external_id is None


def test_the_same_external_id_is_the_same_session(client):
    """With a token of its own, which reads and writes it."""
    one = client.sessions.start("my-chat", external_id="c")
    two = client.sessions.start("my-chat", external_id="c")
    assert (two.id, two.is_cached) == (one.id, True)
    assert one.public_access_token
    assert client.sessions.send("c", "hi", access_token=one.public_access_token) == 0


def test_a_session_does_not_show_its_token(client):
    """In its repr."""
    session = client.sessions.start("my-chat")
    assert session.public_access_token not in repr(session)


def test_a_lost_start_is_repeated_where_that_is_safe(server, client):
    """With an external id; without one it may have happened."""
    server.fail_next(match="session", lost=True, reset=True)
    assert client.sessions.start("my-chat", external_id="c").is_cached
    server.clear_requests()
    server.fail_next(match="session", lost=True, reset=True)
    with pytest.raises(ApiConnectionError) as caught:
        client.sessions.start("my-chat")
    assert caught.value.may_have_happened
    assert len(server.requests) == 1


def test_a_close_is_final(server, client):
    """It keeps the first reason, and refuses messages and another start, which is asked once."""
    client.sessions.start("my-chat", external_id="c")
    server.fail_next(match="session", lost=True, reset=True)
    closed = client.sessions.close("c", "done")
    assert (closed.is_closed, closed.closed_reason) == (True, "done")
    assert client.sessions.close("c").closed_reason == "done"
    with pytest.raises(BadRequestError, match="closed session"):
        client.sessions.send("c", "late")
    server.clear_requests()
    with pytest.raises(ConflictError):
        client.sessions.start("my-chat", external_id="c")
    assert len(server.requests) == 1


def test_unknown_sessions(client):
    """A 404."""
    for call in (
        lambda: client.sessions.retrieve("unknown"),
        lambda: client.sessions.close("unknown"),
        lambda: client.sessions.send("unknown", "x"),
    ):
        with pytest.raises(NotFoundError):
            call()


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("plain", "plain"),
        ('{"a":1}', '{"a":1}'),
        ({"kind": "message", "é": [1, None]}, '{"kind":"message","é":[1,null]}'),
        (None, "null"),
        (datetime(2026, 1, 1, tzinfo=timezone.utc), '"2026-01-01T00:00:00.000Z"'),
    ],
    ids=str,
)
def test_messages_as_they_arrive(server, client, message, text):
    """A text as it is, anything else as JSON; the first one has number 0."""
    client.sessions.start("my-chat", external_id="c")
    assert client.sessions.send("c", message) == 0
    (record,) = server.session("c").records()
    assert json.loads(record["body"])["data"] == text


@pytest.mark.parametrize("lost", [{"lost": True, "reset": True}, {"status": 500}, {"status": 503}])
def test_a_message_is_sent_once(server, client, lost):
    """However often its answer is lost."""
    client.sessions.start("my-chat", external_id="c")
    server.fail_next(match="session", times=3, **lost)
    assert client.sessions.send("c", "one") == 0
    assert client.sessions.send("c", "one") == 1
    assert len(server.session("c").records()) == 2


def test_a_part_id_of_ones_own(server, client):
    """It makes two calls one message."""
    client.sessions.start("my-chat", external_id="c")
    assert client.sessions.send("c", "one", part_id="p") == 0
    assert client.sessions.send("c", "one", part_id="p") == 0
    assert len(server.session("c").records()) == 1


def test_a_list_goes_on_by_itself(server, client):
    """Newest first, over the pages, with each filter."""
    ids = [
        client.sessions.start("my-chat", external_id=f"c{n}", tags=[f"t{n}"], type="a").id
        for n in range(5)
    ]
    client.sessions.close("c1")
    page = client.sessions.list(page_size=2)
    assert [one.id for one in page] == ids[::-1]
    assert all(isinstance(one, Session) for one in page.items)
    assert [one.id for one in client.sessions.list(status="CLOSED")] == [ids[1]]
    assert [one.id for one in client.sessions.list(tag=["t2", "t3"])] == [ids[3], ids[2]]
    assert [one.id for one in client.sessions.list(external_id="c4")] == [ids[4]]
    assert client.sessions.list(type="b").items == []
    assert client.sessions.list(task=Task("other")).items == []
    assert len(client.sessions.list(period="1d", task="my-chat", type=["a", "b"]).items) == 5


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"task": ""}, "task"),
        ({"task": "x" * 129}, "task"),
        ({"type": ""}, "type"),
        ({"type": "x" * 65}, "type"),
        ({"payload": [1]}, "payload"),
        ({"payload": {"a": float("nan")}}, r'payload\["a"\]'),
        ({"payload": {"a": {1}}}, r'payload\["a"\]'),
        ({"payload": {"a": "x" * 33_000}}, "payload"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": " c"}, "external_id"),
        ({"external_id": "session_x"}, "external_id"),
        ({"external_id": "x" * 257}, "external_id"),
        ({"tags": ["t"] * 11}, "tags"),
        ({"tags": ["x" * 129]}, "tags"),
        ({"tags": "a,b"}, "tags"),
        ({"run_tags": ["t"] * 6}, "run_tags"),
        ({"run_tags": [""]}, "run_tags"),
        ({"version": ""}, "version"),
        ({"region": 1}, "region"),
        ({"machine": ""}, "machine"),
        ({"queue": "a b"}, "queue"),
        ({"metadata": "x"}, "metadata"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 11}, "max_attempts"),
        ({"max_duration": 0}, "max_duration"),
        ({"idle_timeout": 3601}, "idle_timeout"),
        ({"idle_timeout": "1h"}, "idle_timeout"),
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=timezone.utc)}, "expires_at"),
        ({"call_timeout": 0}, "call_timeout"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_start_that_can_not_work_is_refused_at_the_call(server, client, options, name):
    """Naming the argument, before anything is sent."""
    with pytest.raises((ValueError, TypeError), match=name):
        client.sessions.start(**{"task": "my-chat", **options})
    assert server.requests == []


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda sessions: sessions.send("", "x"), "session_id"),
        (lambda sessions: sessions.send("c", "\ud800"), "message"),
        (lambda sessions: sessions.send("c", {"a": object()}), "message"),
        (lambda sessions: sessions.send("c", "x", part_id=""), "part_id"),
        (lambda sessions: sessions.send("c", "x", part_id="é"), "part_id"),
        (lambda sessions: sessions.send("c", "x", part_id="a\nb"), "part_id"),
        (lambda sessions: sessions.send("c", "x", channel=""), "channel"),
        (lambda sessions: sessions.retrieve(1), "session_id"),
        (lambda sessions: sessions.close("c", ""), "reason"),
        (lambda sessions: sessions.close("c", "x" * 257), "reason"),
        (lambda sessions: sessions.list(status=["A", "B,C"]), "status"),
        (lambda sessions: sessions.list(page_size=101), "page_size"),
    ],
)
def test_other_calls_that_can_not_work(server, client, call, name):
    """As well."""
    with pytest.raises((ValueError, TypeError), match=name):
        call(client.sessions)
    assert server.requests == []


@pytest.mark.parametrize("answer", [{"ok": True}, {"seq": True}, {"seq": -1}, {"seq": "1"}, []])
def test_an_answer_without_a_number(raw, connect, answer):
    """It is none of this server's."""
    client = connect(raw(*[reply(200, answer)] * 9))
    with pytest.raises(ProtocolError):
        client.sessions.send("c", "x")
