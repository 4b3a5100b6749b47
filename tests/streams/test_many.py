"""Many runs with streams: bounded connections, and every stream advances."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support.clocks import shorten
from tests.support.streams import PartRecorder
from tests.support.waiting import Gate, Recorder, eventually, threads_named
from trigger_realtime_sync.testing import RealtimeServer

MOST_READERS = 64


class Peak:
    """The most connections, and the most streams, that were open at once."""

    def __init__(self, server: RealtimeServer) -> None:
        self.connections = self.readers = 0
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self.connections = max(self.connections, self._server.open_connections)
            self.readers = max(self.readers, len(threads_named("trigger-realtime stream-feed")))


def test_three_hundred_finished_runs(server, connect):
    """All their parts come, over a bounded number of connections, which are closed after."""
    runs = [server.create_run(tags="t", status="EXECUTING") for _ in range(300)]
    for n, run_id in enumerate(runs):
        server.append(run_id, "s", n, "last")
        server.complete_run(run_id)
    client = connect(server)
    parts, told = PartRecorder(), Recorder()
    with Peak(server) as peak:
        subscription = client.subscribe_to_runs_with_streams("t", on_stream=parts, **told.options)
        assert len(subscription.wait_for_completion(30, expected=300)) == 300
    assert parts.by_stream == {(run_id, "s"): [n, "last"] for n, run_id in enumerate(runs)}
    assert len(told.completes) == 300
    assert peak.readers <= MOST_READERS
    assert peak.connections <= 2 * MOST_READERS
    eventually(lambda: not threads_named("trigger-realtime stream-feed"))
    client.close()
    server.wait_for_connections(0)


@pytest.mark.parametrize("busy", [False, True], ids=["quiet", "busy"])
def test_more_live_runs_than_readers(busy, server, connect):
    """Where more streams live than may be read at once, each gets its turn, also while the others
    never fall silent."""
    runs = [
        server.create_run(tags="t", status="EXECUTING", realtime_streams=["s"]) for _ in range(90)
    ]
    parts = PartRecorder()
    subscription = connect(server).subscribe_to_runs_with_streams("t", on_stream=parts)
    server.wait_until_held(MOST_READERS, match="stream", timeout=30)
    over = threading.Event()

    def keep_busy() -> None:
        while not over.wait(0.4):
            for run_id in runs:
                server.append(run_id, "s", "token")

    thread = threading.Thread(target=keep_busy if busy else lambda: None)
    thread.start()
    try:
        for turn in range(2):
            for run_id in runs:
                server.append(run_id, "s", turn)
            eventually(
                lambda turn=turn: sum(turn in got for got in parts.by_stream.values()) == 90,
                f"each part of turn {turn}",
                seconds=25,
            )
    finally:
        over.set()
        thread.join()
    for run_id in runs:
        server.complete_run(run_id)
    subscription.wait_for_completion(30, expected=90)
    for got in parts.by_stream.values():
        assert [part for part in got if part != "token"] == [0, 1]


def test_a_run_that_starts_late_finds_a_place(server, connect):
    """When all places are taken by silent streams, a new stream need not wait for their idle
    close of a minute."""
    first = [
        server.create_run(tags="t", status="EXECUTING", realtime_streams=["s"])
        for _ in range(MOST_READERS)
    ]
    parts = PartRecorder()
    connect(server).subscribe_to_runs_with_streams("t", on_stream=parts)
    server.wait_until_held(MOST_READERS, match="stream", timeout=30)
    late = server.create_run(tags="t", status="EXECUTING")
    server.append(late, "s", "here")
    assert parts.wait(1, seconds=20) == ["here"]
    server.append(first[0], "s", "still")
    parts.wait(2, seconds=15)


def test_fifty_streams_at_a_thousand_parts_a_second(version, connect):
    """Nothing is lost or reordered, and callbacks come at the throttle's pace."""
    seconds, throttle = 3.0, 0.1
    with RealtimeServer(streams=version) as server:
        runs = [server.create_run(tags="t", status="EXECUTING") for _ in range(10)]
        for run_id in runs:
            for key in "abcde":
                server.append(run_id, key, 0)
        parts = PartRecorder()
        client = connect(server, throttle_in_ms=throttle * 1000)
        subscription = client.subscribe_to_runs_with_streams("t", on_stream=parts)
        parts.wait(50)
        started = time.monotonic()
        count = 1
        while (now := time.monotonic()) - started < seconds:
            # 50 streams, 20 parts a second each.
            if now - started < count / 20:
                time.sleep(0.002)
                continue
            for run_id in runs:
                for key in "abcde":
                    server.append(run_id, key, count)
            count += 1
        for run_id in runs:
            server.complete_run(run_id)
        subscription.wait_for_completion(20, expected=10)
        wanted = list(range(count))
        assert parts.by_stream == {(run, key): wanted for run in runs for key in "abcde"}
        assert count > 40
        while_written = [at for at in parts.times if started < at < started + seconds]
        starts = rounds(while_written, throttle / 2)
        assert len(starts) <= seconds / throttle + 2
        assert len(starts) >= seconds / throttle / 3


def rounds(times: list[float], gap: float) -> list[float]:
    """When each group of calls began that lie closer together than the gap."""
    return [at for before, at in zip([0.0, *times], times, strict=False) if at - before > gap]


@pytest.mark.parametrize("is_read", [False, True], ids=["unread", "untaken"])
def test_a_finished_run_that_its_window_left_behind(connect, monkeypatch, is_read):
    """A rotation moves the window past a finished run whose last parts are still to be read, or to
    be delivered: they come, and it completes."""
    clock, gate, parts, told = shorten(monkeypatch), Gate(), PartRecorder(), Recorder()
    with RealtimeServer("electric") as server:
        run = server.create_run(tags="t", status="EXECUTING")
        server.append(run, "s", 1)
        subscription = connect(server).subscribe_to_runs_with_streams(
            "t", on_stream=lambda *what: (parts(*what), gate()), **told.options
        )
        assert gate.entered.wait(10)
        if not is_read:
            server.fail_next(match="stream", times=100_000, status=503)
            server.drop_connections()
        server.append(run, "s", 2)
        server.complete_run(run)
        eventually(lambda: [one.is_finished for one in subscription.runs] == [True])
        clock.let_a_day_pass()
        server.clear_requests()
        server.rotate()
        server.wait_for_requests(1, match="runs", live=True, timeout=10)
        server.clear_faults()
        gate.go.set()
        subscription.wait_for_completion(10, expected=1)
        assert parts.by_stream == {(run, "s"): [1, 2]}
        assert len(told.completes) == 1
