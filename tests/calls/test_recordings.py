"""Beside the official client: what we send for each of its recorded calls.

Each recording is played by a server that gives its answers in order, and our requests are compared
with the official client's: method, path, the headers that matter, and the body as it decodes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.support.raw import Exchange
from trigger_realtime_sync import (
    ApiError,
    BatchItem,
    BatchTriggerError,
    Debounce,
    ProtocolError,
    RealtimeClient,
    RunStatus,
    WaitToken,
    metadata,
)
from trigger_realtime_sync._encode.jwt import is_public_token

RECORDINGS = Path(__file__).parents[1] / "recordings"
ROOT, ADDITIONAL = "tr_dev_test0000000000000000", "tr_dev_sk_" + "a" * 24
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# What of a request's headers a server goes by.
HEADERS = (
    "authorization", "content-type", "x-trigger-api-version",
    "x-trigger-realtime-streams-version", "x-trigger-branch",
)  # fmt: skip
RUN = "run_test000000000000000000001"
DELAYED = "run_test000000000000000000022"
BATCH = "batch_test000000000000000000001"
TOKEN = "waitpoint_test000000000000000000001"
BLOB = {"blob": "x" * (131092 - len('{"json":{"blob":""}}'))}

ALL_OPTIONS: dict[str, Any] = {
    "queue": "my-queue", "concurrency_key": "user-7", "idempotency_key": ["user", "7"],
    "idempotency_key_ttl": "1h", "delay": "1h30m", "ttl": "10m", "tags": ["user:7", "video"],
    "max_attempts": 3, "metadata": {"progress": 0}, "max_duration": 300, "machine": "small-2x",
    "priority": 10, "region": "eu-central-1", "version": "20261125.1",
}  # fmt: skip


def twice(call: Callable[[], Any]) -> None:
    """Call once more after a failure, as a caller would."""
    with pytest.raises(BatchTriggerError):
        call()
    call()


def completed_by_its_own(client: RealtimeClient, token: WaitToken) -> None:
    """Complete a wait token with its own public token, and look at it."""
    client.wait_tokens.complete(
        token.id, {"approved": True}, access_token=token.public_access_token
    )
    client.wait_tokens.retrieve(token.id)


# Recording → the call that makes the same requests.
CALLS: dict[str, Callable[[Any], Any]] = {
    "batch_retrieve": lambda c: c.batch_handle(BATCH).retrieve(),
    "batch_trigger": lambda c: c.batch_trigger(
        [BatchItem("my-task", {"i": 0}), BatchItem("my-task", "text", tags="one"),
         BatchItem("my-task")],
        idempotency_key="batch-7",
    ),
    "batch_trigger_cached": lambda c: c.batch_trigger(
        [BatchItem("my-task", {"i": 0}), BatchItem("my-task", "text", tags="one"),
         BatchItem("my-task")],
        idempotency_key="batch-7",
    ),
    "batch_trigger_lost_items": lambda c: twice(lambda: c.batch_trigger(
        [BatchItem("my-task", 1), BatchItem("my-task", 2)], idempotency_key="lost-1"
    )),
    "batch_trigger_mixed_tasks": lambda c: c.batch_trigger(
        [BatchItem("task-a", 1), BatchItem("task-b", {"blob": "y" * len(BLOB["blob"])})]
    ),
    "batch_trigger_public_token": lambda c: c.create_public_token(batch_trigger="my-task"),
    "batch_trigger_items_retried": lambda c: c.batch_trigger(
        [BatchItem("my-task", 1), BatchItem("my-task", 2)]
    ),
    "batch_trigger_rate_limited": lambda c: c.batch_trigger([BatchItem("my-task", 1)]),
    "idempotency_reset": lambda c: c.runs.reset_idempotency_key("my-task", ["user", "7"]),
    "input_stream_completed_run": lambda c: c.send(RUN, "approval", 1),
    "input_stream_send": lambda c: c.send(RUN, "approval", {"approved": True}),
    "input_stream_send_retried": lambda c: c.trigger("my-task", 1).send("approval", {"n": 1}),
    "metadata_increment_of_an_object": lambda c: c.runs.change_metadata(
        DELAYED, metadata.increment("a")
    ),
    "metadata_odd_operations": lambda c: c.runs.change_metadata(
        DELAYED, metadata.set_("a", {"b": [1]}), metadata.append("$.a.b", 2),
        metadata.increment("new", -3), metadata.remove("zz", 1),
    ),
    "public_token_local": lambda c: c.create_public_token(read={"runs": True}),
    "public_token_by_server": lambda c: c.create_public_token(
        read={"runs": True}, expires_at=datetime(2999, 1, 1, tzinfo=timezone.utc),
        access_token=ADDITIONAL,
    ),
    "py_batch": lambda c: c.batch_trigger([BatchItem("my-task", 0), BatchItem("my-task", 1)]),
    "py_batch_partial": lambda c: c.batch_trigger(
        [BatchItem("my-task", 0), BatchItem("my-task", 1)]
    ),
    "py_offload": lambda c: c.trigger("my-task", ["x" * (131084 - len('{"json":[""]}'))]),
    "py_public_token": lambda c: c.send(
        "run_test000000000000000000027", "approval", {"ok": True},
        access_token=c.create_public_token(
            write={"input_streams": "run_test000000000000000000027"}
        ),
    ),
    "py_trigger": lambda c: c.trigger("my-task", {"a": 1}),
    "py_wait_token": lambda c: completed_by_its_own(c, c.wait_tokens.create(timeout="10m")),
    "reschedule_invalid": lambda c: c.runs.reschedule(DELAYED, "1h"),
    "run_add_tags": lambda c: c.runs.add_tags(RUN, ["x", "y"]),
    "run_cancel": lambda c: c.runs.cancel(RUN),
    "run_cancel_unknown": lambda c: c.runs.cancel("run_unknown"),
    "run_list": lambda c: c.runs.list(
        status=["QUEUED", RunStatus.COMPLETED], task="my-task", version="20261125.1",
        tag="user:7", schedule="sched_1", is_test=False, batch=BATCH, queue="task/my-task",
        machine="micro", region="eu", page_size=2, period="1d",
    ),
    "run_metadata_operations": lambda c: c.runs.change_metadata(
        RUN, metadata.set_("step", "upload"), metadata.increment("percentage", 10),
        metadata.append("logs", "one"), metadata.remove("logs", "zero"), metadata.delete("step"),
        metadata.set_("$.nested.value", 1),
    ),
    "run_replay": lambda c: c.runs.replay(RUN),
    "run_replay_overrides": lambda c: c.runs.replay(
        RUN, payload={"a": EPOCH}, tags=["again"], machine="large-1x"
    ),
    "run_reschedule": lambda c: c.runs.reschedule(DELAYED, "2h"),
    "run_reschedule_not_delayed": lambda c: c.runs.reschedule(
        RUN, datetime(2027, 1, 1, tzinfo=timezone.utc)
    ),
    "run_retrieve": lambda c: c.runs.retrieve(RUN),
    "run_retrieve_unknown": lambda c: c.runs.retrieve("run_unknown"),
    "run_update_metadata": lambda c: c.runs.set_metadata(RUN, {"step": "resize", "percentage": 40}),
    "session_close": lambda c: c.sessions.close("chat/7", "done"),
    "session_send": lambda c: c.sessions.send("chat/7", {"kind": "message", "text": "hi"}),
    "session_send_closed": lambda c: c.sessions.send("chat/7", 1),
    "session_send_string": lambda c: c.sessions.send("chat/7", "plain text"),
    "session_start": lambda c: c.sessions.start(
        "my-chat", external_id="chat/7", payload={"chatId": "chat/7"}
    ),
    "trigger_403": lambda c: c.trigger("my-task", 1),
    "trigger_422": lambda c: c.trigger("my-task", 1),
    "trigger_5xx_retried": lambda c: c.trigger("my-task", 1),
    "trigger_all_options": lambda c: c.trigger("my-task", {"a": 1}, **ALL_OPTIONS),
    "trigger_bad_machine": lambda c: c.trigger("my-task", machine="huge"),
    "trigger_big_payload": lambda c: c.trigger("my-task", BLOB),
    "trigger_big_payload_no_store": lambda c: c.trigger("my-task", "x" * 131072),
    "trigger_debounce": lambda c: c.trigger(
        "my-task", {"a": 1},
        debounce=Debounce("user-7", "5s", mode="trailing", max_delay="1m"),
    ),
    "trigger_delay_date": lambda c: c.trigger(
        "my-task", {"a": 1}, delay=datetime(2027, 1, 1, tzinfo=timezone.utc), ttl=3600
    ),
    "trigger_delayed": lambda c: c.trigger("my-task", 1, delay="1h"),
    "trigger_empty_string": lambda c: c.trigger("my-task", ""),
    "trigger_idempotent_again": lambda c: c.trigger(
        "my-task", {"a": 1}, idempotency_key=["user", "7"]
    ),
    "trigger_null": lambda c: c.trigger("my-task", None),
    "trigger_object": lambda c: c.trigger(
        "my-task", {"user": 7, "when": EPOCH, "n": 12345678901234567890}
    ),
    "trigger_plain_idempotency_key": lambda c: c.trigger(
        "my-task", {"a": 1}, idempotency_key="order-1"
    ),
    "trigger_preview_branch": lambda c: c.trigger("my-task", 1),
    "trigger_public_token": lambda c: c.create_public_token(trigger="task-a"),
    "trigger_public_token_by_server": lambda c: c.create_public_token(
        trigger="task-a", access_token=ADDITIONAL
    ),
    "trigger_rate_limited": lambda c: c.trigger("my-task", 1),
    "trigger_slash_id": lambda c: c.trigger("a/b c#é", 1),
    "trigger_string": lambda c: c.trigger("my-task", "hello"),
    "trigger_undefined": lambda c: c.trigger("my-task"),
    "wait_token_complete_undefined": lambda c: c.wait_tokens.complete(
        c.wait_tokens.create().id
    ),
    "wait_token_complete_with_public_token": lambda c: c.wait_tokens.complete(
        TOKEN, {"approved": True, "at": EPOCH}, access_token="a.b.c"
    ),
    "wait_token_complete_unknown": lambda c: c.wait_tokens.complete("waitpoint_unknown", 1),
    "wait_token_create": lambda c: c.wait_tokens.create(
        timeout="10m", tags=["approval"], idempotency_key="approve-1", idempotency_key_ttl="1h"
    ),
    "wait_token_create_again": lambda c: c.wait_tokens.create(idempotency_key="approve-1"),
    "wait_token_create_plain": lambda c: c.wait_tokens.create(),
    "wait_token_list": lambda c: c.wait_tokens.list(
        status="WAITING", idempotency_key="approve-1", tags="approval",
        period=timedelta(days=1), page_size=10,
    ),
    "wait_token_retrieve": lambda c: c.wait_tokens.retrieve(TOKEN),
    "wait_token_retrieve_completed": lambda c: c.wait_tokens.retrieve(TOKEN),
    "wait_token_unknown": lambda c: c.wait_tokens.retrieve("waitpoint_unknown"),
}  # fmt: skip

# What is refused at the call, before anything is sent.
REFUSED: dict[str, Callable[[Any], Any]] = {
    "batch_empty": lambda c: c.batch_trigger([]),
    "input_stream_send_undefined": lambda c: c.send(RUN, "approval"),
    # Of a token that may do nothing.
    "public_token_no_options": lambda c: c.create_public_token(),
    "trigger_tag_too_long": lambda c: c.trigger("my-task", 1, tags="x" * 129),
    "trigger_too_many_tags": lambda c: c.trigger("my-task", 1, tags=[f"t{i}" for i in range(11)]),
}

# What we have no operation for, or none that could send this.
NOT_OURS = frozenset({
    "py_trigger_chunked_refused",  # every body has its length
    "py_trigger_plain_json",  # payloads are superjson
    "run_get_metadata",  # `runs.retrieve` has it
    "run_result_unfinished",  # a subscription has it
    "session_records",  # a subscription reads them
    "trigger_null_option",  # None is left out
    "wait_token_callback",  # for those who have no client
})  # fmt: skip

_KEY_SCOPE = "options.idempotencyKeyOptions.scope"
_PY_SIZES = ("items.0.options.payloadSize", "items.1.options.payloadSize")
# What the official client does and we do not, by decision.
OTHERWISE: dict[str, tuple[str, ...]] = {
    # A text alone is a list of one here.
    "batch_trigger": ("items.1.options.tags",),
    # 24h and 86400s are one; a period switches the other two off, so it may not stand beside them.
    "wait_token_list": ("filter[createdAt][period]", "filter[createdAt][from]",
                        "filter[createdAt][to]"),
    # It was made with a moment that has passed.
    "public_token_by_server": ("expirationTime",),
    "run_list": ("filter[createdAt][from]", "filter[createdAt][to]"),
    # The scope is for display, and there is no run around us. Newer servers know `concurrency`.
    "trigger_all_options": (_KEY_SCOPE, "options.concurrency"),
    "trigger_idempotent_again": (_KEY_SCOPE,),
    # Without a payload, we say so.
    "trigger_bad_machine": ("options.payloadType", "options.payloadSize"),
    # Made without the payload's usual encoding.
    "trigger_preview_branch": ("payload", "options.payloadType", "options.payloadSize"),
    # The official client's arrives as undefined; ours, by the right type, as the empty text.
    "trigger_empty_string": ("payload", "options.payloadType", "options.payloadSize"),
    # Optional, and left out by plain requests.
    "py_batch": _PY_SIZES,
    "py_batch_partial": _PY_SIZES,
    "py_trigger": ("options.payloadSize",),
}  # fmt: skip

# What the server of a test answers after what was recorded.
SEALED = {"status": 200, "headers": {}, "body": {"sealed": True}}
THEN: dict[str, dict[str, Any]] = {
    "batch_trigger_cached": SEALED,
    "batch_trigger_lost_items": SEALED,
    "trigger_big_payload_no_store": {
        "status": 200, "headers": {}, "body": {"id": RUN, "isCached": False},
    },
}  # fmt: skip

# How many requests we make, where that is another number.
OTHER_COUNT = {
    # The items come although the server has them already: they may be lost.
    "batch_trigger_cached": 2,
    "batch_trigger_lost_items": 4,
    # A send may not happen twice.
    "input_stream_send_retried": 2,
    # Sent within the request as soon as the server says that it has no store.
    "trigger_big_payload_no_store": 2,
    # `x-should-retry: true` is obeyed as often as a client retries; the official one did so once.
    "run_retrieve_unknown": 5,
    # An unknown token is a 500, which no retry helps.
    "wait_token_unknown": 2,
}
# From this request on we do better, and the test says how.
BETTER: dict[str, tuple[int, Callable[[list[Exchange]], bool]]] = {
    "batch_trigger_cached": (1, lambda sent: sent[1].target.endswith("/items")),
    "batch_trigger_lost_items": (3, lambda sent: sent[3].body == sent[1].body != b""),
    "py_batch_partial": (1, lambda sent: sent[1].body == sent[2].body != b""),
    "trigger_big_payload_no_store": (
        1, lambda sent: sent[1].json()["payload"] == "x" * 131072,
    ),
    "trigger_empty_string": (
        1, lambda sent: sent[0].json() == {
            "payload": '{"json":""}',
            "options": {"payloadType": "application/super+json", "payloadSize": 11},
        },
    ),
}  # fmt: skip


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a document by their paths."""
    if isinstance(value, dict) and value:
        pairs = value.items()
    elif isinstance(value, list) and value:
        pairs = ((str(index), one) for index, one in enumerate(value))
    else:
        return {path: value}
    leaves: dict[str, Any] = {}
    for key, one in pairs:
        leaves.update(flat(one, f"{path}.{key}" if path else key))
    return leaves


def without(leaves: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {
        path: one
        for path, one in leaves.items()
        if not any(path.startswith(name) for name in names)
    }


def decoded(value: Any) -> Any:
    """Return a document with the superjson texts in it as the documents that they are."""
    if isinstance(value, list):
        return [decoded(one) for one in value]
    if not isinstance(value, dict):
        return value
    document = {key: decoded(one) for key, one in value.items()}
    options, payload = value.get("options"), value.get("payload")
    if isinstance(options, dict) and options.get("payloadType") == "application/super+json":
        document["payload"] = json.loads(payload)
    return document


def body_of(recorded: Any, sent: bytes) -> Any:
    """Return what we sent as the recording shows bodies."""
    if isinstance(recorded, dict) and "ndjson" in recorded:
        return {"items": [json.loads(line) for line in sent.splitlines()]}
    if isinstance(recorded, str):
        return sent.decode()
    return json.loads(sent) if sent else None


def compare(name: str, recorded: dict[str, Any], sent: Exchange) -> None:
    names = OTHERWISE.get(name, ())
    one, other = urlsplit(recorded["path"]), urlsplit(sent.target)
    assert sent.method == recorded["method"]
    if one.path.startswith("/store/"):
        assert sent.headers["content-type"] == recorded["headers"]["content-type"]
        assert len(sent.body) == int(recorded["headers"]["content-length"])
        assert "authorization" not in sent.headers
        return
    # The name of an upload is made up.
    assert other.path.split("packet_")[0] == one.path.split("packet_")[0]
    assert other.path.rpartition("%2F")[2] == one.path.rpartition("%2F")[2]
    queries = [dict(parse_qsl(parts.query)) for parts in (one, other)]
    assert without(queries[1], names) == without(queries[0], names)
    compare_headers(recorded["headers"], sent.headers, by_hand=name.startswith("py_"))
    body = recorded["body"]
    expected = {"items": body["ndjson"]} if isinstance(body, dict) and "ndjson" in body else body
    ours = flat(decoded(body_of(body, sent.body)))
    assert without(ours, names) == without(flat(decoded(expected)), names)


def compare_headers(recorded: dict[str, str], sent: dict[str, str], *, by_hand: bool) -> None:
    for header in HEADERS:
        one, other = recorded.get(header), sent.get(header)
        if one == "Bearer <public token>":
            assert other is not None
            assert is_public_token(other.removeprefix("Bearer ")), header
        elif not (by_hand and one is None):
            assert other == one, header
    if not by_hand:
        for is_named in ("x-trigger-request-idempotency-key", "x-part-id"):
            assert (is_named in sent) == (is_named in recorded)


def exchanges_of(name: str) -> list[dict[str, Any]]:
    folder = "sessions" if name.startswith("session_") else "calls"
    recording = json.loads((RECORDINGS / folder / f"{name}.json").read_text(encoding="utf-8"))
    return [one for one in recording["exchanges"] if one["request"]["path"].startswith("/")]


def shown_again(response: dict[str, Any], url: str) -> tuple[int, dict[str, str], str]:
    """Return a recorded answer as it was sent: recordings show tokens decoded."""
    shown = response["body"]
    if isinstance(shown, dict) and isinstance(shown.get("token"), dict):
        shown = {**shown, "token": "a.b.c"}
    body = "" if shown is None else json.dumps(shown).replace("<object-store>", f"{url}/store")
    headers = {
        key: "a.b.c" if isinstance(text, dict) else str(text)
        for key, text in response["headers"].items()
        if key not in ("date", "content-length", "x-ratelimit-reset", "transfer-encoding")
    }
    if "retry-after" in headers:
        headers["retry-after"] = "0"
    return response["status"], headers, body


def play(name: str, call: Callable[[Any], Any], raw: Any, connect: Any) -> list[Exchange]:
    """Return what we send to a server that gives the recorded answers in order, until we do
    better; the last one again, where we ask once more."""
    exchanges = exchanges_of(name)
    count = BETTER[name][0] if name in THEN else len(exchanges)
    answers = [one["response"] for one in exchanges[:count]]
    last = THEN.get(name, exchanges[-1]["response"])
    server: Any = None

    def answer(exchange: Exchange) -> None:
        response = answers[exchange.index] if exchange.index < len(answers) else last
        exchange.answer(*shown_again(response, server.url))

    server = raw(answer)
    branch = exchanges[0]["request"]["headers"].get("x-trigger-branch")
    client = connect(server, preview_branch=branch)
    with contextlib.suppress(ApiError, BatchTriggerError, ProtocolError):
        call(client)
    return list(server.exchanges)


def test_every_recording_is_compared_or_told_why_not():
    """None is forgotten, and none is left that is not there any more."""
    accounted = [*CALLS, *REFUSED, *NOT_OURS]
    recorded = [*RECORDINGS.glob("calls/*.json"), *RECORDINGS.glob("sessions/session_*.json")]
    assert sorted(accounted) == sorted(path.stem for path in recorded)


@pytest.mark.parametrize("name", CALLS)
def test_our_requests_are_the_official_clients(raw, connect, soon, name):
    """All of them, in their order, and none more."""
    exchanges = exchanges_of(name)
    sent = play(name, CALLS[name], raw, connect)
    better_from, is_better = BETTER.get(name, (len(exchanges), lambda sent: True))
    assert len(sent) == OTHER_COUNT.get(name, len(exchanges))
    for recorded, one in zip(exchanges[:better_from], sent, strict=False):
        compare(name, recorded["request"], one)
    assert is_better(sent)


@pytest.mark.parametrize("name", CALLS)
def test_all_attempts_of_a_request_have_one_id(raw, connect, soon, name):
    """And no two requests the same."""
    ids: dict[str, set[bytes]] = {}
    for one in play(name, CALLS[name], raw, connect):
        if "x-trigger-request-idempotency-key" in one.headers:
            request = f"{one.method} {one.target}".encode() + one.body
            ids.setdefault(one.headers["x-trigger-request-idempotency-key"], set()).add(request)
    assert all(len(requests) == 1 for requests in ids.values())


@pytest.mark.parametrize("name", REFUSED)
def test_what_servers_refuse_or_misread_is_not_sent(raw, connect, name):
    """An error of the call says what is wrong."""
    server = raw(lambda exchange: exchange.answer(500))
    with pytest.raises((ValueError, TypeError)):
        REFUSED[name](connect(server))
    assert server.exchanges == []
