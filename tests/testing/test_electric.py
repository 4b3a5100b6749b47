"""The Electric backend: snapshots, partial updates and handles (docs/protocol.md, section 2)."""

from __future__ import annotations

import json

import pytest

from trigger_realtime_sync.testing import RealtimeServer

from .conftest import serving


@pytest.fixture
def server(request):
    with RealtimeServer("electric", **getattr(request, "param", {})) as server:
        yield server


def test_first_answer_is_never_up_to_date(server, client):
    """The snapshot comes alone; a second request, not live, says that it was everything."""
    feed = client.feed(server.create_run(tags=["a", "b c"]))

    first, second = feed.ask(), feed.ask()

    (row,) = first.rows
    assert row["headers"] == {"operation": "insert", "relation": ["public", "TaskRun"]}
    assert row["value"]["isTest"] == "false"
    assert row["value"]["runTags"] == '{a,"b c"}'
    assert (first.controls, second.controls) == (["snapshot-end"], ["up-to-date"])
    assert second.rows == []
    assert "electric-up-to-date" not in first.headers
    assert second.headers["electric-up-to-date"] == ""
    schema = json.loads(second.headers["electric-schema"])
    assert schema["id"] == {"type": "text", "pk_index": 0, "not_null": True}
    assert schema["status"]["type"] == "TaskRunStatus"


@serving(hold=0.01)
def test_a_poll_held_in_vain_is_up_to_date(server, client):
    """The answer says so twice, and stays where it was."""
    got = client.feed(server.create_run()).start().live()
    assert got.controls == ["up-to-date"]
    assert got.headers["electric-up-to-date"] == ""
    assert got.headers["electric-offset"] == "0_inf"


def test_nothing_is_null_that_the_schema_says_is_not(server, client):
    """The official client gives up silently on a null where the schema allows none."""
    got = client.run(server.create_run())
    schema, value = json.loads(got.headers["electric-schema"]), got.values[0]
    required = {name for name, column in schema.items() if column.get("not_null")}
    assert {name for name in required if value[name] is None} == set()
    assert {"id", "payload", "status"} <= required


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("2026-01-02T03:04:05.900", "2026-01-02 03:04:05.9"),
        ("2026-01-02T03:04:00.000", "2026-01-02 03:04:00"),
    ],
)
def test_timestamps_have_a_blank_and_no_trailing_zeros(server, client, stored, sent):
    """Postgres text: 0.900 s is `.9`, a whole second has no fraction."""
    assert client.row(server.create_run(started_at=stored))["startedAt"] == sent


def test_every_change_is_sent_with_the_columns_that_differ(server, client):
    """Two changes are two messages: the primary key, and the columns that differ."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.update_run(run_id, status="DEQUEUED")
    server.update_run(run_id, is_test=True)

    got = feed.live()

    assert [set(value) for value in got.values] == [
        {"id", "status", "updatedAt"},
        {"id", "isTest", "updatedAt"},
    ]
    assert got.values[1]["isTest"] == "t"
    assert got.operations == ["update", "update"]
    assert {"relation", "lsn", "op_position", "txids", "last"} <= set(got.rows[0]["headers"])


def test_second_client_gets_the_old_snapshot_and_the_log(server, client):
    """A shape is born once: a later client is sent its snapshot, then every change since."""
    run_id = server.create_run()
    first = client.feed(run_id).start()
    server.update_run(run_id, status="EXECUTING")

    second = client.feed(run_id)
    snapshot, log = second.ask(), second.ask()

    assert second.handle == first.handle
    assert snapshot.values[0]["status"] == "PENDING"
    assert log.values[0]["status"] == "EXECUTING"
    assert log.controls == ["up-to-date"]


def test_runs_enter_and_leave_a_tag_by_insert_and_delete(server, client):
    """Un-tagging and deleting send `delete` with the primary key, tagging sends `insert`."""
    run_id = server.create_run()
    feed = client.tag_feed("a").start()
    server.update_run(run_id, tags=["a"])
    server.update_run(run_id, tags=[])
    other = server.create_run(tags=["a"])
    server.delete_run(other)

    got = feed.live()

    assert got.operations == ["insert", "delete"] * 2
    assert set(got.values[1]) == {"id"}
    assert got.values[2]["friendlyId"] == other


@serving(snapshot_chunk_rows=2, first_answer_empty=True)
def test_snapshot_in_several_answers(server, client):
    """With chunks asked for, and an empty first answer, the rows come piece by piece."""
    runs = [server.create_run(tags=["a"]) for _ in range(5)]
    feed = client.tag_feed("a")
    answers = [feed.ask() for _ in range(5)]
    assert [len(answer.rows) for answer in answers] == [0, 2, 2, 1, 0]
    assert [answer.controls for answer in answers] == [[], [], [], ["snapshot-end"], ["up-to-date"]]
    assert [run_id for answer in answers for run_id in answer.run_ids] == runs


@pytest.mark.parametrize(
    ("how", "named"),
    [({}, "new"), ({"keep_handle": True}, "same"), ({"send_handle": False}, "none")],
)
def test_rotation_is_a_409(server, client, how, named):
    """Every handle is refused; the 409 names the new handle, the same one, or none."""
    feed = client.feed(server.create_run()).start()
    server.rotate(**how)

    got = feed.live()

    assert got.status == 409
    assert got.json() == [{"headers": {"control": "must-refetch"}}]
    handle = got.headers.get("electric-handle")
    assert named == {None: "none", feed.handle: "same"}.get(handle, "new")
    feed.offset = "-1"
    assert feed.ask().status == (200 if named == "same" else 409)
    feed.offset, feed.handle = "-1", handle
    assert feed.start().offset == "0_inf"


def test_restore_refuses_the_old_offset(server, client):
    """The handle lives on, the offset is out of bounds; from -1 it works again."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.update_run(run_id, status="EXECUTING")
    feed.live()
    handle = feed.handle
    server.restore()

    got = feed.live()

    assert got.status == 400
    assert got.json()["errors"] == {"offset": ["out of bounds for this shape"]}
    feed.offset = "-1"
    assert feed.start().handle == handle
    server.update_run(run_id, status="COMPLETED")
    assert feed.live().values[0]["status"] == "COMPLETED_SUCCESSFULLY"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"offset": "0_inf"}, "handle"),
        ({"offset": "x"}, "offset"),
        ({"offset": "-1", "live": "true"}, "live"),
    ],
)
def test_bad_positions_are_refused(server, client, query, field):
    """No handle with an offset, a malformed offset, a live first request: 400."""
    got = client.get(f"/realtime/v1/runs/{server.create_run()}", **query)
    assert (got.status, list(got.json()["errors"])) == (400, [field])


def test_stale_answer_repeats_the_last_change(server, client):
    """A catch-up can send again what the client has, and then again."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.update_run(run_id, status="EXECUTING")
    change = feed.live().rows
    server.fail_next(stale=True)
    assert feed.live().rows == change
    assert feed.live().rows == change
