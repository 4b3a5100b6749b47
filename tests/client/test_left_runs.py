"""Runs that left what a tag follows: what is kept of them, and what is told if one comes back."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.raw import Exchange, Step, by_path, hold, in_turn, reply
from tests.support.shape import UP_TO_DATE, answer, done, headers, message, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import PayloadError
from trigger_realtime_sync._receivers import completed_runs
from trigger_realtime_sync._wire import gone_rows, shape_log
from trigger_realtime_sync.testing import RealtimeServer, _native

LARGE = "x" * 3_000


def leaving(*ids: str) -> Step:
    """Answer that these runs are deleted."""
    deleted = [{**message({"id": f"c{id_}"}), "headers": {"operation": "delete"}} for id_ in ids]
    return reply(200, headers("2_1", "1"), [*deleted, UP_TO_DATE])


class Gate:
    """An answer that waits until the test opens it."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def __call__(self, exchange: Exchange) -> None:
        assert self._opened.wait(10)
        self._step(exchange)


class Held(Recorder):
    """Callbacks that remember the outputs, and of the runs only whether anybody holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[weakref.ref[Any]] = []

    def on_update(self, run: Any) -> None:
        self.runs.append(weakref.ref(run))
        self._note("update", run.id)

    def on_complete(self, run: Any) -> None:
        self._note("complete", run.id)

    def held(self) -> int:
        """Return how many of the runs are still held."""
        gc.collect()
        return sum(reference() is not None for reference in self.runs)


@pytest.fixture(params=["whole", "reduced"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep all runs that left whole, or none."""
    if request.param == "reduced":
        keep_none(monkeypatch)
    return str(request.param)


def keep_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completed_runs, "MOST_BYTES", 0)
    monkeypatch.setattr(gone_rows, "MOST_BYTES", 0)


def is_whole(run: Any) -> bool:
    try:
        return bool(run.output == LARGE)
    except PayloadError:
        return False


def test_the_newest_are_whole_and_all_count(raw, connect, monkeypatch):
    """Of the others there are id, task, status and times."""
    monkeypatch.setattr(completed_runs, "MOST_BYTES", 11_000)
    ids = [f"run_{n}" for n in range(5)]
    steps = [step for id_ in ids for step in (answer(done(id_, output=LARGE)), leaving(id_))]
    server = raw(*steps, answer(done("run_9", output=LARGE)), hold())
    subscription = connect(server).subscribe_to_runs_with_tag("t")
    runs = subscription.wait_for_completion(10, expected=6)
    assert [run.id for run in subscription.runs] == ["run_9"]
    assert sorted(run.id for run in runs) == [*ids, "run_9"]
    assert sorted(run.id for run in runs if is_whole(run)) == ["run_3", "run_4", "run_9"]
    assert {(run.is_success, run.task_identifier, run.finished_at is None) for run in runs} == {
        (True, "my-task", False)
    }


@pytest.mark.parametrize("field", ["payload", "output", "metadata"])
def test_a_value_that_is_no_longer_kept(raw, connect, monkeypatch, field):
    """It is not None, which would be a lie."""
    keep_none(monkeypatch)
    server = raw(answer(done("run_1")), leaving("run_1"), answer(done("run_2")), hold())
    subscription = connect(server).subscribe_to_runs_with_tag("t")
    first, _ = sorted(subscription.wait_for_completion(10, expected=2), key=lambda run: run.id)
    with pytest.raises(PayloadError, match=rf"{field} of run run_1: no longer kept"):
        getattr(first, field)


def test_nobody_holds_what_left(raw, connect):
    """Neither the feed, nor the view, the callbacks or an iterator that took it."""
    gate = Gate(leaving("run_1", "run_2"))
    server = raw(answer(done("run_1"), row("run_2")), gate, hold())
    recorder = Held()
    subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
    updates = subscription.updates(timeout=10)
    recorder.wait("update", 2)
    assert {next(updates).id, next(updates).id} == {"run_1", "run_2"}
    assert recorder.held() == 2
    gate.open()
    eventually(lambda: recorder.held() == 0)
    assert subscription.runs == []


def test_one_that_comes_back_as_it_was_is_no_news(raw, connect, kept):
    """It was told, whatever is kept of it; and what changed is told."""
    same, changed = done("run_1", output=LARGE), done("run_1", 100, output=LARGE)
    server = raw(
        answer(same),
        leaving("run_1"),
        answer(same),
        leaving("run_1"),
        answer(changed),
        leaving("run_1"),
        answer(changed, row("run_2")),
        hold(),
    )
    recorder = Recorder()
    subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
    updates = subscription.updates(timeout=10)
    recorder.wait("update", 3)
    stamps = [(run.id, run.updated_at) for run in recorder.updates]
    assert [id_ for id_, _ in stamps] == ["run_1", "run_1", "run_2"]
    assert stamps[0] != stamps[1]
    assert [run.id for run in recorder.of("complete")] == ["run_1"]
    assert [next(updates) for _ in range(3)] == recorder.updates
    assert sorted(run.id for run in subscription.runs) == ["run_1", "run_2"]
    assert is_whole(subscription.wait_for_completion(10, expected=1)[0])


def test_an_old_state_of_one_that_left(raw, connect, kept):
    """Nothing starts it again: it is told neither as executing, nor in part."""
    last = done("run_1", output=LARGE)
    server = raw(answer(last), leaving("run_1"), answer(row("run_1")), answer(row("run_2")), hold())
    recorder = Recorder()
    subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
    recorder.wait("update", 2)
    assert [(run.id, run.is_finished) for run in recorder.updates] == [
        ("run_1", True),
        ("run_2", False),
    ]
    ids = [run.id for run in subscription.runs if is_whole(run)]
    assert ids == (["run_1"] if kept == "whole" else [])


def test_after_clear_cache_it_is_told_again(raw, connect, kept):
    """As everything that comes after that is."""
    gate = Gate(answer(done("run_1")))
    server = raw(answer(done("run_1")), leaving("run_1"), gate, hold())
    recorder = Recorder()
    client = connect(server)
    subscription = client.subscribe_to_runs_with_tag("t", id="tag", **recorder.options)
    recorder.wait("complete")
    eventually(lambda: not subscription.runs)
    client.clear_cache("tag")
    gate.open()
    recorder.wait("update", 2)
    assert len(recorder.of("complete")) == 1


def test_what_a_callback_has_still_to_take_is_whole(raw, connect, monkeypatch):
    """Also where the run left long ago."""
    keep_none(monkeypatch)
    ids = [f"run_{n}" for n in range(5)]
    steps = [step for id_ in ids for step in (answer(done(id_, output=LARGE)), leaving(id_))]
    server = raw(*steps, hold())
    begun, go, whole = threading.Event(), threading.Event(), []

    def on_update(run: Any) -> None:
        begun.set()
        assert go.wait(10)
        whole.append((run.id, is_whole(run)))

    subscription = connect(server).subscribe_to_runs_with_tag("t", on_update=on_update)
    assert begun.wait(10)
    eventually(lambda: len(server.exchanges) > len(steps))
    go.set()
    subscription.wait_for_completion(10, expected=5)
    assert whole == [(id_, True) for id_ in ids]


def test_what_an_iterator_has_still_to_take_is_whole(raw, connect, monkeypatch):
    """One that has a backlog, of runs that left long ago."""
    keep_none(monkeypatch)
    ids = [f"run_{n}" for n in range(5)]
    gate = Gate(answer(row("run_9")))
    steps = [step for id_ in ids for step in (answer(done(id_, output=LARGE)), leaving(id_))]
    server = raw(gate, *steps, hold())
    subscription = connect(server).subscribe_to_runs_with_tag("t")
    updates = subscription.updates(timeout=10)
    gate.open()
    subscription.wait_for_completion(10, expected=5)
    eventually(lambda: len(server.exchanges) > len(steps) + 1)
    assert next(updates).id == "run_9"
    assert [(run.id, is_whole(run)) for run in (next(updates) for _ in ids)] == [
        (id_, True) for id_ in ids
    ]


def test_one_that_joins_later(raw, connect, kept):
    """It is told what is there, and a run that comes back, which the first knows."""
    back = Gate(answer(done("run_1", output=LARGE)))
    server = raw(answer(done("run_1", output=LARGE), row("run_2")), leaving("run_1"), back, hold())
    first, second = Recorder(), Recorder()
    client = connect(server)
    subscription = client.subscribe_to_runs_with_tag("t", id="tag", **first.options)
    first.wait("update", 2)
    eventually(lambda: len(subscription.runs) == 1)
    client.subscribe_to_runs_with_tag("t", id="tag", **second.options)
    second.wait("update")
    back.open()
    second.wait("complete")
    assert [run.id for run in second.updates] == ["run_2", "run_1"]
    assert is_whole(second.updates[1])
    assert len(first.updates) == 2


def test_nobody_holds_what_left_while_it_was_disabled(raw, connect):
    """Its own connection begins anew, without them."""
    server = raw(answer(done("run_1"), row("run_2")), hold(), answer(row("run_2")), hold())
    recorder = Held()
    subscription = connect(server, max_cached=0).subscribe_to_runs_with_tag("t", **recorder.options)
    updates = subscription.updates(timeout=10)
    recorder.wait("update", 2)
    assert {next(updates).id, next(updates).id} == {"run_1", "run_2"}
    eventually(lambda: len(server.exchanges) == 2)
    subscription.disable()
    assert len(subscription.runs) == 2
    subscription.enable()
    eventually(lambda: len(subscription.runs) == 1)
    eventually(lambda: recorder.held() == 1)
    assert [run.id for run in subscription.wait_for_completion(10, expected=1)] == ["run_1"]
    assert recorder.of("update") == ["run_1", "run_2"]


def test_nobody_holds_what_left_while_another_followed_on(raw, connect):
    """One of two is disabled meanwhile, and joins again."""
    gate = Gate(leaving("run_1"))
    server = raw(answer(done("run_1"), row("run_2")), gate, hold())
    client = connect(server)
    other = client.subscribe_to_runs_with_tag("t", id="tag")
    recorder = Held()
    subscription = client.subscribe_to_runs_with_tag("t", id="tag", **recorder.options)
    recorder.wait("update", 2)
    subscription.disable()
    gate.open()
    eventually(lambda: len(other.runs) == 1)
    subscription.enable()
    eventually(lambda: recorder.held() == 1)
    assert len(recorder.of("update")) == 2


def test_the_runs_of_a_batch_stay_whole(raw, connect, monkeypatch):
    """They are not so many, and all of them are waited for."""
    keep_none(monkeypatch)
    feed = in_turn(
        answer(done("run_1", output=LARGE)),
        leaving("run_1"),
        answer(done("run_2", output=LARGE)),
        leaving("run_2"),
        hold(),
    )
    server = raw(by_path({"/realtime/": feed}, hold()))
    subscription = connect(server).subscribe_to_batch("batch_1")
    subscription.wait_for_completion(10, expected=2)
    eventually(lambda: not subscription.runs)
    runs = subscription.wait_for_completion(10, expected=2)
    assert [is_whole(run) for run in runs] == [True, True]


# Native does not say that a run left.


@pytest.fixture
def age(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Move the window of native past all runs; nothing is in doubt for long."""
    monkeypatch.setattr(gone_rows, "DOUBT_SECONDS", 0.4)

    def move() -> None:
        hours = 25 * 3600
        clock = SimpleNamespace(
            time=lambda: time.time() + hours,
            time_ns=lambda: time.time_ns() + int(hours * 1e9),
            monotonic=time.monotonic,
            monotonic_ns=time.monotonic_ns,
        )
        monkeypatch.setattr(_native, "time", clock)

    return move


def test_a_finished_run_that_the_window_has_left(connect, looks, age):
    """Two snapshots lack it, one long after the other."""
    with RealtimeServer("native", hold=0.15) as server:
        finished, executing = server.create_run(tags=["t"]), server.create_run(tags=["t"])
        server.complete_run(finished, output=LARGE)
        recorder = Held()
        subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        recorder.wait("update", 2)
        server.wait_until_held(1)
        age()
        eventually(lambda: [run.id for run in subscription.runs] == [executing])
        [run] = subscription.wait_for_completion(10, expected=1)
        assert is_whole(run)
        assert recorder.of("error") == []


def test_a_finished_run_that_one_snapshot_lacks(connect, looks, monkeypatch):
    """A replica that lags may lack it: it stays."""
    with RealtimeServer("native", hold=0.15) as server:
        finished = server.create_run(tags=["t"])
        server.create_run(tags=["t"])
        server.complete_run(finished)
        subscription = connect(server).subscribe_to_runs_with_tag("t")
        eventually(lambda: len(subscription.runs) == 2)
        monkeypatch.setattr(_native, "_MAX_SNAPSHOT_ROWS", 1)
        server.clear_requests()
        server.wait_for_requests(4, match="runs", live=False)
        assert len(subscription.runs) == 2


def test_finished_runs_beyond_the_largest_snapshot(connect, looks, monkeypatch):
    """Where there are more than a snapshot has, it is asked for one, though all have finished."""
    monkeypatch.setattr(gone_rows, "DOUBT_SECONDS", 0.4)
    monkeypatch.setattr(shape_log, "MOST_IN_SNAPSHOT", 3)
    monkeypatch.setattr(_native, "_MAX_SNAPSHOT_ROWS", 3)
    with RealtimeServer("native", hold=0.15) as server:
        subscription = connect(server).subscribe_to_runs_with_tag("t")
        server.wait_until_held(1)
        for count in range(1, 6):
            server.complete_run(server.create_run(tags=["t"]))
            subscription.wait_for_completion(10, expected=count)
        eventually(lambda: len(subscription.runs) == 3)
        assert len(subscription.wait_for_completion(10, expected=5)) == 5


# Streams.


def test_a_run_whose_parts_were_still_due_leaves_after_them(connect, server_of_streams):
    """Once they are taken, with the next change; and nothing is told twice where it comes back."""
    server, parts = server_of_streams, []
    begun, go = threading.Event(), threading.Event()

    def on_stream(run_id: str, key: str, new: list[Any]) -> None:
        begun.set()
        assert go.wait(10)
        parts.extend(new)

    recorder = Held()
    run_id = server.create_run(tags=["t", "u"])
    subscription = connect(server).subscribe_to_runs_with_streams(
        "t", on_stream=on_stream, **recorder.options
    )
    server.append(run_id, "s", 1, 2)
    assert begun.wait(10)
    server.append(run_id, "s", 3)
    server.complete_run(run_id)
    eventually(lambda: subscription.runs[0].is_finished)
    server.update_run(run_id, tags=["u"])
    other = server.create_run(tags=["t"])
    eventually(lambda: other in [run.id for run in subscription.runs])
    assert run_id in [run.id for run in subscription.runs]
    go.set()
    assert [run.id for run in subscription.wait_for_completion(10, expected=1)] == [run_id]
    assert parts == [1, 2, 3]
    server.update_run(other, status="EXECUTING")
    eventually(lambda: [run.id for run in subscription.runs] == [other])
    server.clear_requests()
    server.update_run(run_id, tags=["t"])
    eventually(lambda: len(subscription.runs) == 2)
    server.append(other, "s", 4)
    server.complete_run(other)
    subscription.wait_for_completion(10, expected=2)
    assert parts == [1, 2, 3, 4]
    assert not [one for one in server.requests if one.kind == "stream" and run_id in one.segments]
    assert sorted(recorder.of("complete")) == sorted([run_id, other])


@pytest.fixture
def server_of_streams() -> Any:
    with RealtimeServer("electric") as server:
        yield server
