"""The official client makes its calls to the test server, and checks each answer by its schemas."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.interop.official import HERE, PATIENCE, is_required, why_not
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

CHAT = {"type": "chat", "externalId": "chat/7", "taskIdentifier": "my-chat"}


@pytest.fixture
def server():
    if (reason := why_not()) and not is_required():
        pytest.skip(reason)
    with RealtimeServer() as server:
        yield server


@pytest.fixture
def call(server):
    """Make these calls in a process of the official client; return what they returned."""

    def make(*calls: list[Any], token: str = "tr_dev_official") -> list[Any]:
        asked = json.dumps({"url": server.url, "token": token, "calls": calls})
        done = subprocess.run(
            ["node", "caller.mjs", asked],
            cwd=HERE,
            capture_output=True,
            check=True,
            text=True,
            timeout=PATIENCE,
            encoding="utf-8",
        )
        return json.loads(done.stdout)

    return make


def result_of(number, *path):
    """What an earlier call returned."""
    return {"$": [number, *(path or ("id",))]}


def values(results):
    """What calls returned, none of which failed."""
    assert [one for one in results if "value" not in one] == []
    return [one["value"] for one in results]


def test_triggers(server, call):
    """Alone, again by its key, and with what a server has to say against."""
    options = {"idempotencyKey": "k", "tags": ["a"], "delay": "1h", "metadata": {"m": 1}}
    first, again, refused = call(
        ["triggerTask", "my-task", {"payload": '{"json":1}', "options": options}],
        ["triggerTask", "my-task", {"payload": '{"json":1}', "options": options}],
        ["triggerTask", "my-task", {"options": {"tags": [f"t{n}" for n in range(11)]}}],
    )
    assert first["value"]["id"] == again["value"]["id"]
    assert first["value"]["publicAccessToken"]
    assert again["value"]["isCached"]
    assert refused["status"] == 422
    assert [one.is_cached for one in server.triggered("my-task")] == [False, True]


def test_a_batch(server, call):
    """Its two steps, and what became of it."""
    create = {"runCount": 2, "taskIdentifiers": ["my-task"], "idempotencyKey": "b"}
    items = [{"index": n, "task": "my-task", "payload": "x"} for n in range(2)]
    created, filled = values(
        call(["createBatch", create], ["streamBatchItems", result_of(0), items])
    )
    assert (filled["sealed"], filled["itemsAccepted"]) == (True, 2)
    eventually(lambda: len(server.triggered()) == 2, "the items have no runs")
    (batch,) = values(call(["retrieveBatch", created["id"]]))
    assert len(batch["runs"]) == 2


def test_runs(server, call):
    """All that is done to a run from outside."""
    triggered, *_, retrieved, listed, replayed, canceled = values(
        call(
            ["triggerTask", "my-task", {"payload": "x", "options": {"delay": "1h"}}],
            ["rescheduleRun", result_of(0), {"delay": "2h"}],
            ["addTags", result_of(0), {"tags": ["a"]}],
            ["updateRunMetadata", result_of(0), {"metadata": {"a": 1}}],
            ["sendInputStream", result_of(0), "s", {"ok": True}],
            ["retrieveRun", result_of(0)],
            ["listRuns", {"limit": 10, "tag": "a"}],
            ["replayRun", result_of(0)],
            ["cancelRun", result_of(0)],
        )
    )
    assert (retrieved["status"], retrieved["tags"]) == ("DELAYED", ["a"])
    assert retrieved["metadata"] == {"a": 1}
    assert [run["id"] for run in listed["data"]] == [triggered["id"]]
    assert replayed["id"] != triggered["id"]
    assert canceled["id"] == triggered["id"]
    assert server.inputs(triggered["id"], "s") == [{"ok": True}]


def test_it_can_not_read_metadata(server, call):
    """The server sends a text, it wants an object (docs/protocol.md, section R10)."""
    (result,) = call(["getRunMetadata", server.create_run(metadata={"a": 1})])
    assert "record" in result["error"] or "object" in result["error"]


def test_tokens(server, call):
    """The claims, and tokens by the server."""
    claims, minted = values(
        call(["generateJWTClaims"], ["createPublicToken", {"scopes": ["read:runs"]}])
    )
    assert claims["pub"]
    (runs,) = values(call(["listRuns", {}], token=minted["token"]))
    assert runs["data"] == []


def test_wait_tokens(server, call):
    """Made, listed, completed and retrieved."""
    made, _, _, done = values(
        call(
            ["createWaitpointToken", {"timeout": "1h", "tags": ["t"], "idempotencyKey": "k"}],
            ["listWaitpointTokens", {"tags": ["t"]}],
            ["completeWaitpointToken", result_of(0), {"data": {"ok": True}}],
            ["retrieveWaitpointToken", result_of(0)],
        )
    )
    assert (done["id"], done["status"]) == (made["id"], "COMPLETED")
    assert server.wait_tokens[0].output == {"ok": True}


def test_a_session(server, call):
    """Started, written to, read with its turn's end, listed and closed."""
    server.session("chat/7").write("one")
    server.session("chat/7").complete_turn(took_in=0)
    body = {**CHAT, "triggerConfig": {"basePayload": {}}}
    started, _, _, heard, records, listed, closed = values(
        call(
            ["createSession", body],
            ["retrieveSession", "chat/7"],
            ["appendToSessionStream", "chat/7", "in", '{"kind":"message"}'],
            ["listen", "chat/7", 2],
            ["readSessionStreamRecords", "chat/7", "out"],
            ["listSessions", {"limit": 5}],
            ["closeSession", "chat/7", {"reason": "done"}],
        )
    )
    assert heard[0]["chunk"] == "one"
    assert heard[1]["headers"][0] == ["trigger-control", "turn-complete"]
    assert [one["seqNum"] for one in records["records"]] == [0, 1]
    assert [one["id"] for one in listed["data"]] == [started["id"]]
    assert closed["closedReason"] == "done"
