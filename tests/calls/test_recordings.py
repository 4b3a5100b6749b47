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
from trigger_realtime_sync import ApiError, BatchItem, Debounce, RunStatus, metadata

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

# Recording → the call that makes the same requests.
CALLS: dict[str, Callable[[Any], Any]] = {
    "batch_retrieve": lambda c: c.batch_handle(BATCH).retrieve(),
    "batch_trigger": lambda c: c.batch_trigger(
        [BatchItem("my-task", {"i": 0}), BatchItem("my-task", "text", tags="one"),
         BatchItem("my-task")],
        idempotency_key="batch-7",
    ),
    "batch_trigger_items_retried": lambda c: c.batch_trigger(
        [BatchItem("my-task", 1), BatchItem("my-task", 2)]
    ),
    "batch_trigger_rate_limited": lambda c: c.batch_trigger([BatchItem("my-task", 1)]),
    "idempotency_reset": lambda c: c.runs.reset_idempotency_key("my-task", ["user", "7"]),
    "input_stream_completed_run": lambda c: c.send(RUN, "approval", 1),
    "input_stream_send": lambda c: c.send(RUN, "approval", {"approved": True}),
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
    "trigger_big_payload": lambda c: c.trigger("my-task", BLOB),
    "trigger_debounce": lambda c: c.trigger(
        "my-task", {"a": 1},
        debounce=Debounce("user-7", "5s", mode="trailing", max_delay="1m"),
    ),
    "trigger_delay_date": lambda c: c.trigger(
        "my-task", {"a": 1}, delay=datetime(2027, 1, 1, tzinfo=timezone.utc), ttl=3600
    ),
    "trigger_delayed": lambda c: c.trigger("my-task", 1, delay="1h"),
    "trigger_null": lambda c: c.trigger("my-task", None),
    "trigger_object": lambda c: c.trigger(
        "my-task", {"user": 7, "when": EPOCH, "n": 12345678901234567890}
    ),
    "trigger_plain_idempotency_key": lambda c: c.trigger(
        "my-task", {"a": 1}, idempotency_key="order-1"
    ),
    "trigger_rate_limited": lambda c: c.trigger("my-task", 1),
    "trigger_slash_id": lambda c: c.trigger("a/b c#é", 1),
    "trigger_string": lambda c: c.trigger("my-task", "hello"),
    "trigger_undefined": lambda c: c.trigger("my-task"),
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
    "wait_token_unknown": lambda c: c.wait_tokens.retrieve("waitpoint_unknown"),
}  # fmt: skip

# What the official client does and we do not, by decision.
OTHERWISE = {
    # A text alone is a list of one here.
    "batch_trigger": ("items.1.options.tags",),
    # 24h and 86400s are one; a period switches the other two off, so it may not stand beside them.
    "wait_token_list": ("filter[createdAt][period]", "filter[createdAt][from]",
                        "filter[createdAt][to]"),
    # It was made with a moment that has passed.
    "public_token_by_server": ("expirationTime",),
    "run_list": ("filter[createdAt][from]", "filter[createdAt][to]"),
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
    if "/packets/" not in one.path:
        assert other.path == one.path
        queries = [dict(parse_qsl(parts.query)) for parts in (one, other)]
        assert without(queries[1], names) == without(queries[0], names)
    if not one.path.startswith("/store/"):
        for header in HEADERS:
            assert sent.headers.get(header) == recorded["headers"].get(header), header
        for is_named in ("x-trigger-request-idempotency-key", "x-part-id"):
            assert (is_named in sent.headers) == (is_named in recorded["headers"])
    else:
        assert sent.headers["content-type"] == recorded["headers"]["content-type"]
        assert len(sent.body) == int(recorded["headers"]["content-length"])
        return
    body = recorded["body"]
    expected = {"items": body["ndjson"]} if isinstance(body, dict) and "ndjson" in body else body
    assert without(flat(body_of(body, sent.body)), names) == without(flat(expected), names)


@pytest.mark.parametrize("name", CALLS)
def test_our_requests_are_the_official_clients(raw, connect, soon, name):
    """All of them, in their order; what it retries after a refusal, we may give up."""
    folder = "sessions" if name.startswith("session_") else "calls"
    recording = json.loads((RECORDINGS / folder / f"{name}.json").read_text(encoding="utf-8"))
    exchanges = [one for one in recording["exchanges"] if one["request"]["path"].startswith("/")]
    server: Any = None

    def answer_to(index: int) -> Any:
        # The last one again, where we ask once more.
        return exchanges[min(index, len(exchanges) - 1)]["response"]

    def answer(exchange: Exchange) -> None:
        response = answer_to(exchange.index)
        shown = response["body"]
        if isinstance(shown, dict) and isinstance(shown.get("token"), dict):
            # Recordings show tokens decoded.
            shown = {**shown, "token": "a.b.c"}
        body = json.dumps(shown).replace("<object-store>", f"{server.url}/store")
        headers = {key: str(text) for key, text in response["headers"].items() if key != "date"}
        for left_out in ("content-length", "x-ratelimit-reset", "transfer-encoding"):
            headers.pop(left_out, None)
        headers = {key: text for key, text in headers.items() if not text.startswith("{'")}
        if "retry-after" in headers:
            headers["retry-after"] = "0"
        exchange.answer(response["status"], headers, body)

    server = raw(answer)
    branch = exchanges[0]["request"]["headers"].get("x-trigger-branch")
    client = connect(server, preview_branch=branch)
    with contextlib.suppress(ApiError):
        CALLS[name](client)
    assert server.exchanges
    for recorded, sent in zip(exchanges, server.exchanges, strict=False):
        compare(name, recorded["request"], sent)
