"""Which streams are read: those that the run names, each once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest

from tests.support.streams import PartRecorder
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import ApiError, PayloadError, RealtimeClient, State
from trigger_realtime_sync.testing import RealtimeServer


def asked(server: RealtimeServer) -> Counter[tuple[str, str]]:
    """How often each stream was asked for."""
    return Counter(
        one.segments[-2:]  # type: ignore[misc]
        for one in server.requests
        if one.kind == "stream"
    )


@pytest.mark.parametrize(
    ("metadata", "streams", "wanted"),
    [
        ({"$$streams": ["a", "b"]}, ["c"], {"a", "b"}),
        ({"$$streams": []}, ["c"], {"c"}),
        ({"$$streams": ["a", 1]}, ["c"], {"c"}),
        ({"$$streams": "a"}, ["c", "d"], {"c", "d"}),
        ({"other": 1}, ["c"], {"c"}),
        (["$$streams"], ["c"], {"c"}),
        ("$$streams", ["c"], {"c"}),
        (("{not json", "application/json"), ["c"], {"c"}),
        (("packets/x", "application/store"), ["c"], {"c"}),
        (None, ["c", "c", ""], {"c"}),
        ({"$$streams": ["a/b", "ü ?#%"]}, [], {"a/b", "ü ?#%"}),
        ({"$$streams": ["a", "\ud800"]}, [], {"a"}),
    ],
)
@pytest.mark.parametrize("kind", ["run", "runs"])
def test_metadata_names_them_else_the_run_does(kind, metadata, streams, wanted, connect):
    """`metadata["$$streams"]` counts where it is a non-empty list of strings."""
    with RealtimeServer() as server:
        run_id = server.create_run(
            tags="t", status="EXECUTING", metadata=metadata, realtime_streams=streams
        )
        client: RealtimeClient = connect(server)
        subscription: Any
        if kind == "run":
            subscription = client.subscribe_to_run_with_streams(run_id)
        else:
            subscription = client.subscribe_to_runs_with_streams("t")
        server.wait_until_held(len(wanted), match="stream")
        server.complete_run(run_id)
        subscription.wait_for_completion(5, **({"expected": 1} if kind == "runs" else {}))
        assert {key for _, key in asked(server)} == wanted
        assert not [one for one in server.requests if one.kind == "packets"]


@pytest.mark.parametrize("key", ["a/b", " ", "\x00", "\n"])
def test_each_key_that_a_run_may_name_can_be_asked_for(key, server, client):
    """What is read with a run can be read alone."""
    run_id = server.create_run(status="EXECUTING")
    server.append(run_id, key, 1)
    server.complete_run(run_id)
    subscription = client.subscribe_to_stream(run_id, key)
    subscription.wait_for_completion(5)
    assert subscription.parts == [1]


@pytest.mark.parametrize("key", [".", ".."])
def test_a_key_that_changes_the_path_ends_alone(key, server, client):
    """No server finds it; the run and its other streams go on."""
    run_id = server.create_run(status="EXECUTING", metadata={"$$streams": [key, "s"]})
    server.append(run_id, "s", 1)
    server.fail_next(
        match=lambda request: request.kind == "stream" and request.segments[-1] == key,
        status=404,
        times=1000,
    )
    told = Recorder()
    subscription = client.subscribe_to_run_with_streams(run_id, **told.options)
    (error,) = told.wait("error")
    assert not error.terminal
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert subscription.streams == {"s": [1]}
    alone = client.subscribe_to_stream(run_id, key)
    with pytest.raises(ApiError):
        alone.wait_for_completion(5)


@pytest.mark.parametrize("key", ["", 5, None, "\ud800"])
def test_keys_that_can_not_be_asked_for(key, client):
    """At the call."""
    with pytest.raises(ValueError, match="key"):
        client.subscribe_to_stream("run_1", key)


def test_new_ones_are_picked_up(server, client):
    """A stream that is named later is read from its start; each is asked for once."""
    run_id = server.create_run(status="EXECUTING")
    told, parts = Recorder(), PartRecorder()
    subscription = client.subscribe_to_run_with_streams(run_id, on_stream=parts, **told.options)
    told.wait("update")
    server.append(run_id, "a", 1)
    parts.wait(1)
    server.append(run_id, "b", 2)
    parts.wait(2)
    server.wait_until_held(2, match="stream")
    for n in range(20):
        server.update_run(run_id, metadata={"progress": n})
    told.wait("update", 2)
    server.append(run_id, "a", 3)
    parts.wait(3)
    assert asked(server) == {(run_id, "a"): 1, (run_id, "b"): 1}
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert parts.by_stream == {"a": [1, 3], "b": [2]}
    assert subscription.streams == {"a": [1, 3], "b": [2]}
    assert max(asked(server).values()) == 2


def test_named_by_its_last_update(server, client):
    """A stream that is first named by the update that ends the run is read to its end."""
    run_id = server.create_run(status="EXECUTING", metadata={"$$streams": ["a"]})
    told = Recorder()
    subscription = client.subscribe_to_run_with_streams(run_id, **told.options)
    server.wait_until_held(1, match="stream")
    server.append(run_id, "b", "late")
    server.complete_run(run_id, metadata={"$$streams": ["a", "b"]})
    subscription.wait_for_completion(5)
    assert subscription.streams["b"] == ["late"]


def test_no_streams_no_requests(server, client):
    """Runs that name none cost none."""
    runs = [server.create_run(tags="t") for _ in range(3)]
    subscription = client.subscribe_to_runs_with_streams("t")
    single = client.subscribe_to_run_with_streams(runs[0])
    for run_id in runs:
        server.update_run(run_id, status="EXECUTING")
        server.complete_run(run_id)
    subscription.wait_for_completion(5, expected=3)
    assert single.wait_for_completion(5).is_success
    assert asked(server) == {}


@attrs.frozen
class Token:
    text: str
    n: int = 0


def test_typed_parts(server, client):
    """Parts are of their stream's type. One that does not fit is reported, and harms no other."""
    run_id = server.create_run(status="EXECUTING")
    told, parts = Recorder(), PartRecorder()
    subscription = client.subscribe_to_run_with_streams(
        run_id, streams={"typed": Token, "text": str}, on_stream=parts, **told.options
    )
    server.append(run_id, "typed", {"text": "a", "n": 1}, {"n": "x"}, {"text": "b"})
    server.append(run_id, "text", "c", 5)
    server.append(run_id, "free", {"any": 1})
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert parts.by_stream == {
        "typed": [Token("a", 1), Token("b")],
        "text": ["c"],
        "free": [{"any": 1}],
    }
    errors = sorted(told.errors, key=lambda error: error.field)
    assert all(isinstance(error, PayloadError) and not error.terminal for error in errors)
    assert [(error.field, error.raw) for error in errors] == [("text", 5), ("typed", {"n": "x"})]
    assert subscription.state is State.COMPLETED


def test_many_misfits_are_all_told(server, client):
    """Each of many parts that don't fit is reported once."""
    run_id = server.create_run(status="EXECUTING")
    told = Recorder()
    subscription = client.subscribe_to_stream(run_id, "s", part_type=int, **told.options)
    server.append(run_id, "s", *[f"no number {n}" for n in range(800)])
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert [error.raw for error in told.errors] == [f"no number {n}" for n in range(800)]


def test_a_run_that_comes_back(connect):
    """A run that loses its tag is forgotten with its streams; when it is back, all comes anew."""
    with RealtimeServer("electric") as server:
        run_id = server.create_run(tags="t", status="EXECUTING")
        server.append(run_id, "s", 1, 2, 3)
        parts = PartRecorder()
        subscription = connect(server).subscribe_to_runs_with_streams("t", on_stream=parts)
        parts.wait(3)
        server.wait_until_held(1, match="stream")
        server.update_run(run_id, tags=[])
        eventually(lambda: server.open_streams == 0, "it is read on")
        eventually(lambda: (subscription.runs, subscription.streams) == ([], {}))
        server.update_run(run_id, tags=["t"])
        parts.wait(6)
        server.append(run_id, "s", 4)
        assert parts.wait(7) == [1, 2, 3, 1, 2, 3, 4]
        server.complete_run(run_id)
        subscription.wait_for_completion(5, expected=1)
        assert subscription.streams == {run_id: {"s": [1, 2, 3, 4]}}
