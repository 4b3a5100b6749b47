"""What a task writes after its run was said to be cancelled, or has failed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from tests.support.shape import row
from tests.support.streams import PartRecorder, chunked, drained, frame, head
from tests.support.waiting import Recorder, eventually, threads_named
from trigger_realtime_sync import State
from trigger_realtime_sync._channel import late_writers
from trigger_realtime_sync._wire import stream_end

STOPPED = "2026-11-23T08:00:00.000"
STARTED = "2026-11-23T06:20:00.000"


def follow(fed: Any, connect: Any, kind: str = "run") -> tuple[Any, PartRecorder, Recorder]:
    parts, told = PartRecorder(), Recorder()
    options = {**told.options, "on_stream": parts}
    client = connect(fed)
    if kind == "stream":
        return client.subscribe_to_stream("run_1", "s", **options), parts, told
    if kind == "runs":
        return client.subscribe_to_runs_with_streams("t", **options), parts, told
    return client.subscribe_to_run_with_streams("run_1", **options), parts, told


def give(fed: Any, answer: bytes) -> None:
    """Answer the next request for a stream."""
    exchange = fed.next_stream()
    exchange.send(answer)
    exchange.end(keep=True)


def wait(subscription: Any, kind: str, seconds: float) -> Any:
    return subscription.wait_for_completion(seconds, **({"expected": 1} if kind == "runs" else {}))


@pytest.mark.parametrize("kind", ["run", "runs", "stream"])
def test_a_cancelled_run_is_read_until_its_worker_has_stopped(kind, version, fed, connect):
    """`on_complete` does not wait for that; the end of the subscription does, and all parts come
    before it."""
    fed.update("EXECUTING", realtimeStreams="{s}")
    subscription, parts, told = follow(fed, connect, kind)
    first = fed.next_stream()
    first.send(head(version, transfer_encoding="chunked") + chunked(frame(version, 0)))
    parts.wait(1)
    fed.update("CANCELED")
    give(fed, drained(version))
    told.wait("complete")
    assert parts.all == [[0]]
    followed = fed.next_stream()
    assert followed.headers["timeout-seconds"] == "40"
    repeated = [frame(version, 0)] if version == "v1" else []
    followed.send(head(version, transfer_encoding="chunked"))
    followed.send(chunked(b"".join([*repeated, frame(version, 1)])))
    parts.wait(2)
    assert subscription.state is not State.COMPLETED
    with pytest.raises(TimeoutError):
        wait(subscription, kind, 0.05)
    fed.update("CANCELED", completedAt=STOPPED)
    repeated += [frame(version, 1)] if version == "v1" else []
    give(fed, drained(version, *repeated, frame(version, 2)))
    if version == "v1":
        give(fed, drained(version))
    wait(subscription, kind, 10)
    assert parts.all == [[0], [1], [2]]
    assert len(told.completes) == 1
    assert [run.finished_at is not None for run in told.updates[-2:]] == [False, True]
    first.end()
    followed.end()
    if kind != "runs":
        assert subscription.state is State.COMPLETED


def test_the_wait_for_a_worker_is_bounded(fed, connect, monkeypatch):
    """One that never says that it has stopped, or whose `completedAt` is not sent."""
    monkeypatch.setattr(late_writers, "LATE_SECONDS", 0.6)
    fed.update("EXECUTING", realtimeStreams="{s}")
    subscription, parts, told = follow(fed, connect)
    fed.next_stream()
    fed.update("CANCELED")
    give(fed, drained("v2"))
    told.wait("complete")
    followed = fed.next_stream()
    followed.send(head("v2", transfer_encoding="chunked") + chunked(frame("v2", 0)))
    give(fed, drained("v2", frame("v2", 1)))
    subscription.wait_for_completion(10)
    assert parts.all == [[0], [1]]
    eventually(lambda: not threads_named("late-writers"))


def test_without_a_stream_the_bound_holds_too(fed, connect, monkeypatch):
    """A run that names no stream when it is cancelled may still name one."""
    monkeypatch.setattr(late_writers, "LATE_SECONDS", 0.4)
    subscription, parts, told = follow(fed, connect)
    told.wait("update")
    fed.update("CANCELED")
    told.wait("complete")
    assert subscription.state is State.LIVE
    fed.update("CANCELED", realtimeStreams="{late}")
    give(fed, drained("v2", frame("v2", 0)))
    eventually(lambda: parts.all == [[0]])
    fed.next_stream()
    give(fed, drained("v2"))
    subscription.wait_for_completion(10)


@pytest.mark.parametrize(
    ("columns", "waits"),
    [
        ({"startedAt": None}, False),
        ({"startedAt": STARTED, "completedAt": STOPPED}, False),
        ({"startedAt": STARTED}, True),
        ({}, True),
    ],
    ids=["never started", "stopped", "started", "not told"],
)
def test_which_cancelled_runs_are_waited_for(columns, waits, fed, connect):
    """Those that had started, as far as the row tells."""
    fed.change(row("run_1", 5, "CANCELED", **columns))
    subscription, _, told = follow(fed, connect)
    told.wait("complete")
    if waits:
        with pytest.raises(TimeoutError):
            subscription.wait_for_completion(0.3)
    else:
        assert subscription.wait_for_completion(10).is_cancelled


@pytest.mark.parametrize("status", ["CANCELED", "CRASHED"])
def test_a_run_that_ended_long_ago_is_not_waited_for(status, fed, connect):
    """By the server's clock, whatever this one says."""
    value = row("run_1", 5, status, startedAt=STARTED, realtimeStreams="{s}")
    updated = datetime.fromisoformat(value["updatedAt"]).replace(tzinfo=timezone.utc)
    fed.date = format_datetime(updated + timedelta(seconds=31), usegmt=True)
    fed.change(value)
    subscription, parts, _ = follow(fed, connect)
    give(fed, drained("v2", frame("v2", 0)))
    subscription.wait_for_completion(10)
    assert parts.all == [[0]]


def test_a_run_that_ended_a_moment_ago_is_waited_for(fed, connect):
    """For what is left of the time."""
    value = row("run_1", 5, "CANCELED", startedAt=STARTED)
    updated = datetime.fromisoformat(value["updatedAt"]).replace(tzinfo=timezone.utc)
    fed.date = format_datetime(updated + timedelta(seconds=29), usegmt=True)
    fed.change(value)
    subscription, _, told = follow(fed, connect)
    told.wait("complete")
    assert subscription.state is not State.COMPLETED
    subscription.wait_for_completion(3)


@pytest.mark.parametrize("status", ["COMPLETED_WITH_ERRORS", "CRASHED", "TIMED_OUT"])
def test_the_stream_of_a_failed_run_is_looked_at_twice(status, version, fed, connect, monkeypatch):
    """Its process may not know yet that the run is over. `on_complete` does not wait for it."""
    monkeypatch.setattr(stream_end, "QUIET_SECONDS", 0.3)
    fed.update("EXECUTING", realtimeStreams="{s}")
    subscription, parts, told = follow(fed, connect)
    fed.next_stream()
    fed.update(status, completedAt=STOPPED)
    give(fed, drained(version))
    told.wait("complete")
    assert subscription.state is not State.COMPLETED
    assert not fed.stream_is_asked
    give(fed, drained(version, frame(version, 0)))
    if version == "v1":
        give(fed, drained(version))
    # It brought something: once more.
    give(fed, drained(version))
    subscription.wait_for_completion(10)
    assert parts.all == [[0]]
    assert len(told.completes) == 1


def test_a_feed_that_fails_after_the_run_was_cancelled(fed, connect, monkeypatch):
    """Only when the worker has stopped is not known: the bound holds, and nothing fails."""
    monkeypatch.setattr(late_writers, "LATE_SECONDS", 0.4)
    subscription, _, told = follow(fed, connect)
    told.wait("update")
    fed.gone = True
    fed.update("CANCELED")
    told.wait("complete")
    assert subscription.wait_for_completion(10).is_cancelled
    assert told.errors == []


def test_cancel_ends_the_wait(fed, connect):
    """At once, with its thread."""
    subscription, _, told = follow(fed, connect)
    told.wait("update")
    fed.update("CANCELED")
    told.wait("complete")
    subscription.cancel()
    eventually(lambda: not threads_named("late-writers"))
