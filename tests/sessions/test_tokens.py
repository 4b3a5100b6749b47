"""The token that a turn brings replaces the one that was given for the session."""

from __future__ import annotations

import base64
import json

import pytest

from tests.sessions.conftest import CHAT, KEY
from trigger_realtime_sync._http.renewals import Waiter
from trigger_realtime_sync._http.session_tokens import SessionTokens
from trigger_realtime_sync._http.tokens import TokenSource

SCOPES = (f"read:sessions:{CHAT}", f"write:sessions:{CHAT}")


@pytest.fixture
def given(server, chat):
    """A token of the session."""
    return server.public_token(*SCOPES, expires_in=600)


@pytest.fixture
def fresh(server):
    """The next one."""
    return server.public_token(*SCOPES)


def expire(server, token):
    """Let a token be refused from now on, and who reads with it ask again."""
    server.fail_next(
        match=lambda one: token in one.headers["authorization"], status=401, times=10_000
    )
    server.drop_connections()


def test_a_turn_brings_the_next_token(server, chat, connect, given, fresh, conversation):
    """The reading goes on with it, and so does sending."""
    client = connect(server, access_token=given)
    subscription = client.subscribe_to_session(CHAT, timeout_in_seconds=1, **conversation.callbacks)
    chat.complete_turn(token=fresh)
    conversation.wait(1)
    expire(server, given)
    chat.write("a")
    conversation.wait(2)
    assert client.sessions.send(CHAT, "one") == 0
    assert subscription.error is None


def test_a_token_of_its_own_is_replaced(server, chat, client, given, fresh, conversation):
    """That of one subscription, in a client with another one."""
    client.subscribe_to_session(
        CHAT, access_token=given, timeout_in_seconds=1, **conversation.callbacks
    )
    chat.complete_turn(token=fresh)
    conversation.wait(1)
    expire(server, given)
    chat.write("a")
    conversation.wait(2)


def test_a_secret_key_is_not_replaced(server, chat, client, conversation):
    """Nor by what is none: it goes on as it was."""
    client.subscribe_to_session(CHAT, **conversation.callbacks)
    chat.complete_turn(token="no good")
    chat.complete_turn(token="neither")
    conversation.wait(2)
    server.drop_connections()
    chat.write("a")
    conversation.wait(3)
    assert client.sessions.send(CHAT, "one") == 0


@pytest.mark.parametrize("token", ["bad", "tr_dev_other", "with blank", "é", "a.b.c"])
def test_a_bad_token_does_no_harm(server, chat, connect, fresh, conversation, token):
    """The one that was given is used again."""
    client = connect(server, access_token=fresh)
    client.subscribe_to_session(CHAT, timeout_in_seconds=1, **conversation.callbacks)
    chat.complete_turn(token=token)
    conversation.wait(1)
    server.drop_connections()
    chat.write("a")
    conversation.wait(2)
    assert client.sessions.send(CHAT, "one") == 0


def source(token=KEY):
    given = TokenSource(token)
    tokens = SessionTokens()
    return tokens.source("http://x", CHAT, given), tokens


def made_at(seconds):
    """A token that says when it was made."""
    claims = base64.urlsafe_b64encode(json.dumps({"iat": seconds}).encode()).decode()
    return f"head.{claims.rstrip('=')}.signature"


def test_an_older_token_does_not_replace_a_newer_one():
    """One of a turn that is told again; one of the same second does."""
    now, later = made_at(1000), made_at(1001)
    one, _ = source(now)
    one.current()
    one.replace(made_at(999))
    assert one.current() == now
    one.replace(later)
    one.replace(now)
    assert one.current() == later
    same = later.replace("head", "other")
    one.replace(same)
    assert one.current() == same


def test_a_refused_token_gives_way_to_the_one_that_was_given():
    """And that, if it is refused, to what its function has."""
    one, _ = source(lambda: "given.a.b")
    assert one.current() == "given.a.b"
    one.replace("fresh.a.b")
    assert one.current() == "fresh.a.b"
    assert one.renew("fresh.a.b", Waiter()) == "given.a.b"
    assert one.current() == "given.a.b"
    assert one.renew("given.a.b", Waiter()) is None


def test_a_token_is_of_one_session():
    """And of one server; a fork keeps it."""
    one, tokens = source("given.a.b")
    one.current()
    one.replace("fresh.a.b")
    given = TokenSource("given.a.b")
    assert tokens.source("http://x", "other", given).current() == "given.a.b"
    assert tokens.source("http://y", CHAT, given).current() == "given.a.b"
    assert tokens.inherited().source("http://x", CHAT, given).current() == "fresh.a.b"
    assert "fresh" not in repr(one) + repr(tokens)
