"""Sessions of chat agents (docs/protocol.md, section R9)."""

from __future__ import annotations

import json

import pytest

from tests.testing.conftest import serving

BODY = {
    "type": "chat",
    "externalId": "chat/7",
    "taskIdentifier": "my-chat",
    "triggerConfig": {"basePayload": {"chatId": "chat/7"}, "tags": ["t"], "queue": "q"},
}
CHANNEL = "/realtime/v1/sessions/chat%2F7"


def start(client, **changes):
    return client.post("/api/v1/sessions", {**BODY, **changes})


def append(client, text, part_id=None, path=f"{CHANNEL}/in/append", **how):
    headers = {"X-Part-Id": part_id} if part_id else {}
    return client.post(path, data=text.encode(), headers=headers, **how)


def read(client, path=f"{CHANNEL}/out", **headers):
    """A channel, until the server closes it."""
    return client.get(path, {"Timeout-Seconds": "1", **headers})


def bodies(got):
    """The parts of a stream, and the names of its commands and control records."""
    records = [record for batch in got.batches for record in batch]
    return [
        record["headers"][0][1] if "headers" in record else json.loads(record["body"])["data"]
        for record in records
    ]


# --- by REST


def test_a_session_starts_with_a_run(server, client):
    """Of its task, with its configuration; and a token for its channels."""
    got = start(client)
    session = got.json()
    assert got.status == 201
    assert (session["externalId"], session["isCached"]) == ("chat/7", False)
    assert session["runId"] == session["currentRunId"] == server.session("chat/7").run_id
    row = client.row(session["runId"])
    assert (row["taskIdentifier"], row["runTags"]) == ("my-chat", '{"t"}')
    assert server.triggered("my-chat")[0].payload == {"chatId": "chat/7"}
    token = {"Authorization": f"Bearer {session['publicAccessToken']}"}
    assert read(client, **token).status == 200
    assert read(client, "/realtime/v1/sessions/other/out", **token).status == 403


def test_the_same_external_id_is_the_same_session(server, client):
    """With a run that is alive: a new one, if the last is finished."""
    first = start(client).json()
    got = start(client)
    assert (got.status, got.json()["isCached"]) == (200, True)
    assert (got.json()["id"], got.json()["runId"]) == (first["id"], first["runId"])
    server.complete_run(first["runId"])
    assert start(client).json()["runId"] != first["runId"]


def test_a_session_is_found_by_both_ids(client):
    """And changed; an unknown one is a 404."""
    session_id = start(client).json()["id"]
    assert client.get("/api/v1/sessions/chat%2F7").json()["id"] == session_id
    changed = client.send("PATCH", f"/api/v1/sessions/{session_id}", {"tags": ["a"]}).json()
    assert changed["tags"] == ["a"]
    assert client.get("/api/v1/sessions/session_missing").status == 404


def test_a_closed_session_stays_closed(server, client):
    """It keeps its first reason, and can't be started again."""
    start(client)
    closed = client.post("/api/v1/sessions/chat%2F7/close", {"reason": "done"}).json()
    assert (closed["closedReason"], closed["closedAt"] is None) == ("done", False)
    again = client.post("/api/v1/sessions/chat%2F7/close", {"reason": "twice"}).json()
    assert again == closed
    assert start(client).status == 409
    got = append(client, "late")
    text = "Cannot append to a closed session"
    assert (got.status, got.json()) == (400, {"ok": False, "error": text})
    assert bodies(read(client)) == ["session-closed"]


def test_nobody_tells_of_a_close_without_a_run(server, client):
    """The agent would write the record."""
    server.complete_run(start(client).json()["runId"])
    client.post("/api/v1/sessions/chat%2F7/close", {})
    assert bodies(read(client)) == []


def test_an_expired_session(client):
    """It can be neither started nor written to."""
    start(client, expiresAt="2020-01-01T00:00:00Z")
    assert start(client).status == 409
    assert append(client, "late").status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"type": "x" * 65},
        {"externalId": "session_x"},
        {"externalId": "x" * 257},
        {"externalId": ""},
        {"triggerConfig": {}},
        {"triggerConfig": {"basePayload": {}, "tags": ["t"] * 6}},
        {"triggerConfig": {"basePayload": {}, "maxAttempts": 11}},
        {"triggerConfig": {"basePayload": {}, "idleTimeoutInSeconds": 3601}},
        {"triggerConfig": {"basePayload": {}, "machine": "huge"}},
        {"tags": ["t"] * 11},
        {"metadata": []},
    ],
    ids=str,
)
def test_a_bad_start_is_refused(client, change):
    """400."""
    assert start(client, **change).status == 400


def test_a_start_has_a_limit(client):
    """32 KiB."""
    config = {"basePayload": {"text": "x" * 32_768}}
    assert start(client, triggerConfig=config).status == 413


def test_a_list_of_sessions(client):
    """Newest first, 20 to a page, without what only the session itself shows."""
    ids = [start(client, externalId=f"c{n}", tags=[f"t{n}"]).json()["id"] for n in range(21)]
    client.post("/api/v1/sessions/c3/close", {})
    listed = client.get("/api/v1/sessions").json()
    assert [one["id"] for one in listed["data"]] == ids[:0:-1]
    assert "triggerConfig" not in listed["data"][0]
    query = {"filter[status]": "CLOSED"}
    assert [one["id"] for one in client.get("/api/v1/sessions", **query).json()["data"]] == ids[3:4]
    query = {"filter[tags]": "t1,t2"}
    assert len(client.get("/api/v1/sessions", **query).json()["data"]) == 2


# --- appends


def test_what_is_appended_is_text(server, client):
    """As it came, and numbered from 0; an id makes a second attempt the same part."""
    start(client)
    assert append(client, '{"kind":"message"}', "p1").json() == {"ok": True, "seq": 0}
    assert append(client, '{"kind":"message"}', "p1").json() == {"ok": True, "seq": 0}
    assert append(client, "plain").json() == {"ok": True, "seq": 1}
    first, second = server.session("chat/7").records()
    assert json.loads(first["body"]) == {"data": '{"kind":"message"}', "id": "p1"}
    assert json.loads(second["body"])["data"] == "plain"
    assert bodies(read(client, f"{CHANNEL}/in")) == ['{"kind":"message"}', "plain"]


def test_an_append_starts_a_run(server, client):
    """Where none is alive; then the session has another one."""
    first = start(client).json()["runId"]
    append(client, "one")
    assert server.session("chat/7").run_id == first
    server.complete_run(first)
    append(client, "two")
    assert server.session("chat/7").run_id != first
    assert len(server.triggered("my-chat")) == 2


def test_limits_of_appends(client):
    """1 MiB, wrapped and escaped too, and its length is named."""
    start(client)
    assert append(client, "x" * (1 << 20)).status == 413
    assert append(client, '"' * 500_000).status == 413
    assert client.post(f"{CHANNEL}/in/append", data=iter([b"x"])).status == 413


def test_scopes_of_appends(server, client):
    """A session's token writes to `in` alone."""
    token = start(client).json()["publicAccessToken"]
    assert append(client, "x", token=token).status == 200
    assert append(client, "x", path=f"{CHANNEL}/out/append", token=token).status == 403
    assert append(client, "x", token=server.public_token("read:sessions")).status == 403
    assert client.post("/api/v1/sessions", BODY, token=token).status == 401


# --- streams


def test_parts_and_turns(server, client):
    """Data, control records without a body, and what the turn brings."""
    start(client)
    chat = server.session("chat/7")
    assert chat.write({"type": "text", "text": "hi"}) == [0]
    chat.complete_turn(took_in=0, token="fresh")
    got = read(client)
    assert got.headers["x-stream-version"] == "v2"
    assert bodies(got) == [{"type": "text", "text": "hi"}, "turn-complete"]
    control = got.batches[-1][-1]
    assert "body" not in control
    assert control["headers"] == [
        ["trigger-control", "turn-complete"],
        ["public-access-token", "fresh"],
        ["session-in-event-id", "0"],
    ]
    assert bodies(read(client, **{"Last-Event-ID": "0"})) == ["turn-complete"]


def test_a_trim_leaves_numbers_as_they_are(server, client):
    """An old cursor is answered from the first record left."""
    start(client)
    chat = server.session("chat/7")
    chat.write("one", "two")
    end = chat.complete_turn()
    chat.write("three")
    chat.trim_before(end)
    records = [record for batch in read(client).batches for record in batch]
    assert [record["seq_num"] for record in records] == [2, 3, 4]
    assert records[-1]["headers"] == [["", "trim"]]


@pytest.mark.parametrize("timeout", ["0", "601", "-1", "1.5", "x", ""])
def test_timeouts(client, timeout):
    """Whole seconds from 1 to 600; a plain text says so, for 0 too."""
    got = read(client, **{"Timeout-Seconds": timeout})
    assert got.status == 400
    assert got.headers["content-type"].startswith("text/plain")


def test_a_settled_chat_ends_at_once(server, client):
    """Where a turn's end is the last record but commands; else the stream stays open."""
    start(client)
    chat = server.session("chat/7")
    chat.write("one")
    peek = {"X-Peek-Settled": "1"}
    assert "x-session-settled" not in read(client, **peek).headers
    chat.complete_turn()
    chat.trim_before(1)
    got = client.get(f"{CHANNEL}/out", {**peek, "Timeout-Seconds": "60"})
    assert got.headers["x-session-settled"] == "true"
    assert bodies(got) == ["turn-complete", "trim"]
    assert got.events[-1] == {"data": "[DONE]"}


def test_who_is_not_there(server, client):
    """An external id that nobody has used is an empty stream, an id of the server's a 404."""
    assert read(client, "/realtime/v1/sessions/unused/out").batches == []
    assert read(client, "/realtime/v1/sessions/session_missing/out").status == 404
    assert append(client, "x", path="/realtime/v1/sessions/unused/in/append").status == 404


def test_records_at_once(server, client):
    """Without a stream, after a number."""
    start(client)
    chat = server.session("chat/7")
    chat.write("one", "two")
    chat.control("upgrade-required")
    records = client.get(f"{CHANNEL}/out/records").json()["records"]
    assert [one["seqNum"] for one in records] == [0, 1, 2]
    assert records[0]["data"] == "one"
    assert records[2]["headers"] == [["trigger-control", "upgrade-required"]]
    query = {"afterEventId": "1"}
    assert len(client.get(f"{CHANNEL}/out/records", **query).json()["records"]) == 1


def test_channels_of_newer_servers(server, client):
    """Each is a stream of its own; 4.5.12 knows none."""
    start(client)
    path = f"{CHANNEL}/channels/side/in/append"
    assert append(client, "x", path=path).status == 404
    server.settings.session_channels = True
    assert append(client, "x", path=path).json() == {"ok": True, "seq": 0}
    server.session("chat/7").write("y", channel="side")
    assert bodies(read(client, f"{CHANNEL}/channels/side/out")) == ["y"]
    assert bodies(read(client)) == []


@serving(streams="v1")
def test_sessions_need_s2(client):
    """501 without it."""
    assert start(client).status == 501
    assert append(client, "x").status == 501
    assert read(client).status == 501
