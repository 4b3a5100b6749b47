"""Triggering against the test server: what arrives there, and what the handle can do."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import (
    NotFoundError,
    RunFailed,
    RunHandle,
    Task,
    UnprocessableEntityError,
    WaitTimeout,
)

WHEN = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)


@attrs.frozen
class Video:
    name: str
    made: datetime


@attrs.frozen
class Thumbnails:
    urls: list[str]


make_thumbnails = Task("make-thumbnails", payload=Video, output=Thumbnails)


@pytest.fixture
def client(server, connect):
    return connect(server)


def test_a_run_is_triggered_and_its_result_waited_for(server, client):
    """The payload arrives with its types, and the output comes back in the task's."""

    @server.task("make-thumbnails")
    def make(payload: dict[str, Any]) -> Any:
        assert payload == {"name": "v1", "made": WHEN}
        return {"urls": [f"{payload['name']}.png"]}

    handle = client.trigger(make_thumbnails, Video("v1", WHEN), tags=["user:7"])
    assert handle.result(timeout=10) == Thumbnails(["v1.png"])
    assert handle.task_identifier == "make-thumbnails"
    assert not handle.is_cached
    (asked,) = server.triggered("make-thumbnails")
    assert asked.options["tags"] == ["user:7"]


@pytest.mark.parametrize("payload", [None, "", "text", 0, [], {"a": {1, 2}}, b"x", 2**60])
def test_each_payload_arrives_as_it_is(server, client, payload):
    """Of any type."""
    got = []
    server.task("t")(got.append)
    client.trigger("t", payload).wait_for_completion(10)
    assert got == [payload]


def test_a_payload_that_is_left_out_is_none(server, client):
    """There is no other nothing in Python."""
    client.trigger("t")
    (asked,) = server.triggered("t")
    assert asked.payload is None


def test_a_run_that_fails_raises(server, client):
    """With its error."""

    @server.task("t")
    def fail(payload: Any) -> None:
        raise ValueError("no luck")

    with pytest.raises(RunFailed, match="no luck"):
        client.trigger("t").result(10)


def test_a_key_finds_the_run_of_before(server, client):
    """Equal handles, in a set one."""
    one = client.trigger("t", 1, idempotency_key=["user", "7"])
    other = client.trigger("t", 2, idempotency_key=["user", "7"])
    assert (one.is_cached, other.is_cached) == (False, True)
    assert one == other
    assert len({one, other}) == 1
    assert one != object()
    assert client.trigger("t", 2, idempotency_key="another") != one


def test_a_handle_shows_no_token_and_is_not_pickled(client):
    """It would lose its client."""
    handle = client.trigger("t")
    assert handle.public_access_token
    assert handle.public_access_token not in repr(handle)
    assert handle.id in repr(handle)
    for spoil in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match=r"keep handle\.id"):
            spoil(handle)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        handle.id = "run_2"


def test_a_handle_is_found_again_by_its_id(server, client):
    """In another process, say. It asks nothing before it has to."""
    run_id = server.create_run()
    before = len(server.requests)
    handle = client.handle(run_id, make_thumbnails)
    assert handle.public_access_token is None
    assert len(server.requests) == before
    server.complete_run(run_id, {"urls": []})
    assert handle.result(10) == Thumbnails([])
    with pytest.raises(ValueError, match="run_id"):
        client.handle("")
    with pytest.raises(ValueError, match="task"):
        client.handle(run_id, "my-task")


def test_subscriptions_of_a_handle(server, client):
    """Of every kind, with their options."""
    handle = client.trigger("t")
    recorder = Recorder()
    subscription = handle.subscribe(id="mine", **recorder.options)
    assert client.subscriptions["mine"] is subscription
    streamed = handle.subscribe_with_streams(on_stream=lambda key, parts: None)
    stream = handle.stream("answer")
    server.append(handle.id, "answer", {"a": 1})
    server.complete_run(handle.id, 5)
    assert streamed.wait_for_completion(10).output == 5
    stream.wait_for_completion(10)
    assert stream.parts == [{"a": 1}]
    recorder.wait("complete")


def test_updates_of_a_handle_end_with_the_run(server, client):
    """And leave nothing behind."""
    handle = client.trigger("t")
    updates = handle.updates(timeout=10)
    first = next(updates)
    assert first.status == "QUEUED"
    server.complete_run(handle.id)
    assert [run.status for run in updates] == ["COMPLETED"]
    assert not client.subscriptions
    with pytest.raises(WaitTimeout):
        list(client.trigger("t").updates(timeout=0.05))
    with pytest.raises(ValueError, match="timeout"):
        handle.updates(timeout=-1)


def test_waiting_has_an_end(client):
    """The run goes on."""
    handle = client.trigger("t")
    with pytest.raises(WaitTimeout):
        handle.result(timeout=0.05)
    with pytest.raises(WaitTimeout):
        handle.wait_for_completion(timeout=0.05)


def test_a_run_is_cancelled(server, client):
    """What has finished stays as it is."""
    handle = client.trigger("t")
    handle.cancel()
    assert handle.wait_for_completion(10).is_cancelled
    handle.cancel()
    with pytest.raises(NotFoundError):
        client.runs.cancel("run_unknown")


def test_a_new_run_is_waited_for(server, client):
    """A server may hold it in a buffer, where its feed does not find it."""
    server.settings.buffering = 0.7
    server.task("t")(lambda payload: payload)
    assert client.trigger("t", 5).result(10) == 5
    run = client.trigger("t", 6)
    with pytest.raises(NotFoundError):
        client.wait_for_completion(run.id, timeout=5)
    assert run.stream("s").wait_for_completion(10).output == 6


def test_a_run_that_never_comes_is_given_up(client, monkeypatch):
    """After half a minute."""
    monkeypatch.setattr("trigger_realtime_sync.handles.ABSENT_SECONDS", 0.3)
    with pytest.raises(NotFoundError):
        client.handle("run_unknown").result(10)
    with pytest.raises(NotFoundError):
        client.handle("run_unknown").cancel()


def test_a_public_token_triggers_and_the_handle_follows_by_its_own(server, connect):
    """One that may trigger may not read; the answer brings one that may."""
    server.task("t")(lambda payload: payload)
    token = server.public_token("trigger:tasks:t")
    handle = connect(server, access_token=token).trigger("t", 5)
    assert handle.result(10) == 5
    once = server.public_token("trigger:tasks:t", otu=True)
    client = connect(server)
    assert client.trigger("t", 6, access_token=once).result(10) == 6
    with pytest.raises(UnprocessableEntityError, match="already been used"):
        client.trigger("t", 6, access_token=once)


def test_many_triggers_from_many_threads(server, client):
    """Each gets a run of its own."""
    with ThreadPoolExecutor(50) as pool:
        handles = list(pool.map(lambda n: client.trigger("t", n), range(2000)))
    assert len({handle.id for handle in handles}) == 2000
    assert sorted(one.payload for one in server.triggered("t")) == list(range(2000))


def test_a_callback_may_trigger(server, client):
    """On its own thread."""
    triggered: list[RunHandle[Any, Any]] = []
    done = threading.Event()

    def on_complete(run: Any) -> None:
        triggered.append(client.trigger("next", {"after": run.id}))
        done.set()

    handle = client.trigger("t")
    handle.subscribe(on_complete=on_complete)
    server.complete_run(handle.id)
    assert done.wait(10)
    assert server.triggered("next")[0].payload == {"after": handle.id}


def test_nothing_is_sent_where_an_argument_can_not_work(server, client):
    """The error names it."""
    for name, value in {
        "delay": "tomorrow",
        "ttl": "soon",
        "tags": [f"t{n}" for n in range(11)],
        "queue": "my queue",
        "idempotency_key": "",
    }.items():
        with pytest.raises(ValueError, match=name):
            client.trigger("t", **{name: value})
    with pytest.raises(TypeError, match=r'payload\["a"\]'):
        client.trigger("t", {"a": timedelta(1)})
    with pytest.raises(ValueError, match="task"):
        client.trigger("")
    with pytest.raises(ValueError, match="task"):
        client.trigger(5)
    assert server.requests == []


def test_the_triggers_of_a_forked_child_are_its_own(server, client):
    """The parent's connections are not touched."""
    import os

    client.trigger("t", "parent")
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if client.trigger("t", "child").id else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    client.trigger("t", "parent again")
    eventually(lambda: len(server.triggered("t")) == 3)
