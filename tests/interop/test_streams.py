"""Streams in both formats: every part that the official client tells, ours tells too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.compare import differences

PARTS = [
    "text", "", " ", "two\nlines", "\u2028\u2029\ufeff\x00é😀", '{"looks": "like JSON"}', "123",
    "[DONE]", ": ping", "data: x", 0, -1.5, 1e21, True, None, [], {},
    {"data": 1, "id": "x", "nested": [{"a": [None]}]}, "x" * 100_000,
]  # fmt: skip


@pytest.fixture(params=["v1", "v2"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["native", "electric"])
def streams(request: pytest.FixtureRequest, version: str, make_pair: Callable[..., Any]) -> Any:
    return make_pair(request.param, streams=version)


def test_parts_of_every_kind(streams):
    """Every kind of part, one by one, as the same value."""
    run = streams.server.create_run(status="EXECUTING")
    both = streams.stream(run, "llm")
    for part in PARTS:
        both.new_parts(lambda part=part: streams.server.append(run, "llm", part), 1)


def test_many_parts_at_once(streams):
    """Nine hundred parts that were there before, then as many in one write."""
    server = streams.server
    run = server.create_run(status="EXECUTING")
    server.append(run, "llm", *range(900))
    both = streams.stream(run, "llm")
    both.new_parts(lambda: None, 900)
    both.new_parts(lambda: server.append(run, "llm", *(f"token {n} " for n in range(900))), 900)


def test_a_run_with_streams_by_its_column(streams):
    """The streams that `realtimeStreams` names are read beside the run, new ones too."""
    server = streams.server
    run = server.create_run(status="EXECUTING", realtime_streams=["first"])
    both = streams.run_with_streams(run)
    both.states()
    both.new_parts(lambda: server.append(run, "first", "a"), 1)
    both.states(lambda: server.update_run(run, realtime_streams=["first", "second"]))
    both.new_parts(lambda: server.append(run, "second", {"b": 2}), 1)
    both.new_parts(lambda: server.append(run, "first", "c"), 1)
    both.states(lambda: server.complete_run(run, output="done"))
    both.subscription.wait_for_completion(10)


def test_a_run_with_streams_by_its_metadata(streams):
    """`$$streams` in the metadata goes before the column; an empty one does not."""
    server = streams.server
    run = server.create_run(
        status="EXECUTING", metadata={"$$streams": ["named"]}, realtime_streams=["other"]
    )
    server.append(run, "other", "not told")
    both = streams.run_with_streams(run)
    both.states()
    both.new_parts(lambda: server.append(run, "named", "told"), 1)
    both.states(count=1)  # the server notes that the stream exists
    both.states(lambda: server.update_run(run, metadata={"$$streams": []}))
    both.new_parts(lambda: None, 1)


def test_v2_records_that_are_no_parts(make_pair):
    """Neither delivers commands and retried writes.

    On purpose: a control record is a part without a value in theirs, and none in ours.
    """
    pair = make_pair(streams="v2")
    server = pair.server
    run = server.create_run(status="EXECUTING")
    both = pair.stream(run, "s")
    both.is_compared = False

    def write() -> None:
        envelope = {"data": "once", "id": "e1"}
        server.append_records(run, "s", {"body": envelope}, {"body": envelope})
        server.append_records(run, "s", {"headers": [["", "trim"]], "body": "0"})
        server.append_records(run, "s", {"body": {"data": "twice", "id": "e2"}})

    both.new_parts(write, 2)
    server.append_records(run, "s", {"headers": [["trigger-control", "turn"]]})
    server.append(run, "s", "after")
    both.theirs.wait_for(parts=4)
    both.ours.wait_for(parts=3)
    assert [part["value"] for part in both.theirs.parts] == ["once", "twice", None, "after"]
    assert [value for _, value in both.ours.parts] == ["once", "twice", "after"]


def test_v1_entries_that_are_no_lines(make_pair):
    """Parts torn over several entries, several in one, and text that is no JSON."""
    pair = make_pair(streams="v1")
    server = pair.server
    run = server.create_run(status="EXECUTING")
    both = pair.stream(run, "s")
    both.new_parts(lambda: server.append_raw(run, "s", '{"a"', ":1}\n"), 1)
    both.new_parts(lambda: server.append_raw(run, "s", "1\n2\n3\n"), 3)
    both.new_parts(lambda: server.append_raw(run, "s", "plain text\n", '"x', 'y"\nz\n'), 3)


def test_v2_resumes_exactly(make_pair):
    """A body cut at many places: the parts of both are exact."""
    pair = make_pair(streams="v2", ping_interval=0.2)
    server = pair.server
    run = server.create_run(status="EXECUTING")
    for cut in (1, 60, 150, 400):
        server.fail_next(match="stream", cut_body_at=cut, times=2)
    server.append(run, "s", *range(50))
    both = pair.stream(run, "s")
    both.new_parts(lambda: None, 50)
    for n in range(3):
        server.drop_connections(reset=True)
        both.new_parts(lambda n=n: server.append(run, "s", f"after {n}"), 1)


def test_v1_loses_parts_on_resume(make_pair):
    """On purpose: an entry of several parts, cut between them, loses the rest in theirs."""
    pair = make_pair(streams="v1", ping_interval=0.2)
    server = pair.server
    run = server.create_run(status="EXECUTING")
    server.append_raw(run, "s", '"a"\n"b"\n"c"\n', '"d"\n')
    first_part = len('id: 1795414755739-0\ndata: "a"\n\n')
    server.fail_next(match="stream", cut_body_at=first_part, times=2)
    both = pair.stream(run, "s")
    both.is_compared = False
    both.ours.wait_for(parts=4)
    both.theirs.wait_for(parts=2)
    assert [value for _, value in both.ours.parts] == ["a", "b", "c", "d"]
    assert [part["value"] for part in both.theirs.parts] == ["a", "d"]


def test_a_stream_that_falls_silent(make_pair, version):
    """On purpose: the end of a body ends theirs, though the run goes on; ours reads on."""
    pair = make_pair(streams=version, stream_idle=0.3)
    server = pair.server
    run = server.create_run(status="EXECUTING")
    both = pair.stream(run, "s")
    both.is_compared = False
    both.new_parts(lambda: server.append(run, "s", "before"), 1)
    both.theirs.wait_for(ended=True)
    server.append(run, "s", "after")
    both.ours.wait_for(parts=2)
    assert both.ours.parts[1] == ("s", "after")
    server.complete_run(run)
    both.subscription.wait_for_completion(10)
    assert len(both.theirs.parts) == 1
    assert list(differences("before", both.ours.parts[0][1])) == []
