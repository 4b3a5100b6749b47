"""Whatever error ends a call, it says whether the server may have done what it was asked for."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.support.raw import by_path, hangup, in_turn, reply
from trigger_realtime_sync import (
    ApiError,
    BatchItem,
    BatchTriggerError,
    ConfigurationError,
    ServerError,
    TriggerRealtimeError,
)

REFUSALS = [400, 401, 403, 404, 408, 409, 413, 418, 422, 429, 500, 503]


def trigger(client: Any, **options: Any) -> Any:
    return client.trigger("t", {"a": 1}, idempotency_key="k", **options)


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("first", [hangup(), reply(500)], ids=["lost", "500"])
def test_a_refusal_after_a_lost_answer_says_that_it_may_have_happened(connect, raw, first, status):
    """The later attempt's status says nothing of the first one."""
    client = connect(raw(first, reply(status, {"retry-after": "90"}, {"error": "no"})))
    with pytest.raises(ApiError) as caught:
        trigger(client)
    assert caught.value.status == status
    assert caught.value.may_have_happened


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 418, 422, 429])
def test_a_refusal_alone_says_that_nothing_happened(connect, raw, status):
    """Of whatever kind the error is."""
    client = connect(raw(reply(status, {"retry-after": "90"})))
    with pytest.raises(ApiError) as caught:
        trigger(client)
    assert not caught.value.may_have_happened


def test_a_redirect_after_a_lost_answer_says_so_too(connect, raw):
    """It is an ApiError."""
    client = connect(raw(hangup(), reply(302, {"location": "/login"})))
    with pytest.raises(ApiError) as caught:
        trigger(client)
    assert caught.value.may_have_happened


def test_a_token_function_that_gives_up_after_a_lost_answer_says_so_too(connect, raw):
    """By a ConfigurationError of its own."""
    tokens = ["tr_1"]

    def function() -> str:
        if not tokens:
            raise ConfigurationError("the vault was sealed")
        return tokens.pop()

    with pytest.raises(ConfigurationError) as caught:
        trigger(connect(raw(hangup()), access_token=function))
    assert caught.value.may_have_happened


def test_an_answer_that_can_not_be_decoded_may_have_been_a_success(connect, raw):
    """In an encoding that nobody asked for."""
    body = gzip.compress(b'{"id": "run_1"}')
    client = connect(raw(reply(200, {"content-encoding": "secret"}, body.decode("latin-1"))))
    with pytest.raises(TriggerRealtimeError) as caught:
        client.send("run_1", "s", 1)
    assert caught.value.may_have_happened


def test_a_lost_upload_is_no_lost_trigger(connect, raw):
    """Nothing was asked for yet but a place for the payload."""
    client = connect(raw(by_path({"packets": hangup()}, reply(500))))
    with pytest.raises(TriggerRealtimeError) as caught:
        client.trigger("t", "x" * 200_000)
    assert not caught.value.may_have_happened


def test_a_batch_says_so_for_each_phase(connect, raw):
    """Where a large payload fails nothing was begun; where the items fail some may have run."""
    new = reply(200, {}, {"id": "batch_1", "isCached": False})

    def failed(payload: Any, *steps: Any, **answers: Any) -> BatchTriggerError:
        client = connect(raw(by_path({"items": in_turn(reply(422)), **answers}, in_turn(*steps))))
        with pytest.raises(BatchTriggerError) as caught:
            client.batch_trigger([BatchItem("t", payload)], idempotency_key="k")
        return caught.value

    upload = failed("x" * 200_000, reply(422), packets=reply(500))
    assert (upload.phase, upload.may_have_happened) == ("upload", False)
    items = failed("x", new)
    assert (items.phase, items.may_have_happened) == ("items", True)


@pytest.mark.parametrize("status", [422, 429])
def test_a_batch_whose_first_answer_was_lost_is_no_plain_refusal(connect, raw, status):
    """There may be one."""
    client = connect(raw(reply(500), reply(status, {"retry-after": "90"})))
    with pytest.raises(BatchTriggerError) as caught:
        client.batch_trigger([BatchItem("t")], idempotency_key="k")
    assert caught.value.phase == "create"
    assert caught.value.may_have_happened
    assert isinstance(caught.value.__cause__, ApiError)
    assert not isinstance(caught.value.__cause__, ServerError)
