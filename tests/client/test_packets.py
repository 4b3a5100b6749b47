"""Payload, output, metadata: decoded and fetched when read, and not before."""

from __future__ import annotations

import dataclasses
import itertools

import attrs
import pytest

from tests.support import shape
from tests.support.raw import reply
from tests.support.waiting import Recorder
from trigger_realtime_sync import ApiError, AuthenticationError, PayloadError, Task
from trigger_realtime_sync.testing import RealtimeServer


@attrs.frozen
class Attrs:
    total: int
    names: list[str]


@dataclasses.dataclass
class Data:
    total: int
    names: list[str]


def stored_run(server: RealtimeServer, data: str, content_type: str | None) -> str:
    path = server.store_packet(data, content_type)
    run_id = server.create_run()
    server.complete_run(run_id, output=(path, "application/store"))
    return run_id


@pytest.mark.parametrize(
    ("data", "content_type", "value"),
    [
        ('{"a": 1}', "application/json", {"a": 1}),
        ('{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
        ('{"a": 1}', None, {"a": 1}),
        ('{"json": "1", "meta": {"values": ["bigint"]}}', "application/super+json", 1),
        ("größe", "text/plain; charset=utf-8", "größe"),
    ],
)
def test_a_large_one_is_fetched_when_it_is_read(server, client, data, content_type, value):
    """Once, and the object store is not shown the token."""
    run_id = stored_run(server, data, content_type)
    run = client.wait_for_completion(run_id, timeout=5)
    assert not [request for request in server.requests if request.kind in ("packets", "presigned")]
    assert run.output == value
    assert run.output == value
    packets = [request for request in server.requests if request.kind == "packets"]
    presigned = [request for request in server.requests if request.kind == "presigned"]
    assert len(packets) == len(presigned) == 1
    assert packets[0].path == f"/api/v1/runs/{run_id}/packets/output"
    assert "authorization" in packets[0].headers
    assert "authorization" not in presigned[0].headers


def test_an_old_server_knows_the_packet_by_its_path(server, client):
    """On 404, and only then; the path is one segment."""
    run = client.wait_for_completion(stored_run(server, "[1]", None), timeout=5)
    server.fail_next(status=404, match="packets")
    assert run.output == [1]
    first, second = [request for request in server.requests if request.kind == "packets"]
    assert "/runs/" in first.path
    assert second.path.startswith("/api/v1/packets/packets%2F")


def test_headers_of_the_user_s_stay_at_home(server, connect):
    """`headers=` go to the API, not to the object store."""
    client = connect(server, headers={"X-Secret": "s"})
    assert client.wait_for_completion(stored_run(server, "1", None), timeout=5).output == 1
    for request in server.requests:
        assert ("x-secret" in request.headers) is (request.kind != "presigned")


@pytest.mark.parametrize("fault", [{"status": 500}, {"reset": True}, {"cut_body_at": 1}])
@pytest.mark.parametrize("match", ["packets", "presigned"])
def test_fetching_is_retried(server, client, match, fault):
    """Transient failures are retried until the value is there."""
    run = client.wait_for_completion(stored_run(server, "[1]", None), timeout=5)
    server.fail_next(match=match, times=1, **fault)
    assert run.output == [1]


def test_one_that_can_not_be_had(server, client):
    """The run arrives all the same; the error says which run and field, and the path."""
    run_id = stored_run(server, "[1]", None)
    server.fail_next(match="presigned", status=403, times=100)
    recorder = Recorder()
    subscription = client.subscribe_to_run(run_id, **recorder.options)
    run = subscription.wait_for_completion(5)
    with pytest.raises(PayloadError) as caught:
        _ = run.output
    assert caught.value.run_id == run_id
    assert caught.value.field == "output"
    assert str(caught.value.raw).startswith("packets/")
    assert caught.value.content_type == "application/store"
    assert recorder.errors == []
    with pytest.raises(PayloadError):
        subscription.result(5)


@pytest.mark.parametrize("kind", [Attrs, Data])
def test_typed_by_its_task(server, client, kind):
    """Output and payload become what the task says they are."""
    value = {"total": 3, "names": ["a"]}
    task = Task("my-task", payload=kind, output=kind)
    run_id = server.create_run("my-task", payload=value)
    server.complete_run(run_id, output=value)
    run = client.wait_for_completion(run_id, task=task, timeout=5)
    assert run.payload == run.output == kind(3, ["a"])


@pytest.mark.parametrize("bad", [{"total": "three", "names": []}, {"names": []}, [], None, "x"])
def test_what_does_not_fit_raises_where_it_is_read(server, client, bad):
    """With the raw packet; the run itself arrives."""
    run_id = server.create_run("my-task")
    server.complete_run(run_id, output=bad)
    task = Task("my-task", output=Attrs)
    subscription = client.subscribe_to_run(run_id, task=task)
    run = subscription.wait_for_completion(5)
    if bad is None:
        return
    with pytest.raises(PayloadError) as caught:
        _ = run.output
    assert caught.value.run_id == run_id
    assert caught.value.raw is not None


def test_many_runs_are_typed_by_their_task(server, client):
    """`tasks=` is matched by the identifier; others stay untyped; `matches` tells them apart."""
    task = Task("typed", output=Attrs)
    typed = server.create_run("typed", tags=["t"])
    plain = server.create_run("plain", tags=["t"])
    for run_id in (typed, plain):
        server.complete_run(run_id, output={"total": 1, "names": []})
    subscription = client.subscribe_to_runs_with_tag("t", tasks=[task])
    by_id = {run.id: run for run in subscription.wait_for_completion(5, expected=2)}
    assert by_id[typed].output == Attrs(1, [])
    assert by_id[plain].output == {"total": 1, "names": []}
    assert task.matches(by_id[typed])
    assert not task.matches(by_id[plain])


@pytest.mark.parametrize(
    "packet",
    [
        ("{", "application/json"),
        ("[" * 100_000, "application/json"),
        ("9" * 10_000, "application/json"),
        ('{"json":1,"meta":{"values":{"a.b.c":[["custom","x"]]}}}', "application/super+json"),
    ],
)
def test_nonsense_is_an_error_of_the_value_alone(server, client, packet):
    """Deep, huge or broken: a PayloadError at most, and only when it is read."""
    run_id = server.create_run(payload=packet)
    server.complete_run(run_id, output=7)
    run = client.wait_for_completion(run_id, timeout=5)
    assert run.output == 7
    try:
        _ = run.payload
    except PayloadError as error:
        assert error.field == "payload"  # noqa: PT017


@pytest.mark.parametrize("status", [401, 403])
def test_the_storages_refusal_is_no_matter_of_the_token(status, raw, connect):
    """A large output that the storage refuses is an error where it is read, at once; no new token
    is fetched, and the storage's answer, which may hold the presigned URL, is not shown."""
    body = {"error": f"no access with {shape.SIGNATURE}"}
    calls = itertools.count(1)
    client = connect(
        raw(shape.stored_output(reply(status, {}, body))),
        access_token=lambda: f"tr_{next(calls)}",
    )
    run = client.wait_for_completion("run_1", timeout=10)
    before = next(calls)
    with pytest.raises(PayloadError) as caught:
        _ = run.output
    assert str(status) in str(caught.value)
    assert shape.SIGNATURE not in str(caught.value)
    assert isinstance(caught.value.__cause__, ApiError)
    assert not isinstance(caught.value.__cause__, AuthenticationError)
    assert next(calls) - before <= 3


def test_keys_of_objects_can_be_numbers(server, connect):
    """They are text in JSON, whatever the task had."""
    run_id = server.create_run("my-task")
    server.complete_run(run_id, output={"1": "a", "-2": "b"})
    client = connect(server)
    task = Task("my-task", output=dict[int, str])
    assert client.subscribe_to_run(run_id, task=task).result(10) == {1: "a", -2: "b"}
    other = Task("my-task", output=dict[float, str])
    assert client.subscribe_to_run(run_id, task=other).result(10) == {1.0: "a", -2.0: "b"}
    server.complete_run(run_id := server.create_run("my-task"), output={"one": "a"})
    with pytest.raises(PayloadError, match="a key that is no integer"):
        client.subscribe_to_run(run_id, task=task).result(10)
