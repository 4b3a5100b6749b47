"""The Electric backend: snapshots, partial updates and handles (PROTOCOL, section 2)."""

from __future__ import annotations

import json

import pytest

from trigger_realtime_sync.testing import RealtimeServer


def test_first_answer_is_never_up_to_date(electric, client_of):
    """The snapshot comes alone; a second request, not live, says that it was everything."""
    run_id = electric.create_run(tags=["a", "b c"])
    feed = client_of(electric).follow(f"/realtime/v1/runs/{run_id}")

    first, second = feed.ask(), feed.ask()

    (row,) = first.rows
    assert first.controls == ["snapshot-end"]
    assert row["headers"] == {"operation": "insert", "relation": ["public", "TaskRun"]}
    assert row["value"]["isTest"] == "false"
    assert row["value"]["runTags"] == '{a,"b c"}'
    assert second.controls == ["up-to-date"]
    assert second.rows == []
    assert "electric-up-to-date" not in first.headers
    assert second.headers["electric-up-to-date"] == ""
    schema = json.loads(second.headers["electric-schema"])
    assert schema["id"] == {"type": "text", "pk_index": 0, "not_null": True}
    assert schema["status"]["type"] == "TaskRunStatus"


def test_a_poll_held_in_vain_is_up_to_date(client_of):
    """The answer says so twice, and stays where it was."""
    with RealtimeServer("electric", hold=0.01) as server:
        feed = client_of(server).follow(f"/realtime/v1/runs/{server.create_run()}").start()
        got = feed.live()
    assert got.controls == ["up-to-date"]
    assert got.headers["electric-up-to-date"] == ""
    assert got.headers["electric-offset"] == "0_inf"


def test_nothing_is_null_that_the_schema_says_is_not(electric, client_of):
    """The official client gives up silently on a null where the schema allows none."""
    got = client_of(electric).get(f"/realtime/v1/runs/{electric.create_run()}", offset="-1")
    schema, value = json.loads(got.headers["electric-schema"]), got.rows[0]["value"]
    required = {name for name, column in schema.items() if column.get("not_null")}
    assert {name for name in required if value[name] is None} == set()
    assert {"id", "payload", "status"} <= required


def test_timestamps_have_a_blank_and_no_trailing_zeros(electric, client_of):
    """Postgres text: 0.900 s is `.9`, a whole second has no fraction."""
    run_id = electric.create_run(
        started_at="2026-01-02T03:04:05.900", queued_at="2026-01-02T03:04:00.000"
    )
    value = client_of(electric).get(f"/realtime/v1/runs/{run_id}", offset="-1").rows[0]["value"]
    assert value["startedAt"] == "2026-01-02 03:04:05.9"
    assert value["queuedAt"] == "2026-01-02 03:04:00"


def test_every_change_is_told_with_what_changed(electric, client_of):
    """Two changes are two messages: the primary key, and the columns that differ."""
    run_id = electric.create_run()
    feed = client_of(electric).follow(f"/realtime/v1/runs/{run_id}").start()
    electric.update_run(run_id, status="DEQUEUED")
    electric.update_run(run_id, is_test=True)

    rows = feed.live().rows

    assert [set(row["value"]) for row in rows] == [
        {"id", "status", "updatedAt"},
        {"id", "isTest", "updatedAt"},
    ]
    assert rows[1]["value"]["isTest"] == "t"
    assert rows[0]["headers"]["operation"] == "update"
    assert {"relation", "lsn", "op_position", "txids", "last"} <= set(rows[0]["headers"])


def test_second_client_gets_the_old_snapshot_and_the_log(electric, client_of):
    """A shape is born once: who comes later is sent its snapshot, then every change since."""
    run_id = electric.create_run()
    first = client_of(electric).follow(f"/realtime/v1/runs/{run_id}").start()
    electric.update_run(run_id, status="EXECUTING")

    second = client_of(electric).follow(f"/realtime/v1/runs/{run_id}")
    snapshot, log = second.ask(), second.ask()

    assert second.handle == first.handle
    assert snapshot.rows[0]["value"]["status"] == "PENDING"
    assert log.rows[0]["value"]["status"] == "EXECUTING"
    assert log.controls == ["up-to-date"]


def test_runs_enter_and_leave_a_tag_by_insert_and_delete(electric, client_of):
    """Un-tagging and deleting send `delete` with the primary key, tagging sends `insert`."""
    run_id = electric.create_run()
    feed = client_of(electric).follow("/realtime/v1/runs", tags="a").start()
    electric.update_run(run_id, tags=["a"])
    electric.update_run(run_id, tags=[])
    other = electric.create_run(tags=["a"])
    electric.delete_run(other)

    rows = feed.live().rows

    assert [row["headers"]["operation"] for row in rows] == ["insert", "delete"] * 2
    assert set(rows[1]["value"]) == {"id"}
    assert rows[2]["value"]["friendlyId"] == other


def test_snapshot_in_several_answers(client_of):
    """With chunks asked for, and an empty first answer, the rows come piece by piece."""
    with RealtimeServer("electric", snapshot_chunk_rows=2, first_answer_empty=True) as server:
        runs = [server.create_run(tags=["a"]) for _ in range(5)]
        feed = client_of(server).follow("/realtime/v1/runs", tags="a")
        answers = [feed.ask() for _ in range(5)]
    assert [len(answer.rows) for answer in answers] == [0, 2, 2, 1, 0]
    assert [answer.controls for answer in answers] == [[], [], [], ["snapshot-end"], ["up-to-date"]]
    seen = [row["value"]["friendlyId"] for answer in answers for row in answer.rows]
    assert seen == runs


@pytest.mark.parametrize(
    ("how", "told"),
    [({}, "new"), ({"keep_handle": True}, "same"), ({"send_handle": False}, None)],
)
def test_rotation_is_a_409(electric, client_of, how, told):
    """Every handle is refused; the 409 names the new handle, the same one, or none."""
    run_id = electric.create_run()
    feed = client_of(electric).follow(f"/realtime/v1/runs/{run_id}").start()
    electric.rotate(**how)

    got = feed.live()

    assert got.status == 409
    assert got.json() == [{"headers": {"control": "must-refetch"}}]
    named = got.headers.get("electric-handle")
    assert named == {"new": named, "same": feed.handle, None: None}[told]
    assert (named != feed.handle) or told == "same"
    feed.offset, feed.handle = "-1", named
    assert feed.start().offset == "0_inf"


def test_rotation_releases_held_polls(electric, client_of, in_background):
    """A poll that is held when the shape rotates gets its 409 at once."""
    run_id = electric.create_run()
    feed = client_of(electric).follow(f"/realtime/v1/runs/{run_id}").start()
    got = in_background(feed.live)
    electric.wait_until_held()
    electric.rotate()
    assert got.result(5).status == 409


def test_restore_refuses_the_old_offset(electric, client_of):
    """The handle lives on, the offset is out of bounds; from -1 it works again."""
    run_id = electric.create_run()
    feed = client_of(electric).follow(f"/realtime/v1/runs/{run_id}").start()
    electric.update_run(run_id, status="EXECUTING")
    feed.live()
    handle = feed.handle
    electric.restore()

    got = feed.live()

    assert got.status == 400
    assert got.json()["errors"] == {"offset": ["out of bounds for this shape"]}
    feed.offset = "-1"
    assert feed.start().handle == handle
    electric.update_run(run_id, status="COMPLETED")
    assert feed.live().rows[0]["value"]["status"] == "COMPLETED_SUCCESSFULLY"


def test_bad_positions_are_refused(electric, client_of):
    """No handle with an offset, a malformed offset, a live first request: 400."""
    run_id = electric.create_run()
    client = client_of(electric)
    path = f"/realtime/v1/runs/{run_id}"
    for query in ({"offset": "0_inf"}, {"offset": "x"}, {"offset": "-1", "live": "true"}):
        assert client.get(path, **query).status == 400


def test_stale_answer_repeats_the_last_change(electric, client_of):
    """A catch-up can send again what the client has, and then again."""
    run_id = electric.create_run()
    feed = client_of(electric).follow(f"/realtime/v1/runs/{run_id}").start()
    electric.update_run(run_id, status="EXECUTING")
    change = feed.live().rows
    electric.fail_next(stale=True)
    assert feed.live().rows == change
    assert feed.live().rows == change
