"""`client.runs`: what the REST API tells of runs, and how it changes them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.support.raw import in_turn, reply
from tests.support.waiting import eventually
from trigger_realtime_sync import (
    BadRequestError,
    NotFoundError,
    PayloadError,
    ProtocolError,
    RunStatus,
    Task,
    metadata,
)
from trigger_realtime_sync._calls.uploads import LEAST_UPLOADED


@pytest.fixture
def client(server, connect):
    return connect(server)


def test_a_run_is_retrieved(server, client):
    """With what a subscription does not tell; its payload as plain JSON."""
    server.task("t")(lambda payload: {"got": payload})
    handle = client.trigger("t", {"a": {1}}, tags=["x"], idempotency_key="k", metadata={"m": 1})
    handle.wait_for_completion(10)
    run = client.runs.retrieve(handle.id)
    assert (run.id, run.task_identifier, run.status) == (handle.id, "t", RunStatus.COMPLETED)
    assert run.payload == {"a": [1]}
    assert run.output == {"got": {"a": [1]}}
    assert run.tags == ["x"]
    assert run.metadata == {"m": 1}
    assert run.is_success
    assert run.created_at is not None
    assert run.created_at.tzinfo is not None
    assert (run.parent, run.root, run.children) == (None, None, [])
    assert run.attempt_count is not None
    with pytest.raises(NotFoundError):
        client.runs.retrieve("run_unknown")


def test_a_stored_payload_of_a_run_is_fetched_when_it_is_read(server, client):
    """With its types, which are lost otherwise."""
    payload = {"blob": "x" * LEAST_UPLOADED, "s": {1}}
    handle = client.trigger("t", payload)
    assert handle.retrieve().payload == payload


DOCUMENT = {
    "id": "run_1",
    "taskIdentifier": "t",
    "status": "FAILED",
    "createdAt": "2026-11-25T12:00:01.500Z",
    "finishedAt": "2026-11-25T12:00:02.000Z",
    "durationMs": 12,
    "costInCents": 0.5,
    "isTest": True,
    "error": {"name": "TypeError", "message": "no", "stackTrace": "at x"},
    "version": "20261125.1",
    "region": "eu",
    "batchId": "batch_1",
    "attemptCount": 3,
    "depth": 1,
    "triggerFunction": "trigger",
    "schedule": {"id": "sched_1"},
    "relatedRuns": {
        "root": {"id": "run_0", "status": "COMPLETED", "taskIdentifier": "a"},
        "parent": {"id": "run_p", "status": "WAITING"},
        "children": [{"id": "run_c", "status": "QUEUED"}, 5],
    },
}


def test_everything_of_a_run_is_read(raw, connect):
    """As the server spells it."""
    run = connect(raw(reply(200, {}, DOCUMENT))).runs.retrieve("run_1")
    assert run.created_at == datetime(2026, 11, 25, 12, 0, 1, 500000, timezone.utc)
    assert run.is_finished
    assert run.error is not None
    assert (run.error.name, run.error.message) == ("TypeError", "no")
    assert (run.version, run.region, run.batch_id) == ("20261125.1", "eu", "batch_1")
    assert (run.attempt_count, run.depth, run.trigger_function) == (3, 1, "trigger")
    assert run.schedule == {"id": "sched_1"}
    assert run.root is not None
    assert run.parent is not None
    assert (run.root.id, run.parent.status) == ("run_0", "WAITING")
    assert [child.id for child in run.children] == ["run_c"]


@pytest.mark.parametrize("name", [name for name in DOCUMENT if name != "id"])
@pytest.mark.parametrize("value", [5, "x", [5], {"a": 5}, None, 1e400, True], ids=str)
def test_a_field_that_can_not_be_read_is_left_out(raw, connect, name, value):
    """Nothing that a server says makes reading fail."""
    document = json.dumps({**DOCUMENT, name: value})
    run = connect(raw(reply(200, {}, document))).runs.retrieve("run_1")
    assert run.id == "run_1"
    assert repr(run)


@pytest.mark.parametrize("body", ["[]", "{}", '{"id": 5}', "<html>"])
def test_an_answer_that_is_no_run_is_an_error(raw, connect, body):
    """After a few attempts."""
    with pytest.raises(ProtocolError):
        connect(raw(reply(200, {}, body))).runs.retrieve("run_1")


# Lists.


def test_a_list_pages_by_itself(server, client):
    """The newest first; what is left out is not asked for."""
    ids = [client.trigger("t", n).id for n in range(7)]
    page = client.runs.list(page_size=3)
    assert len(page.items) == 3
    assert page.next is not None
    before = len(server.requests)
    assert [run.id for run in page] == ids[::-1]
    assert len(server.requests) - before == 2
    assert [run.id for run in page.first(4)] == ids[::-1][:4]
    following = client.runs.list(page_size=3, after=page.next)
    assert [run.id for run in following.items] == ids[::-1][3:6]
    assert repr(page) == "<Page of 3, and more>"


def test_filters_of_a_list(server, client):
    """Each with one value or several."""
    a = client.trigger("a", tags=["x"])
    b = client.trigger("b", tags=["y"], is_test=True)
    server.complete_run(b.id)
    runs = client.runs

    def found(**filters: Any) -> list[str]:
        return [run.id for run in runs.list(**filters)]

    assert found(task="a") == [a.id]
    assert found(task=Task("b")) == [b.id]
    assert found(task=["a", Task("b")]) == [b.id, a.id]
    assert found(tag="x") == [a.id]
    assert found(tag=["x", "y"]) == [b.id, a.id]
    assert found(status="COMPLETED") == [b.id]
    assert found(status=[RunStatus.QUEUED, "COMPLETED"]) == [b.id, a.id]
    assert found(is_test=True) == [b.id]
    assert found(is_test=False) == [a.id]
    assert found(queue="task/a") == [a.id]
    assert found(created_to=datetime(2020, 1, 1, tzinfo=timezone.utc)) == []
    assert found(created_from=datetime.now(timezone.utc) - timedelta(hours=1)) == [b.id, a.id]
    assert found(period="1d") == found(period=timedelta(days=1)) == [b.id, a.id]


@pytest.mark.parametrize(
    "filters",
    [
        {"tag": "a,b"},
        {"tag": []},
        {"task": ""},
        {"status": [5]},
        {"page_size": 0},
        {"page_size": 101},
        {"page_size": 1.5},
        {"period": "soon"},
        {"period": "1d", "created_from": datetime(2026, 1, 1, tzinfo=timezone.utc)},
        {"period": "1d", "created_to": datetime(2026, 1, 1, tzinfo=timezone.utc)},
        {"created_from": datetime(2026, 1, 1)},
        {"created_to": "2026-01-01"},
        {"after": ""},
        {"batch": "a,b"},
    ],
    ids=str,
)
def test_a_filter_that_can_not_work_is_refused(server, client, filters):
    """By its name, before anything is sent."""
    with pytest.raises(ValueError, match=next(iter(filters))):
        client.runs.list(**filters)
    assert server.requests == []


def test_a_list_in_a_circle_ends(raw, connect):
    """With an error."""
    page = {"data": [{"id": "run_1"}], "pagination": {"next": "again"}}
    with pytest.raises(ProtocolError, match="circle"):
        list(connect(raw(reply(200, {}, page))).runs.list())


def test_a_list_that_is_none_is_an_error(raw, connect):
    """And what is no run in it is left out."""
    with pytest.raises(ProtocolError, match="list"):
        connect(raw(reply(200, {}, {"data": 5}))).runs.list()
    odd = {"data": [5, {"id": "run_1"}, None], "pagination": None}
    assert [run.id for run in connect(raw(reply(200, {}, odd))).runs.list()] == ["run_1"]


# Changes.


def test_a_delayed_run_starts_later(server, client):
    """And can be put off."""
    handle = client.trigger("t", delay=timedelta(hours=1))
    run = handle.retrieve()
    assert run.status == "DELAYED"
    assert run.delayed_until is not None
    later = handle.reschedule("2h")
    assert later.delayed_until is not None
    assert later.delayed_until - run.delayed_until > timedelta(minutes=59)
    with pytest.raises(ValueError, match="delay"):
        handle.reschedule(timedelta(0))
    with pytest.raises(BadRequestError, match="not delayed"):
        client.trigger("t").reschedule("1h")


def test_a_run_is_replayed(server, client):
    """As a new one."""
    server.task("t")(lambda payload: payload)
    handle = client.trigger("t", 7)
    handle.wait_for_completion(10)
    again = handle.replay()
    assert again != handle
    assert again.result(10) == 7
    assert again.task_identifier == "t"
    assert again.public_access_token is None


def test_a_replay_may_change_what_it_was_triggered_with(server, client):
    """Where the server obeys that."""
    server.settings.replay_overrides = True
    server.task("t")(lambda payload: payload)
    handle = client.trigger("t", 7)
    again = client.runs.replay(handle.id, payload="text", tags=["again"], machine="large-1x")
    assert again.result(10) == "text"
    assert again.retrieve().tags == ["again"]


def test_a_replay_says_what_the_official_client_says(raw, connect):
    """By the names of its route."""
    server = raw(reply(200, {}, {"id": "run_2"}))
    runs = connect(server).runs
    runs.replay("run_1")
    runs.replay("run_1", payload={"a": 1}, queue="q", version="20261125.1", idempotency_key="k")
    plain, changed = server.exchanges
    assert (plain.body, plain.headers["content-length"]) == (b"", "0")
    body = changed.json()
    del body["idempotencyKey"]
    assert body == {
        "payload": '{"json":{"a":1}}',
        "payloadType": "application/super+json",
        "queue": "q",
        "version": "20261125.1",
    }


def test_tags_are_added(server, client):
    """To those that there are."""
    handle = client.trigger("t", tags="a")
    handle.add_tags(["b"])
    assert handle.retrieve().tags == ["a", "b"]
    with pytest.raises(ValueError, match="tags"):
        handle.add_tags([])


def test_metadata_is_replaced_or_changed(server, client):
    """A key at a time, in order."""
    run = client.trigger("t", metadata={"old": 1})
    assert run.set_metadata({"step": 1}) == {"step": 1}
    changed = client.runs.change_metadata(
        run.id,
        metadata.set_("step", "upload"),
        metadata.increment("done"),
        metadata.increment("done", 2),
        metadata.append("logs", "a"),
        metadata.append("logs", "b"),
        metadata.remove("logs", "a"),
        metadata.set_("tmp", 1),
        metadata.delete("tmp"),
        metadata.set_("nested", {"value": 0}),
        metadata.set_("$.nested.value", [1]),
    )
    assert changed == {"step": "upload", "done": 3, "logs": ["b"], "nested": {"value": [1]}}
    assert run.retrieve().metadata == changed


@pytest.mark.parametrize(
    "make",
    [
        lambda: metadata.set_("", 1),
        lambda: metadata.set_("a", {1}),
        lambda: metadata.set_("__proto__", 1),
        lambda: metadata.set_("$.a.__proto__", 1),
        lambda: metadata.increment("a", float("nan")),
        lambda: metadata.increment("a", "1"),
        lambda: metadata.increment("a", True),
        lambda: metadata.append("a", object()),
        lambda: metadata.delete(5),
    ],
)
def test_an_operation_that_can_not_work_is_refused(make):
    """When it is made."""
    with pytest.raises((TypeError, ValueError), match=r"key|value|by"):
        make()


def test_changes_are_checked_before_anything_is_sent(server, client):
    """Operations alone, and at least one."""
    with pytest.raises(ValueError, match="operation"):
        client.runs.change_metadata("run_1")
    with pytest.raises(TypeError, match="operations"):
        client.runs.change_metadata("run_1", {"type": "set"})
    with pytest.raises(TypeError, match="metadata"):
        client.runs.set_metadata("run_1", [1])
    with pytest.raises(ValueError, match="run_id"):
        client.runs.cancel("..")
    assert server.requests == []


def test_a_key_is_reset(server, client):
    """The next trigger makes a new run."""
    first = client.trigger("t", idempotency_key=["user", "7"])
    client.runs.reset_idempotency_key(Task("t"), ["user", "7"])
    assert client.trigger("t", idempotency_key=["user", "7"]) != first
    with pytest.raises(NotFoundError):
        client.runs.reset_idempotency_key("t", "never used")


def test_a_public_token_may_cancel_its_run(server, client, connect):
    """And no other."""
    handle = client.trigger("t")
    token = client.create_public_token(write={"runs": handle.id})
    connect(server, access_token=token).runs.cancel(handle.id)
    eventually(lambda: handle.retrieve().is_cancelled)


def test_a_payload_that_can_not_be_fetched_raises_when_it_is_read(raw, connect):
    """Not when the run is retrieved."""
    document = {**DOCUMENT, "payloadPresignedUrl": "http://127.0.0.1:1/x"}
    server = raw(in_turn(reply(200, {}, document), reply(404)))
    run = connect(server).runs.retrieve("run_1")
    with pytest.raises(PayloadError):
        _ = run.payload
