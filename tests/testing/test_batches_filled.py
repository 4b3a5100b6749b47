"""Batches that clients fill in two steps (docs/protocol.md, section R5)."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.waiting import eventually
from tests.testing.conftest import serving

HALF = "batchTrigger:tasks:my-task"


def create(client, count=2, tasks=("my-task",), **more):
    """The answer to the first step."""
    how = {name: more.pop(name) for name in ("token", "headers") if name in more}
    body = {"runCount": count, "taskIdentifiers": list(tasks), **more}
    return client.post("/api/v3/batches", body, **how)


def lines(*items):
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def item(index, **more):
    return {"index": index, "task": "my-task", "payload": index, **more}


def fill(client, batch_id, *items, data=None, **how):
    """The answer to the second step."""
    how.setdefault("headers", {"Content-Type": "application/x-ndjson"})
    body = lines(*items) if data is None else data
    return client.post(f"/api/v3/batches/{batch_id}/items", data=body, **how)


def retrieved(client, batch_id):
    """The batch by REST, once all its items were processed."""

    def there():
        return "completedAt" in client.get(f"/api/v2/batches/{batch_id}").json()["processing"]

    eventually(there, "the batch is still processed")
    return client.get(f"/api/v2/batches/{batch_id}").json()


def test_the_two_steps(server, client):
    """The runs are made after the answer."""
    got = create(client, 2, idempotencyKey="k")
    batch_id = got.json()["id"]
    assert got.status == 202
    answer = {"id": batch_id, "runCount": 2, "isCached": False, "idempotencyKey": "k"}
    assert got.json() == answer
    assert json.loads(got.headers["x-trigger-jwt-claims"]).keys() == {"sub", "pub"}
    filled = fill(client, batch_id, item(1), item(0, options={"tags": "t"}))
    accepted = {"itemsAccepted": 2, "itemsDeduplicated": 0}
    assert filled.json() == {"id": batch_id, **accepted, "sealed": True, "runCount": 2}
    assert len(retrieved(client, batch_id)["runs"]) == 2
    token = {"Authorization": f"Bearer {got.headers['x-trigger-jwt']}"}
    feed = client.get(f"/realtime/v1/batches/{batch_id}", token, offset="-1")
    assert len(feed.rows) == 2
    assert {one.batch_id for one in server.triggered("my-task")} == {batch_id}


def test_items_may_come_in_chunks_and_lines_be_blank(client):
    """Unlike any other body."""
    batch_id = create(client).json()["id"]
    whole = lines(item(0)) + b"\n  \n" + lines(item(1)).rstrip()
    got = fill(client, batch_id, data=iter([whole[:30], whole[30:]]))
    assert got.json()["sealed"]


def test_a_missing_item_leaves_the_batch_open(server, client):
    """What came runs all the same; sent again, each item counts once."""
    batch_id = create(client).json()["id"]
    got = fill(client, batch_id, item(0)).json()
    assert (got["sealed"], got["enqueuedCount"], got["expectedCount"]) == (False, 1, 2)
    eventually(lambda: len(server.triggered()) == 1, "the item has no run")
    assert "completedAt" not in client.get(f"/api/v2/batches/{batch_id}").json()["processing"]
    got = fill(client, batch_id, item(0), item(1)).json()
    assert (got["sealed"], got["itemsAccepted"], got["itemsDeduplicated"]) == (True, 1, 1)
    assert len(retrieved(client, batch_id)["runs"]) == 2


def test_a_key_says_nothing_about_the_items(server, client):
    """The trap: cached means that the first step was done once, not that there are any runs."""
    first = create(client, idempotencyKey="k").json()
    got = create(client, idempotencyKey="k")
    assert (got.status, got.json()) == (200, {"id": first["id"], "runCount": 2, "isCached": True})
    assert client.get(f"/api/v2/batches/{first['id']}").json()["runs"] == []
    assert fill(client, first["id"], item(0), item(1)).json()["sealed"]


def test_a_sealed_batch_takes_nothing_more(server, client):
    """It says so; older servers refuse."""
    batch_id = create(client).json()["id"]
    fill(client, batch_id, item(0), item(1))
    got = fill(client, batch_id, item(0), item(1)).json()
    assert (got["sealed"], got["itemsAccepted"], got["itemsDeduplicated"]) == (True, 0, 2)
    server.settings.answers_sealed = False
    got = fill(client, batch_id, item(0), item(1))
    assert got.status == 422
    assert "is not in PENDING status" in got.json()["error"]


def test_a_key_with_other_tasks_is_refused(client):
    """And with the same ones after a day."""
    create(client, idempotencyKey="k")
    got = create(client, tasks=("other",), idempotencyKey="k")
    assert got.status == 422
    assert "already been created with the same idempotency key" in got.json()["error"]


@pytest.mark.parametrize(
    ("bad", "status", "error"),
    [
        (item(5), 422, "Item index 5 exceeds batch runCount 2"),
        ({"index": 1}, 422, "Invalid item at index 1: "),
        (item(1, options={"machine": "huge"}), 422, "Invalid item at index 1: "),
        ({"task": "my-task"}, 422, "Invalid item at index 1: "),
        ("{", 400, "Invalid JSON at line 2"),
    ],
    ids=str,
)
def test_a_bad_item_stops_the_rest(server, client, bad, status, error):
    """Those before it are in, and the batch can still be completed."""
    batch_id = create(client).json()["id"]
    line = b"{\n" if bad == "{" else lines(bad)
    got = fill(client, batch_id, data=lines(item(0)) + line)
    assert got.status == status
    assert error in got.json()["error"]
    got = fill(client, batch_id, item(0), item(1)).json()
    assert (got["itemsAccepted"], got["itemsDeduplicated"], got["sealed"]) == (1, 1, True)


def test_rules_of_single_items_fail_later(client):
    """One by one, and by REST alone."""
    batch_id = create(client, 3).json()["id"]
    tags = [f"t{n}" for n in range(11)]
    assert fill(client, batch_id, item(0), item(1, options={"tags": tags}), item(2)).json()[
        "sealed"
    ]
    batch = retrieved(client, batch_id)
    assert batch["status"] == "PARTIAL_FAILED"
    assert len(batch["runs"]) == 2
    (error,) = batch["processing"]["errors"]
    assert (error["index"], error["taskIdentifier"]) == (1, "my-task")
    assert "10 tags" in error["error"]


def test_a_batch_without_a_run_is_aborted(client):
    """And refuses its items from then on."""
    batch_id = create(client, 1).json()["id"]
    bad = item(0, options={"region": "the-moon"})
    fill(client, batch_id, bad)
    assert retrieved(client, batch_id)["status"] == "ABORTED"
    assert fill(client, batch_id, bad).status == 422


def test_a_reused_run_is_listed_but_not_on_the_feed(client):
    """It was triggered before, alone."""
    run_id = client.trigger(1, idempotencyKey="k").json()["id"]
    batch_id = create(client).json()["id"]
    fill(client, batch_id, item(0, options={"idempotencyKey": "k"}), item(1))
    assert run_id in retrieved(client, batch_id)["runs"]
    feed = client.get(f"/realtime/v1/batches/{batch_id}", offset="-1")
    assert len(feed.rows) == 1
    assert run_id not in feed.run_ids


def test_a_text_without_a_type_is_json_in_an_item(server, client):
    """A single trigger would keep the text."""
    batch_id = create(client, 1).json()["id"]
    fill(client, batch_id, item(0, payload="[1]", options={"payloadType": "application/json"}))
    retrieved(client, batch_id)
    assert server.triggered()[0].payload == [1]


def test_a_line_that_is_too_long_is_a_failed_run(client):
    """More than 3 MiB: no error, and the others are not harmed."""
    batch_id = create(client).json()["id"]
    assert fill(client, batch_id, item(0, payload="x" * (3 << 20)), item(1)).status == 200
    runs = retrieved(client, batch_id)["runs"]
    states = sorted(client.row(run_id)["status"] for run_id in runs)
    assert states == ["PENDING", "SYSTEM_FAILURE"]


@pytest.mark.parametrize(
    ("count", "tasks", "error"),
    [
        (0, [], 'Number must be greater than 0 at "runCount"; Array must contain at least 1 el'),
        (1001, ["t"], "1000"),
        (1.5, ["t"], "runCount"),
        ("2", ["t"], 'Expected number, received string at "runCount"'),
    ],
)
def test_a_bad_count_is_refused(client, count, tasks, error):
    """Before any item."""
    got = create(client, count, tasks)
    assert got.status == 400
    assert error in got.json()["error"]


def test_other_refusals_of_items(client):
    """Not JSON by its type; no such batch is a 422, not a 404."""
    batch_id = create(client).json()["id"]
    wrong = {"Content-Type": "application/json"}
    assert fill(client, batch_id, item(0), headers=wrong).status == 415
    got = fill(client, "batch_missing", item(0))
    assert (got.status, got.json()) == (422, {"error": "Batch batch_missing not found"})


def test_runs_of_batches_are_limited(server, client):
    """With a reset in seconds, and `Retry-After`."""
    server.settings.batch_runs = (3, 10)
    assert create(client, 3).status == 202
    got = create(client, 2)
    assert (got.status, got.json()) == (429, {"error": "Batch rate limit exceeded."})
    assert got.headers["retry-after"] == "2"
    assert abs(int(got.headers["x-ratelimit-reset"]) - time.time()) < 10


@serving(api_requests=1)
def test_items_are_not_limited(client):
    """For ten requests."""
    batch_id = create(client).json()["id"]
    statuses = [fill(client, batch_id, item(0)).status for _ in range(11)]
    assert statuses == [200] * 10 + [429]


def test_scopes_of_batches(server, client):
    """A token for a task fills no batch of another, and needs to hear which tasks it is about."""
    token = server.public_token(HALF)
    assert create(client, token=token).status == 202
    assert create(client, tasks=("other",), token=token).status == 403
    assert client.post("/api/v3/batches", {"runCount": 1}, token=token).status == 403
    batch_id = create(client, 1, token=token).json()["id"]
    assert fill(client, batch_id, {"index": 0, "task": "other"}, token=token).status == 403
    assert fill(client, batch_id, item(0), token=token).status == 200


def test_a_one_time_token_does_both_steps_once(server, client):
    """The first step spends it, and the id of a request does not help."""
    token = server.public_token(HALF, otu=True)
    headers = {"x-trigger-request-idempotency-key": "request-1"}
    batch_id = create(client, 1, token=token, headers=headers).json()["id"]
    assert fill(client, batch_id, item(0), token=token).status == 200
    got = create(client, 1, token=token, headers=headers)
    assert got.status == 422
    assert "one-time use token" in got.json()["error"]


def test_a_browser_may_write_to_its_batch(client):
    """By the token in the answer."""
    got = create(client, headers={"x-trigger-client": "browser"})
    claims = got.headers["x-trigger-jwt"].split(".")[1]
    assert claims != create(client).headers["x-trigger-jwt"].split(".")[1]


@pytest.mark.parametrize("chunked", [False, True])
def test_items_before_a_cut_are_in(server, client, held_socket, chunked):
    """They are taken as they come; the one that was cut is not."""
    batch_id = create(client, 3).json()["id"]
    whole = lines(item(0), item(1), item(2))[:-10]
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 10000"
    path = f"/api/v3/batches/{batch_id}/items"
    sock = held_socket("/", {"Content-Length": "0"})
    sock.recv(65536)
    head = ["Authorization: Bearer tr_test", "Content-Type: application/x-ndjson", framing]
    sock.sendall("\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *head, "", ""]).encode())
    sock.sendall(b"%x\r\n" % 10_000 + whole if chunked else whole)
    sock.close()
    eventually(lambda: len(server.triggered()) == 2, "the items are not in")
    got = fill(client, batch_id, item(0), item(1), item(2)).json()
    assert (got["itemsAccepted"], got["itemsDeduplicated"], got["sealed"]) == (1, 2, True)
