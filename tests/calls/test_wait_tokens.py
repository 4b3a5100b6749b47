"""Wait tokens: made, completed once, found again; their URLs are not shown."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
import requests

from tests.support.raw import reply
from trigger_realtime_sync import (
    ApiConnectionError,
    AuthenticationError,
    NotFoundError,
    ServerError,
    WaitTokenStatus,
)


@pytest.fixture
def client(server, connect):
    return connect(server)


def test_a_token_is_made_and_completed(server, client):
    """The first one counts, and nobody is told."""
    token = client.wait_tokens.create(timeout="3d", tags=["approval"], idempotency_key="order-1")
    assert token.status is WaitTokenStatus.WAITING
    assert not token.is_cached
    client.wait_tokens.complete(token.id, {"approved": True})
    client.wait_tokens.complete(token.id, {"approved": False})
    found = client.wait_tokens.retrieve(token.id)
    assert found.status == "COMPLETED"
    assert found.output == {"approved": True}
    assert (found.tags, found.idempotency_key) == (["approval"], "order-1")
    assert found.timeout_at is not None
    assert found.completed_at is not None
    assert found.created_at is not None
    assert timedelta(days=3) - (found.timeout_at - found.created_at) < timedelta(seconds=5)
    assert not found.timed_out


def test_a_key_finds_the_token_of_before(client):
    """It is not hashed."""
    one = client.wait_tokens.create(idempotency_key="order-1")
    other = client.wait_tokens.create(idempotency_key="order-1")
    assert other.is_cached
    assert other.id == one.id
    found = client.wait_tokens.retrieve(client.wait_tokens.create().id)
    assert found.idempotency_key is None
    assert found.timeout_at is None


def test_the_public_token_of_one_completes_it(server, client, connect):
    """As does its URL, without any token."""
    token, other = client.wait_tokens.create(), client.wait_tokens.create()
    holder = connect(server, access_token=token.public_access_token)
    holder.wait_tokens.complete(token.id)
    assert client.wait_tokens.retrieve(token.id).output is None
    with pytest.raises(AuthenticationError):
        holder.wait_tokens.retrieve(token.id)
    assert requests.post(other.url, json={"paid": True}, timeout=5).ok
    assert client.wait_tokens.retrieve(other.id).output == {"paid": True}


def test_neither_token_nor_url_is_shown(client):
    """Both complete it."""
    token = client.wait_tokens.create()
    for one in (token, client.wait_tokens.retrieve(token.id)):
        assert one.url not in repr(one)
        assert str(token.public_access_token) not in repr(one)


def test_tokens_are_listed(client):
    """Page by page, by their status, tags and keys."""
    made = [client.wait_tokens.create(tags=[f"n:{n}", "all"]) for n in range(5)]
    keyed = client.wait_tokens.create(idempotency_key="order-1")
    client.wait_tokens.complete(made[0].id, 1)
    tokens = client.wait_tokens
    assert {one.id for one in tokens.list(page_size=2)} == {one.id for one in [*made, keyed]}
    assert [one.id for one in tokens.list(status="COMPLETED")] == [made[0].id]
    assert len(list(tokens.list(status=["WAITING", WaitTokenStatus.COMPLETED], tags="all"))) == 5
    assert [one.id for one in tokens.list(idempotency_key="order-1")] == [keyed.id]
    assert len(tokens.list(tags=["n:1", "n:2"]).first(10)) == 2
    assert list(tokens.list(created_to=datetime(2020, 1, 1, tzinfo=timezone.utc))) == []
    assert tokens.list(period="1h").items


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": "soon"},
        {"timeout": "600"},
        {"timeout": 0},
        {"timeout": -5},
        {"timeout": 1.5},
        {"timeout": True},
        {"timeout": timedelta(0)},
        {"timeout": datetime(2020, 1, 1, tzinfo=timezone.utc)},
        {"timeout": datetime(2999, 1, 1)},
        {"tags": [f"t{n}" for n in range(11)]},
        {"idempotency_key": ""},
        {"idempotency_key": ["a", "b"]},
        {"idempotency_key": "k" * 2049},
        {"idempotency_key_ttl": "1h30m"},
    ],
    ids=str,
)
def test_an_option_that_can_not_work_is_refused(server, client, options):
    """Naming it, before anything is sent."""
    with pytest.raises(ValueError, match=next(iter(options))):
        client.wait_tokens.create(**options)
    assert server.requests == []


def test_what_is_sent(raw, connect):
    """Durations with their unit: a bare number would be in 1970."""
    server = raw(reply(200, {}, {"id": "waitpoint_1", "isCached": False, "url": "http://x"}))
    create = connect(server).wait_tokens.create
    create()
    create(timeout=600)
    create(timeout=timedelta(minutes=1.5), idempotency_key_ttl=timedelta(hours=1))
    create(timeout=datetime(2999, 1, 1, tzinfo=timezone.utc))
    assert [one.json() for one in server.exchanges] == [
        {},
        {"timeout": "600s"},
        {"timeout": "90s", "idempotencyKeyTTL": "3600s"},
        {"timeout": "2999-01-01T00:00:00.000Z"},
    ]


def test_an_unknown_token_is_an_error(server, client):
    """A 500 to who retrieves it, which is asked again once."""
    with pytest.raises(ServerError):
        client.wait_tokens.retrieve("waitpoint_unknown")
    assert len(server.requests) == 2
    with pytest.raises(NotFoundError):
        client.wait_tokens.complete("waitpoint_unknown")


def test_a_token_without_a_key_is_not_made_twice(server, client):
    """A stray one would be left; with a key it is asked again."""
    server.fail_next(match="wait_token", lost=True, reset=True)
    with pytest.raises(ApiConnectionError) as caught:
        client.wait_tokens.create()
    assert caught.value.may_have_happened
    assert len(server.wait_tokens) == 1
    server.fail_next(match="wait_token", lost=True, reset=True)
    assert client.wait_tokens.create(idempotency_key="k").is_cached
    assert len(server.wait_tokens) == 2


def test_a_token_that_timed_out_says_so(raw, connect):
    """Its output is the error."""
    document = {
        "id": "waitpoint_1",
        "status": "TIMED_OUT",
        "output": '{"json":{"message":"Waitpoint timed out"}}',
        "outputType": "application/super+json",
        "outputIsError": True,
    }
    token = connect(raw(reply(200, {}, document))).wait_tokens.retrieve("waitpoint_1")
    assert token.timed_out
    assert token.output == {"message": "Waitpoint timed out"}
