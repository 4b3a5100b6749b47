"""The native backend: whole rows, everything at once (PROTOCOL, section 2)."""

from __future__ import annotations

import json
import re


def test_first_answer_is_the_row_and_up_to_date(native, client_of):
    """One answer brings the whole row, the schema, and says that it is everything."""
    run_id = native.create_run("my-task", payload={"ä": 1}, tags=["a", 'say "hi"'], ttl="10m")

    got = client_of(native).get(f"/realtime/v1/runs/{run_id}", offset="-1", log="full")

    (row,) = got.rows
    assert got.status == 200
    assert got.controls == ["up-to-date"]
    assert row["headers"] == {"operation": "insert"}
    assert row["key"] == f'"public"."TaskRun"/"{row["value"]["id"]}"'
    assert row["value"]["friendlyId"] == run_id
    assert row["value"]["payload"] == '{"ä":1}'
    assert row["value"]["runTags"] == '{"a","say \\"hi\\""}'
    assert row["value"]["isTest"] == "f"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", row["value"]["createdAt"])
    assert list(json.loads(got.headers["electric-schema"])) == list(row["value"])
    assert got.headers["electric-handle"] == "run-" + row["value"]["id"]
    assert re.fullmatch(r"\d+_\d+", got.headers["electric-offset"])
    assert "electric-cursor" not in got.headers


def test_live_answer_is_the_latest_whole_row_once(native, client_of):
    """Two changes make one message with the last state; a cursor replaces the schema."""
    run_id = native.create_run()
    feed = client_of(native).follow(f"/realtime/v1/runs/{run_id}").start()
    native.update_run(run_id, status="DEQUEUED")
    native.update_run(run_id, status="EXECUTING", metadata={"progress": 1})

    got = feed.live()

    (row,) = got.rows
    assert row["headers"] == {"operation": "update"}
    assert row["value"]["status"] == "EXECUTING"
    assert row["value"]["metadata"] == '{"progress":1}'
    assert row["value"]["taskIdentifier"] == "my-task"
    assert row["value"]["startedAt"] is not None
    assert got.headers["electric-cursor"]
    assert "electric-schema" not in got.headers


def test_held_poll_is_answered_by_a_change(native, client_of, in_background):
    """A live poll waits, and a change of its run releases it at once."""
    run_id = native.create_run()
    feed = client_of(native).follow(f"/realtime/v1/runs/{run_id}").start()
    got = in_background(feed.live)
    native.wait_until_held(1)
    native.create_run()
    assert not got.done()

    native.complete_run(run_id, {"ok": True})

    (row,) = got.result(5).rows
    assert row["value"]["status"] == "COMPLETED_SUCCESSFULLY"
    assert row["value"]["completedAt"] is not None
    assert row["value"]["output"] == '{"ok":true}'


def test_updated_at_always_moves_on(native, client_of):
    """Changes within one millisecond still differ in `updatedAt`."""
    run_id = native.create_run()
    feed = client_of(native).follow(f"/realtime/v1/runs/{run_id}").start()
    seen = []
    for number in range(5):
        native.update_run(run_id, metadata={"n": number})
        seen.append(feed.live().rows[0]["value"]["updatedAt"])
    assert seen == sorted(set(seen))


def test_several_tags_must_all_match(native, client_of):
    """A feed by tags holds the runs that carry every one, oldest first."""
    both = [native.create_run(tags=["a", "b"]) for _ in range(2)]
    native.create_run(tags=["a"])

    got = client_of(native).get("/realtime/v1/runs", tags="a,b", offset="-1")

    assert [row["value"]["friendlyId"] for row in got.rows] == both
    assert re.fullmatch(r"runs_\d+_\d+_[0-9a-f]{8}", got.headers["electric-handle"])


def test_new_runs_are_inserts_and_others_updates_in_order_of_change(native, client_of):
    """In one answer: each changed run once, the one changed last at the end."""
    first = native.create_run(tags=["a"])
    feed = client_of(native).follow("/realtime/v1/runs", tags="a").start()
    native.update_run(first, status="EXECUTING")
    second = native.create_run(tags=["a"])
    native.update_run(first, status="WAITING")

    rows = feed.live().rows

    assert [(row["value"]["friendlyId"], row["headers"]["operation"]) for row in rows] == [
        (second, "insert"),
        (first, "update"),
    ]
    assert rows[1]["value"]["status"] == "WAITING_TO_RESUME"


def test_created_at_bounds_the_feed(native, client_of):
    """A run older than the window of `createdAt` is not in it."""
    native.create_run(tags=["a"], created_at="2020-01-01T00:00:00.000")
    young = native.create_run(tags=["a"])
    got = client_of(native).get("/realtime/v1/runs", tags="a", createdAt="1h", offset="-1")
    assert [row["value"]["friendlyId"] for row in got.rows] == [young]


def test_snapshot_is_capped_at_1000_runs(native, client_of):
    """Of many runs the snapshot holds 1,000, the newest."""
    runs = [native.create_run(tags=["a"], created_at=_time(n)) for n in range(1005)]
    got = client_of(native).get("/realtime/v1/runs", tags="a", offset="-1")
    assert [row["value"]["friendlyId"] for row in got.rows] == runs[5:]


def _time(number: int) -> str:
    return f"2099-01-01T00:{number // 60:02d}:{number % 60:02d}.000"


def test_lag_shows_nothing_first_and_an_update_later(native, client_of):
    """A run that has not reached the replica: up-to-date alone, then its row as an update."""
    run_id = native.create_run(lag=True)
    feed = client_of(native).follow(f"/realtime/v1/runs/{run_id}")
    assert feed.ask().json() == [{"headers": {"control": "up-to-date"}}]

    native.catch_up(run_id)

    (row,) = feed.live().rows
    assert row["headers"] == {"operation": "update"}
    assert row["value"]["friendlyId"] == run_id


def test_batch_lists_more_than_its_feed_shows(native, client_of):
    """A reused run is in the REST list only; a list can fill up, and be completed, later."""
    reused, own = native.create_run(), native.create_run()
    batch = native.batch(own, reused=[reused], run_count=3, processing_completed=False)
    client = client_of(native)
    feed = client.follow(f"/realtime/v1/batches/{batch}")
    assert [row["value"]["friendlyId"] for row in feed.ask().rows] == [own]
    (late,) = native.batch_add(batch, count=1, errors=[{"index": 2}])

    assert [row["value"]["friendlyId"] for row in feed.live().rows] == [late]
    rest = client.get(f"/api/v2/batches/{batch}").json()
    assert rest["runs"] == [own, reused, late]
    assert rest["runCount"] == 3
    assert rest["processing"] == {"errors": [{"index": 2}]}

    native.batch_finish(batch)
    assert "completedAt" in client.get(f"/api/v2/batches/{batch}").json()["processing"]


def test_skipped_columns_are_gone_but_for_the_needed_ones(native, client_of):
    """`skipColumns` empties row and schema alike, never of the five that must stay."""
    run_id = native.create_run(payload=1)
    got = client_of(native).get(
        f"/realtime/v1/runs/{run_id}", offset="-1", skipColumns="payload,status,id"
    )
    assert "payload" not in got.rows[0]["value"]
    assert "payload" not in json.loads(got.headers["electric-schema"])
    assert {"status", "id"} <= set(got.rows[0]["value"])


def test_unknown_columns_are_sent(native, client_of):
    """A column of a newer server is in the row and in the schema."""
    run_id = native.create_run(some_thing="new")
    got = client_of(native).get(f"/realtime/v1/runs/{run_id}", offset="-1")
    assert got.rows[0]["value"]["someThing"] == "new"
    assert json.loads(got.headers["electric-schema"])["someThing"] == {"type": "text"}


def test_cancelled_in_the_queue_never_gets_completed_at(native, client_of):
    """Only a run that was executing gets a `completedAt` when it is cancelled."""
    queued, executing = native.create_run(), native.create_run(status="EXECUTING")
    client = client_of(native)
    for run_id, ends in ((queued, False), (executing, True)):
        native.cancel_run(run_id)
        value = client.get(f"/realtime/v1/runs/{run_id}", offset="-1").rows[0]["value"]
        assert value["status"] == "CANCELED"
        assert (value["completedAt"] is not None) is ends


def test_failed_run_has_a_built_in_error(native, client_of):
    """`fail_run` writes what a task that raised leaves behind."""
    run_id = native.create_run(status="EXECUTING")
    native.fail_run(run_id, "boom", name="ValueError")
    value = client_of(native).get(f"/realtime/v1/runs/{run_id}", offset="-1").rows[0]["value"]
    assert value["status"] == "COMPLETED_WITH_ERRORS"
    error = json.loads(value["error"])
    assert (error["type"], error["name"], error["message"]) == (
        "BUILT_IN_ERROR",
        "ValueError",
        "boom",
    )


def test_old_clients_get_old_names_and_no_dequeued(native, client_of):
    """Without the version headers: the old header names, and DEQUEUED reads EXECUTING."""
    run_id = native.create_run(status="DEQUEUED", payload='"status":"DEQUEUED"')
    got = client_of(native).get(
        f"/realtime/v1/runs/{run_id}",
        {"x-trigger-electric-version": None, "x-trigger-api-version": None},
        offset="-1",
    )
    assert {"electric-shape-id", "electric-chunk-last-offset"} <= set(got.headers)
    assert "electric-handle" not in got.headers
    assert got.rows[0]["value"]["status"] == "EXECUTING"
    assert json.loads(got.rows[0]["value"]["payload"]) == '"status":"DEQUEUED"'


def test_stale_answer_shows_an_older_row_and_the_new_one_follows(native, client_of):
    """A lagging replica: an `updatedAt` that went back, then the current row again."""
    run_id = native.create_run()
    native.update_run(run_id, metadata={"n": 1})
    feed = client_of(native).follow(f"/realtime/v1/runs/{run_id}").start()
    native.update_run(run_id, metadata={"n": 2})
    new = feed.live().rows[0]["value"]
    native.fail_next(stale=True)

    old = feed.live().rows[0]["value"]

    assert old["metadata"] == '{"n":1}'
    assert old["updatedAt"] < new["updatedAt"]
    assert feed.live().rows[0]["value"] == new
