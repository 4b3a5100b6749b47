"""A stream lives as long as its run and ends soon after; nothing written before is lost."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.streams import PartRecorder
from tests.support.waiting import AT_ONCE, Gate, Recorder, eventually
from trigger_realtime_sync import NotFoundError, RealtimeClient, State, Task
from trigger_realtime_sync.testing import RealtimeServer

# Seconds after the run within which its stream ends. v2 servers say what the end is, sooner than
# the idle close of a read with `Timeout-Seconds: 1`; on v1 there is that one alone, and no second.
DRAIN = {"v1": 1.9, "v2": 0.9}


@pytest.mark.parametrize("backend", ["native", "electric"])
@pytest.mark.parametrize("kind", ["run", "stream", "runs"])
def test_over_soon_after_the_run(kind, version, backend, connect):
    """Completion comes no later than one short drain, unless the machine is busy."""

    def seconds() -> float:
        with RealtimeServer(backend, streams=version) as server:
            run_id = server.create_run(tags="t", status="EXECUTING")
            subscription, parts, told = subscribe(connect(server), kind, run_id)
            server.append(run_id, "s", "first")
            parts.wait(1)
            server.append(run_id, "s", "last")
            started = time.monotonic()
            server.complete_run(run_id)
            told.wait("complete")
            taken = time.monotonic() - started
            assert parts.all == ["first", "last"]
            assert subscription.state is not State.FAILED
            subscription.cancel()
            return taken

    assert any(seconds() < DRAIN[version] for _ in range(3))


def test_finished_long_ago(version, server, client):
    """One drain is enough for a run that had finished before, whatever its stream holds."""
    run_id = server.create_run(status="EXECUTING", realtime_streams=["s"])
    server.append(run_id, "s", *range(100))
    server.complete_run(run_id)
    started = time.monotonic()
    subscription = client.subscribe_to_run_with_streams(run_id)
    subscription.wait_for_completion(5)
    assert time.monotonic() - started < DRAIN[version]
    assert subscription.streams == {"s": list(range(100))}
    assert len(server.wait_for_requests(1, match="stream")) == 1


def subscribe(
    client: RealtimeClient, kind: str, run_id: str, key: str = "s", on_stream: Any = None
) -> tuple[Any, Any, Recorder]:
    parts, told = on_stream or PartRecorder(), Recorder()
    options = {**told.options, "on_stream": parts}
    if kind == "run":
        return client.subscribe_to_run_with_streams(run_id, **options), parts, told
    if kind == "stream":
        return client.subscribe_to_stream(run_id, key, **options), parts, told
    return client.subscribe_to_runs_with_streams("t", **options), parts, told


def test_written_just_before_the_end(version, connect):
    """However close to the run's end a part is written, it is there when the run is complete."""
    with RealtimeServer(streams=version) as server:
        client = connect(server)
        runs = [server.create_run(status="EXECUTING") for _ in range(40)]
        subscriptions = []
        seen: list[list[Any]] = []
        for run_id in runs:
            parts: list[Any] = []
            atcompletion: list[Any] = []
            seen.append(atcompletion)
            subscriptions.append(
                client.subscribe_to_stream(
                    run_id,
                    "s",
                    on_stream=lambda _, new, parts=parts: parts.extend(new),
                    on_complete=lambda _, parts=parts, at=atcompletion: at.extend(parts),
                )
            )
        server.wait_until_held(len(runs), match="stream")

        def end(run_id: str, n: int) -> None:
            for part in range(n % 7):
                server.append(run_id, "s", part)
            server.append(run_id, "s", "last")
            server.complete_run(run_id)

        threads = [threading.Thread(target=end, args=(run_id, n)) for n, run_id in enumerate(runs)]
        for thread in threads:
            thread.start()
        for n, (subscription, at) in enumerate(zip(subscriptions, seen, strict=True)):
            subscription.wait_for_completion(20)
            assert at == [*range(n % 7), "last"]
            assert subscription.parts == at


@pytest.mark.parametrize("kind", ["run", "stream", "runs"])
def test_complete_only_after_the_last_part(kind, server, client):
    """While `on_stream` still works on the last parts, the run is not complete."""
    run_id = server.create_run(tags="t", status="EXECUTING")
    subscription, gate, told = subscribe(client, kind, run_id, on_stream=Gate())
    expected = {"expected": 1} if kind == "runs" else {}
    server.append(run_id, "s", "last")
    assert gate.entered.wait(5)
    server.complete_run(run_id)
    with pytest.raises(TimeoutError):
        subscription.wait_for_completion(1.5, **expected)
    assert told.completes == []
    gate.go.set()
    subscription.wait_for_completion(5, **expected)
    told.wait("complete")


def test_neither_silence_nor_cuts_end_it(server, client):
    """Idle closes, cuts, resets and silences: the stream goes on as long as its run does."""
    run_id = server.create_run(status="EXECUTING")
    parts = PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts, timeout_in_seconds=1)
    server.append(run_id, "s", 0)
    server.wait_for_requests(3, match="stream", timeout=6)
    for n in range(1, 6):
        server.wait_until_held(1, match="stream")
        server.drop_connections(reset=n % 2 == 0)
        server.append(run_id, "s", n)
        parts.wait(n + 1)
    assert subscription.state is State.LIVE
    server.complete_run(run_id)
    assert subscription.wait_for_completion(5) is not None
    assert parts.all == list(range(6))


def test_the_drain_is_cut_off_too(server, client):
    """A cut of the last read is not its end."""
    run_id = server.create_run(status="EXECUTING")
    parts = PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts)
    server.wait_until_held(1, match="stream")
    for cut in (0, 150, 250, 300, 400):
        server.fail_next(match="stream", cut_at=cut)
    server.append(run_id, "s", *range(50))
    server.drop_connections()
    server.complete_run(run_id)
    subscription.wait_for_completion(10)
    assert parts.all == list(range(50))


@pytest.mark.parametrize("status", [403, 404])
def test_a_run_that_may_not_be_read(status, server, client):
    """Where only the stream may be read, it ends when it was idle for its time-out."""
    run_id = server.create_run(status="EXECUTING")
    server.fail_next(match="run", status=status, times=1000)
    told, parts = Recorder(), PartRecorder()
    subscription = client.subscribe_to_stream(
        run_id, "s", on_stream=parts, timeout_in_seconds=1, **told.options
    )
    for n in range(4):
        server.append(run_id, "s", n)
        time.sleep(0.4)
    assert parts.wait(4) == [0, 1, 2, 3]
    assert not subscription.state.value.startswith("COMPLETED")
    assert subscription.wait_for_completion(5) is None
    assert (told.errors, told.completes) == ([], [])
    assert subscription.state is State.COMPLETED
    client.close()
    server.wait_for_connections(0)


def test_an_empty_answer_is_no_idle_time(server, client):
    """A stream that may be read alone does not end because one answer was empty at once."""
    run_id = server.create_run(status="EXECUTING")
    server.fail_next(match="run", status=404, times=1000)
    server.fail_next(match="stream", status=200, body="", headers=SSE)
    parts = PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts, timeout_in_seconds=2)
    server.wait_for_requests(2, match="stream")
    server.append(run_id, "s", "here")
    parts.wait(1)
    assert subscription.wait_for_completion(6) is None


SSE = {"content-type": "text/event-stream"}


@pytest.mark.parametrize("kind", ["run", "stream", "runs"])
def test_a_stream_that_is_not_found(kind, server, client):
    """It ends alone: its run and the other streams go on. Where it is all that is read, the
    subscription ends."""
    run_id = server.create_run(tags="t", status="EXECUTING", realtime_streams=["gone", "s"])
    server.fail_next(
        match=lambda request: request.kind == "stream" and request.path.endswith("/gone"),
        status=404,
        body={"error": "Not found"},
        headers={"x-should-retry": "false"},
        times=1000,
    )
    subscription, parts, told = subscribe(client, kind, run_id, key="gone")
    (error,) = told.wait("error")
    assert isinstance(error, NotFoundError)
    if kind == "stream":
        assert error.terminal
        assert subscription.state is State.FAILED
        with pytest.raises(NotFoundError):
            subscription.wait_for_completion(5)
        client.close()
        server.wait_for_connections(0)
        return
    assert not error.terminal
    server.append(run_id, "s", "more")
    parts.wait(1)
    server.complete_run(run_id)
    expected = {"expected": 1} if kind == "runs" else {}
    assert subscription.wait_for_completion(10, **expected)
    told.wait("complete")
    assert parts.all == ["more"]
    assert told.errors == [error]


def test_a_new_token_in_the_middle(server, connect):
    """401 on a stream: the callable gives another token, and the stream goes on where it was."""
    current = ["t1"]
    client = connect(server, access_token=lambda: current[0])
    run_id = server.create_run(status="EXECUTING")
    parts = PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts)
    server.append(run_id, "s", 1, 2)
    parts.wait(2)
    server.revoke("t1")
    current[0] = "t2"
    server.drop_connections()
    server.append(run_id, "s", 3)
    assert parts.wait(3) == [1, 2, 3]
    server.complete_run(run_id)
    assert subscription.wait_for_completion(5) is not None


def test_an_upgrade_in_the_middle(connect):
    """The server comes back with the other format: reading starts over, and repeats nothing."""
    parts = PartRecorder()
    with RealtimeServer("electric", streams="v1") as old:
        run_id = old.create_run(status="EXECUTING")
        old.append(run_id, "s", *range(5))
        subscription = connect(old).subscribe_to_stream(run_id, "s", on_stream=parts)
        parts.wait(5)
        old.wait_until_held(1, match="stream")
        port = urlsplit(old.url).port
    new = RealtimeServer("electric", streams="v2", port=port)
    new.create_run(id=run_id, status="EXECUTING")
    new.append(run_id, "s", *range(7))
    with new:
        parts.wait(7)
        new.complete_run(run_id)
        subscription.wait_for_completion(10)
        assert parts.all == list(range(7))


def test_nothing_is_left_behind(server, connect):
    """Completed, cancelled and closed subscriptions leave no connection."""
    runs = [server.create_run(tags="t", status="EXECUTING") for _ in range(3)]
    for run_id in runs:
        server.append(run_id, "a", 1)
        server.append(run_id, "b", 2)
    client = connect(server)
    single = client.subscribe_to_run_with_streams(runs[0])
    stream = client.subscribe_to_stream(runs[1], "a")
    many = client.subscribe_to_runs_with_streams("t")
    server.wait_until_held(9, match="stream")
    stream.cancel()
    eventually(lambda: server.open_streams == 8)
    server.complete_run(runs[0])
    single.wait_for_completion(10)
    many.wait_for_completion(10, expected=1)
    eventually(lambda: server.open_streams == 4)
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 1
    server.wait_for_connections(0)


def test_trouble_shows_in_its_state(server, client):
    """RETRYING while the stream can't be read, though the run can; then LIVE."""
    run_id = server.create_run(status="EXECUTING")
    server.fail_next(match="stream", status=503, times=1_000_000)
    told, parts = Recorder(), PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts, **told.options)
    told.wait("update")
    eventually(lambda: subscription.state is State.RETRYING)
    server.clear_faults()
    eventually(lambda: subscription.state is State.LIVE)
    server.append(run_id, "s", 1)
    parts.wait(1)
    assert told.errors == []


def test_a_callback_that_raises(server, client):
    """An `on_stream` that raises is reported, and gets the next parts."""
    run_id = server.create_run(status="EXECUTING")
    told, parts = Recorder(), PartRecorder()

    def on_stream(key: str, new: list[Any]) -> None:
        parts(key, new)
        raise RuntimeError("a bug of the user's")

    subscription = client.subscribe_to_stream(run_id, "s", on_stream=on_stream, **told.options)
    for n in range(3):
        server.append(run_id, "s", n)
        parts.wait(n + 1)
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert parts.all == [0, 1, 2]
    assert [str(error.__cause__) for error in told.errors] == ["a bug of the user's"] * 3
    assert not any(error.terminal for error in told.errors)


def test_over_tls(version, tls, bundle, connect):
    """Parts come at once, the run's end cuts the open stream off, and cancel() too."""
    with RealtimeServer(streams=version, ssl_context=tls) as server:
        client = connect(server, verify=bundle)
        runs = [server.create_run(status="EXECUTING") for _ in range(2)]
        told = [PartRecorder(), PartRecorder()]
        subscriptions = [
            client.subscribe_to_stream(run_id, "s", on_stream=parts)
            for run_id, parts in zip(runs, told, strict=True)
        ]
        for run_id, parts in zip(runs, told, strict=True):
            server.append(run_id, "s", "x" * 300_000, 1)
            parts.wait(2)
        started = time.monotonic()
        server.complete_run(runs[0])
        subscriptions[0].wait_for_completion(5)
        assert time.monotonic() - started < DRAIN[version]
        started = time.monotonic()
        subscriptions[1].cancel()
        assert time.monotonic() - started < AT_ONCE


def test_a_stream_has_the_options_of_single_runs(server, connect):
    """`task=` types its run, and it can go on after that has finished."""
    run_id = server.create_run("my-task")
    server.append(run_id, "default", "one")
    task = Task("my-task", output=dict[int, str])
    subscription = connect(server).subscribe_to_stream(run_id, task=task, stop_on_completion=False)
    server.complete_run(run_id, output={"1": "a"})
    run = subscription.wait_for_completion(20)
    assert run is not None
    assert run.output == {1: "a"}
    assert subscription.parts == ["one"]
    assert subscription.state is State.LIVE
