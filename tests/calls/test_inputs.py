"""Input streams: what is sent arrives once, or the caller is told that it may have."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from trigger_realtime_sync import (
    ApiConnectionError,
    BadRequestError,
    NotFoundError,
    PermissionDeniedError,
)


@pytest.fixture
def client(server, connect):
    return connect(server)


def test_what_is_sent_arrives(server, client):
    """In the order of the calls, before the run has started too; times as text."""
    handle = client.trigger("t")
    handle.send("approval", {"approved": True, "at": datetime(2026, 1, 1, tzinfo=timezone.utc)})
    client.send(handle.id, "approval", None)
    assert server.wait_for_inputs(handle.id, "approval", 2) == [
        {"approved": True, "at": "2026-01-01T00:00:00.000Z"},
        None,
    ]


def test_a_lost_answer_is_not_sent_again(server, client):
    """It arrived once, and the error says that it may have."""
    handle = client.trigger("t")
    server.fail_next(match="input", lost=True, reset=True)
    with pytest.raises(ApiConnectionError) as caught:
        handle.send("s", 1)
    assert caught.value.may_have_happened
    assert server.inputs(handle.id, "s") == [1]


def test_a_receiver_that_takes_doubles_gets_it_again(server, client):
    """Where the caller says so."""
    handle = client.trigger("t")
    server.fail_next(match="input", lost=True, reset=True)
    handle.send("s", 1, retry=True)
    assert server.inputs(handle.id, "s") == [1, 1]


def test_a_run_that_takes_nothing_is_an_error(server, client):
    """One that has finished, or is unknown."""
    handle = client.trigger("t")
    server.complete_run(handle.id)
    with pytest.raises(BadRequestError, match="completed run"):
        handle.send("s", 1)
    with pytest.raises(NotFoundError):
        client.send("run_unknown", "s", 1)


def test_the_token_of_a_trigger_sends_to_its_run(server, client, connect):
    """And to no other."""
    handle, other = client.trigger("t"), client.trigger("t")
    holder = connect(server, access_token=handle.public_access_token)
    holder.send(handle.id, "s", 1)
    with pytest.raises(PermissionDeniedError):
        holder.send(other.id, "s", 1)
    token = server.public_token("trigger:tasks:t")
    connect(server, access_token=token).trigger("t").send("s", 2)


@pytest.mark.parametrize("data", [{1}, b"x", 2**60, float("nan"), object()])
def test_what_json_can_not_hold_is_refused(server, client, data):
    """There are no types on this way."""
    with pytest.raises((TypeError, ValueError), match="data"):
        client.send("run_1", "s", data)
    with pytest.raises(ValueError, match="stream"):
        client.send("run_1", "", 1)
    assert server.requests == []
