"""Runs from outside: lists, replays, tags, metadata (docs/protocol.md, section R8)."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.waiting import eventually


def run_of(client, *payload, **options):
    """The id of a triggered run."""
    return client.trigger(*payload, **options).json()["id"]


# --- lists


def listed(client, **query):
    return client.get("/api/v1/runs", **query).json()


def ids(client, **filters):
    """The ids of a list with these filters."""
    query = {f"filter[{name}]": text for name, text in filters.items()}
    return [run["id"] for run in listed(client, **query)["data"]]


def test_a_list_has_pages(client):
    """Newest first, 25 to a page unless asked otherwise; a cursor names a run."""
    made = [run_of(client, n) for n in range(30)][::-1]
    first = listed(client)
    assert [run["id"] for run in first["data"]] == made[:25]
    run_of(client, "newer")
    second = listed(client, **{"page[after]": first["pagination"]["next"]})
    assert [run["id"] for run in second["data"]] == made[25:]
    assert "next" not in second["pagination"]
    back = listed(client, **{"page[before]": second["pagination"]["previous"], "page[size]": 2})
    assert [run["id"] for run in back["data"]] == made[23:25]


@pytest.mark.parametrize("size", ["0", "101", "x"])
def test_a_page_has_a_size(client, size):
    """From 1 to 100."""
    got = client.get("/api/v1/runs", **{"page[size]": size})
    assert (got.status, got.json()["error"]) == (400, "Query Error")


def test_items_are_common_fields(client):
    """No payload, output or error; the environment."""
    run_id = run_of(client, {"a": 1}, tags="t", metadata={"m": 1})
    (item,) = listed(client)["data"]
    assert item["id"] == run_id
    assert item["env"].keys() == {"id", "name", "user"}
    assert not item.keys() & {"payload", "output", "error", "attempts", "relatedRuns", "depth"}
    assert item["metadata"] == {"m": 1}


def test_filters(server, client):
    """Each of them; several values are any of them."""
    plain = run_of(client, 1)
    options = {"queue": {"name": "q"}, "machine": "micro", "region": "us-east-1"}
    other = run_of(client, 1, tags=["a", "b"], test=True, lockToVersion="20261125.1", **options)
    server.complete_run(plain)
    assert ids(client, status="COMPLETED") == [plain]
    assert ids(client, status="QUEUED,COMPLETED") == [other, plain]
    assert ids(client, taskIdentifier="another") == []
    assert ids(client, tag="b,c") == [other]
    assert ids(client, queue="task/my-task") == [plain]
    assert ids(client, machine="micro") == [other]
    assert ids(client, region="us-east-1") == [other]
    assert ids(client, version="20261125.1") == [other]
    assert (ids(client, isTest="true"), ids(client, isTest="false")) == ([other], [plain])
    assert ids(client, schedule="sched_1") == []
    assert client.get("/api/v1/runs", **{"filter[status]": "DONE"}).status == 400


def test_times(server, client):
    """The last seven days, unless asked otherwise; a period switches the others off."""
    old = server.create_run(created_at="2020-01-01T00:00:00.000")
    new = run_of(client, 1)
    assert ids(client) == [new]
    assert ids(client, **{"createdAt][from": "2019-01-01"}) == [new, old]
    assert ids(client, **{"createdAt][to": "1600000000000"}) == [old]
    both = {"createdAt][period": "1d", "createdAt][to": "1600000000000"}
    assert ids(client, **both) == [new]


def test_the_index_trails(server, client):
    """A run just triggered may be missing."""
    server.settings.list_lag = 0.3
    run_id = run_of(client, 1)
    assert ids(client) == []
    eventually(lambda: ids(client) == [run_id], "the run is still missing")


def test_scopes_of_lists(server, client):
    """All runs, or those of tasks that are asked for."""

    def status(scope, **query):
        token = {"Authorization": f"Bearer {server.public_token(scope)}"}
        return client.get("/api/v1/runs", token, **query).status

    tasks = {"filter[taskIdentifier]": "a,b"}
    assert status("read:runs") == status("read:tasks") == 200
    assert status("read:runs:run_1") == status("read:tasks:a") == 403
    assert status("read:tasks:a", **tasks) == 403
    assert status("read:tasks:a", **{"filter[taskIdentifier]": "a"}) == 200


# --- retrieve


def test_what_a_run_shows(client):
    """What the feed lacks, and the key as the user wrote it."""
    key = {"idempotencyKey": "0" * 64, "idempotencyKeyOptions": {"key": "order-1", "scope": "run"}}
    run_id = run_of(client, 1, region="us-east-1", lockToVersion="20261125.1", **key)
    shown = client.get(f"/api/v3/runs/{run_id}").json()
    assert (shown["region"], shown["version"]) == ("us-east-1", "20261125.1")
    assert shown["idempotencyKey"] == "order-1"


def test_a_result(server, client):
    """404 until the run is finished."""
    run_id = run_of(client, 1)
    path = f"/api/v1/runs/{run_id}/result"
    got = client.get(path)
    text = "Run either doesn't exist or is not finished"
    assert (got.status, got.json()) == (404, {"error": text})
    server.complete_run(run_id, 1)
    assert client.get(path).json()["ok"]


# --- replay


def test_a_replay_is_a_new_run(server, client):
    """With the payload and tags of the old one, each time, and without looking at the body."""
    run_id = run_of(client, {"a": 1}, tags="t", idempotencyKey="k")
    path = f"/api/v1/runs/{run_id}/replay"
    first = client.post(path).json()["id"]
    second = client.post(path, {"payload": {"a": 2}, "tags": ["u"]}).json()["id"]
    assert len({run_id, first, second}) == 3
    for row in (client.row(first), client.row(second)):
        assert (json.loads(row["payload"]), row["runTags"]) == ({"a": 1}, '{"t"}')


def test_newer_servers_obey_overrides(server, client):
    """There is no way to find out which it is."""
    server.settings.replay_overrides = True
    path = f"/api/v1/runs/{run_of(client, 1, tags='t')}/replay"
    row = client.row(client.post(path, {"payload": 2, "tags": ["u"]}).json()["id"])
    assert (row["payload"], row["runTags"]) == ("2", '{"u"}')


def test_a_replay_is_executed(server, client):
    """Like any run of its task."""
    payloads = []
    run_id = run_of(client, 1)
    server.task("my-task")(payloads.append)
    client.post(f"/api/v1/runs/{run_id}/replay")
    eventually(lambda: payloads == [1], "the replay is not executed")


# --- reschedule


def test_a_delay_is_moved(client):
    """The answer is the run; a run that is not delayed can't be."""
    run_id = run_of(client, 1, delay="1h")
    before = client.row(run_id)["delayUntil"]
    got = client.post(f"/api/v1/runs/{run_id}/reschedule", {"delay": "2h"}).json()
    assert (got["id"], got["status"]) == (run_id, "DELAYED")
    assert client.row(run_id)["delayUntil"] > before
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1.5))
    client.post(f"/api/v1/runs/{run_id}/reschedule", {"delay": soon})
    eventually(lambda: client.row(run_id)["status"] == "PENDING", "the run is still delayed")
    got = client.post(f"/api/v1/runs/{run_id}/reschedule", {"delay": "2h"})
    text = "Cannot reschedule a run that is not delayed"
    assert (got.status, got.json()) == (400, {"error": text})


@pytest.mark.parametrize("delay", ["tomorrow", "2020-01-01", 90])
def test_a_bad_delay_is_refused(client, delay):
    """Here it is, unlike in a trigger."""
    run_id = run_of(client, 1, delay="1h")
    got = client.post(f"/api/v1/runs/{run_id}/reschedule", {"delay": delay})
    assert got.status == 400
    assert got.json()["error"].startswith("Invalid delay: ")


def test_a_buffered_run_is_not_rescheduled(server, client):
    """422."""
    server.settings.buffering = 60
    run_id = run_of(client, 1, delay="1h")
    assert client.post(f"/api/v1/runs/{run_id}/reschedule", {"delay": "2h"}).status == 422


# --- tags


def test_tags_are_added(client):
    """Those that are new; over ten in all, none."""
    run_id = run_of(client, 1, tags=["a"])
    path = f"/api/v1/runs/{run_id}/tags"
    got = client.post(path, {"tags": ["a", "b", "c"]}).json()
    assert got == {"message": "Successfully set 2 new tags."}
    assert client.post(path, {"tags": "a"}).json() == {"message": "No new tags to add"}
    got = client.post(path, {"tags": [f"t{n}" for n in range(8)]})
    text = "Runs can only have 10 tags, you're trying to set 11."
    assert (got.status, got.json()) == (422, {"error": text})
    assert client.row(run_id)["runTags"] == '{"a","b","c"}'
    got = client.post(path, {"tags": [1]})
    assert (got.status, got.json()["error"]) == (400, "Invalid request body")


# --- metadata


def changed(client, run_id, *operations, **body):
    """The metadata after a change."""
    if operations:
        body["operations"] = list(operations)
    got = client.send("PUT", f"/api/v1/runs/{run_id}/metadata", body)
    assert got.status == 200, got.body
    return got.json()["metadata"]


def test_metadata_as_a_whole(client):
    """It wipes what was there; a body with neither changes nothing, and looks as if."""
    run_id = run_of(client, 1, metadata={"a": 1})
    assert changed(client, run_id, metadata={"b": 2}) == {"b": 2}
    assert changed(client, run_id) == {}
    got = client.get(f"/api/v1/runs/{run_id}/metadata").json()
    assert got == {"metadata": '{"b":2}', "metadataType": "application/json"}


def test_large_integers_are_rounded(client):
    """As JavaScript's numbers are, and as the task would see them."""
    run_id = run_of(client, 1)
    numbers = {"safe": 2**53 - 1, "odd": 2**53 + 1, "large": 12345678901234567890, "less": -(2**60)}
    assert changed(client, run_id, metadata=numbers) == {
        "safe": 9007199254740991,
        "odd": 9007199254740992,
        "large": 12345678901234567000,
        "less": -1152921504606847000,
    }


@pytest.mark.parametrize(
    ("before", "operation", "after"),
    [
        ({}, {"type": "set", "key": "a", "value": [1]}, {"a": [1]}),
        ({"a": 1}, {"type": "delete", "key": "a"}, {}),
        ({"a": [1]}, {"type": "append", "key": "a", "value": 2}, {"a": [1, 2]}),
        ({}, {"type": "append", "key": "a", "value": 2}, {"a": [2]}),
        ({"a": [1, 2, 1]}, {"type": "remove", "key": "a", "value": 1}, {"a": [2]}),
        ({"a": 1}, {"type": "remove", "key": "b", "value": 1}, {"a": 1}),
        ({"a": 1}, {"type": "increment", "key": "a", "value": -3}, {"a": -2}),
        ({}, {"type": "increment", "key": "a", "value": 1}, {"a": 1}),
        ({"a": {"b": 1}}, {"type": "increment", "key": "a", "value": 1}, {"a": 1}),
        ({"a": 1}, {"type": "update", "value": {"b": 1}}, {"b": 1}),
        ({"a": {"b": [1]}}, {"type": "append", "key": "$.a.b", "value": 2}, {"a": {"b": [1, 2]}}),
        ({"a": 1}, {"type": "set", "key": "$.no.where", "value": 2}, {"a": 1}),
    ],
    ids=str,
)
def test_operations(client, before, operation, after):
    """One after the other; what is not there is not removed."""
    run_id = run_of(client, 1, metadata={"kept": 1})
    changed(client, run_id, metadata=before)
    assert changed(client, run_id, operation) == after
    assert json.loads(client.row(run_id)["metadata"]) == after


@pytest.mark.parametrize(
    "operation",
    [
        {"type": "shift", "key": "a"},
        {"type": "set", "key": "a"},
        {"type": "set", "value": 1},
        {"type": "increment", "key": "a", "value": "1"},
        {"type": "set", "key": "__proto__", "value": 1},
        {"type": "set", "key": "$.__proto__.a", "value": 1},
    ],
    ids=str,
)
def test_malformed_operations(client, operation):
    """400."""
    path = f"/api/v1/runs/{run_of(client, 1)}/metadata"
    assert client.send("PUT", path, {"operations": [operation]}).status == 400


def test_limits_of_metadata(server, client):
    """256 KiB in all, and an hour after the run's end."""
    run_id = run_of(client, 1)
    path = f"/api/v1/runs/{run_id}/metadata"
    assert client.send("PUT", path, {"metadata": {"a": "x" * 262144}}).status == 413
    assert client.send("PUT", path, data=iter([b"{}"])).status == 413
    server.complete_run(run_id)
    assert changed(client, run_id, metadata={"a": 1}) == {"a": 1}
    server.update_run(run_id, completed_at="2020-01-01T00:00:00.000")
    got = client.send("PUT", path, {"metadata": {}})
    text = "Cannot update metadata for a completed run"
    assert (got.status, got.json()) == (422, {"error": text})


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("POST", "/api/v1/runs/run_x/replay", "Run not found"),
        ("POST", "/api/v1/runs/run_x/reschedule", "Run not found"),
        ("POST", "/api/v1/runs/run_x/tags", "Run not found"),
        ("PUT", "/api/v1/runs/run_x/metadata", "Task Run not found"),
        ("GET", "/api/v1/runs/run_x/metadata", "Task Run not found"),
        ("GET", "/api/v1/runs/run_x/result", "Run either doesn't exist or is not finished"),
    ],
)
def test_a_public_token_does_none_of_it(server, client, method, path, text):
    """401; and an unknown run is a 404 for who may."""
    body = {} if method != "GET" else ...
    assert client.send(method, path, body, token=server.public_token("admin")).status == 401
    if path.endswith("reschedule"):
        body = {"delay": "1h"}
    got = client.send(method, path, body)
    assert (got.status, got.json()) == (404, {"error": text})
