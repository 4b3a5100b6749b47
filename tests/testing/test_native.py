"""The native backend: whole rows, everything at once (docs/protocol.md, section 2)."""

from __future__ import annotations

import json
import re


def test_first_answer_is_the_row_and_up_to_date(server, client):
    """One answer brings the whole row, the schema, and says that it is everything."""
    run_id = server.create_run("my-task", payload={"ä": 1}, tags=["a", 'say "hi"'], ttl="10m")

    got = client.run(run_id, log="full")

    (row,), (value,) = got.rows, got.values
    assert (got.status, got.controls, got.operations) == (200, ["up-to-date"], ["insert"])
    assert row["headers"] == {"operation": "insert"}
    assert row["key"] == f'"public"."TaskRun"/"{value["id"]}"'
    expected = {
        "friendlyId": run_id,
        "taskIdentifier": "my-task",
        "payload": '{"ä":1}',
        "runTags": '{"a","say \\"hi\\""}',
        "isTest": "f",
        "ttl": "10m",
    }
    assert {name: value[name] for name in expected} == expected
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", value["createdAt"])
    assert list(json.loads(got.headers["electric-schema"])) == list(value)
    assert got.headers["electric-handle"] == "run-" + value["id"]
    assert re.fullmatch(r"\d+_\d+", got.headers["electric-offset"])
    assert "electric-cursor" not in got.headers


def test_live_answer_is_the_latest_whole_row_once(server, client):
    """Two changes make one message with the last state; a cursor replaces the schema."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.update_run(run_id, status="DEQUEUED")
    server.update_run(run_id, status="EXECUTING", metadata={"progress": 1})

    got = feed.live()

    (row,) = got.rows
    assert row["headers"] == {"operation": "update"}
    assert row["value"]["status"] == "EXECUTING"
    assert row["value"]["metadata"] == '{"progress":1}'
    assert row["value"]["taskIdentifier"] == "my-task"
    assert row["value"]["startedAt"] is not None
    assert got.headers["electric-cursor"]
    assert "electric-schema" not in got.headers


def test_held_poll_is_answered_by_a_change(server, client, in_background):
    """A live poll waits, and a change of its run releases it at once."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    got = in_background(feed.live)
    server.wait_until_held(1)
    server.create_run()
    assert not got.done()

    server.complete_run(run_id, {"ok": True})

    (value,) = got.result(5).values
    assert value["status"] == "COMPLETED_SUCCESSFULLY"
    assert value["completedAt"] is not None
    assert value["output"] == '{"ok":true}'


def test_updated_at_always_moves_on(server, client):
    """Changes within one millisecond still differ in `updatedAt`."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    seen = []
    for number in range(5):
        server.update_run(run_id, metadata={"n": number})
        seen.append(feed.live().values[0]["updatedAt"])
    assert seen == sorted(set(seen))


def test_several_tags_must_all_match(server, client):
    """A feed by tags holds the runs that carry every one, oldest first."""
    both = [server.create_run(tags=["a", "b"]) for _ in range(2)]
    server.create_run(tags=["a"])
    got = client.runs(tags="a,b")
    assert got.run_ids == both
    assert re.fullmatch(r"runs_\d+_\d+_[0-9a-f]{8}", got.headers["electric-handle"])


def test_new_runs_are_inserts_and_others_updates_in_order_of_change(server, client):
    """In one answer: each changed run once, the one changed last at the end."""
    first = server.create_run(tags=["a"])
    feed = client.tag_feed("a").start()
    server.update_run(first, status="EXECUTING")
    second = server.create_run(tags=["a"])
    server.update_run(first, status="WAITING")

    got = feed.live()

    assert (got.run_ids, got.operations) == ([second, first], ["insert", "update"])
    assert got.values[1]["status"] == "WAITING_TO_RESUME"


def test_created_at_bounds_the_feed(server, client):
    """A run older than the window of `createdAt` is not in it."""
    server.create_run(tags=["a"], created_at="2020-01-01T00:00:00.000")
    young = server.create_run(tags=["a"])
    assert client.runs(tags="a", createdAt="1h").run_ids == [young]


def test_snapshot_is_capped_at_1000_runs(server, client):
    """The snapshot holds the newest 1,000 runs."""
    times = [f"2099-01-01T00:{n // 60:02d}:{n % 60:02d}.000" for n in range(1005)]
    runs = [server.create_run(tags=["a"], created_at=time) for time in times]
    assert client.runs(tags="a").run_ids == runs[5:]


def test_lag_shows_nothing_first_and_an_update_later(server, client):
    """A run that has not reached the replica: up-to-date alone, then its row as an update."""
    run_id = server.create_run(lag=True, tags=["a"])
    feed = client.feed(run_id)
    assert feed.ask().json() == [{"headers": {"control": "up-to-date"}}]
    assert client.runs(tags="a").run_ids == []

    server.catch_up(run_id)

    got = feed.live()
    assert (got.run_ids, got.operations) == ([run_id], ["update"])
    assert client.runs(tags="a").run_ids == [run_id]


def test_batch_lists_more_than_its_feed_shows(server, client):
    """A reused run is in the REST list only; a list can fill up, and be completed, later."""
    reused, own = server.create_run(), server.create_run()
    batch = server.batch(own, reused=[reused], run_count=3, processing_completed=False)
    feed = client.follow(f"/realtime/v1/batches/{batch}")
    assert feed.ask().run_ids == [own]
    (late,) = server.batch_add(batch, count=1, errors=[{"index": 2}])

    assert feed.live().run_ids == [late]
    rest = client.get(f"/api/v2/batches/{batch}").json()
    assert rest["runs"] == [own, reused, late]
    assert rest["runCount"] == 3
    assert rest["processing"] == {"errors": [{"index": 2}]}

    server.batch_finish(batch)
    assert "completedAt" in client.get(f"/api/v2/batches/{batch}").json()["processing"]


def test_skipped_columns_are_gone_but_for_the_needed_ones(server, client):
    """`skipColumns` empties row and schema alike, never of the five that must stay."""
    got = client.run(server.create_run(payload=1), skipColumns="payload,status,id")
    assert "payload" not in got.values[0]
    assert "payload" not in json.loads(got.headers["electric-schema"])
    assert {"status", "id"} <= set(got.values[0])


def test_unknown_columns_are_sent(server, client):
    """A column of a newer server is in the row and in the schema."""
    got = client.run(server.create_run(some_thing="new"))
    assert got.values[0]["someThing"] == "new"
    assert json.loads(got.headers["electric-schema"])["someThing"] == {"type": "text"}


def test_cancelled_in_the_queue_never_gets_completed_at(server, client):
    """Only a run that was executing gets a `completedAt` when it is cancelled."""
    for status, ends in (("QUEUED", False), ("EXECUTING", True)):
        run_id = server.create_run(status=status)
        server.cancel_run(run_id)
        value = client.row(run_id)
        assert value["status"] == "CANCELED"
        assert (value["completedAt"] is not None) is ends


def test_failed_run_has_a_built_in_error(server, client):
    """`fail_run` writes what a task that raised leaves behind."""
    run_id = server.create_run(status="EXECUTING")
    server.fail_run(run_id, "boom", name="ValueError")
    value = client.row(run_id)
    assert value["status"] == "COMPLETED_WITH_ERRORS"
    assert json.loads(value["error"]) == {
        "type": "BUILT_IN_ERROR",
        "name": "ValueError",
        "message": "boom",
        "stackTrace": "ValueError: boom",
    }


def test_old_clients_get_old_names_and_no_dequeued(server, client):
    """Without the version headers: the old header names, and DEQUEUED reads EXECUTING."""
    run_id = server.create_run(status="DEQUEUED", payload='"status":"DEQUEUED"')
    got = client.run(run_id, {"x-trigger-electric-version": None, "x-trigger-api-version": None})
    assert {"electric-shape-id", "electric-chunk-last-offset"} <= set(got.headers)
    assert "electric-handle" not in got.headers
    assert got.values[0]["status"] == "EXECUTING"
    assert json.loads(got.values[0]["payload"]) == '"status":"DEQUEUED"'


def test_stale_answer_shows_an_older_row_and_the_new_one_follows(server, client):
    """A lagging replica: an `updatedAt` that went back, then the current row again."""
    run_id = server.create_run()
    server.update_run(run_id, metadata={"n": 1})
    feed = client.feed(run_id).start()
    server.update_run(run_id, metadata={"n": 2})
    (new,) = feed.live().values
    server.fail_next(stale=True)

    (old,) = feed.live().values

    assert old["metadata"] == '{"n":1}'
    assert old["updatedAt"] < new["updatedAt"]
    assert feed.live().values == [new]
