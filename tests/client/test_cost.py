"""What a subscription costs: memory when idle, work when there is some."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import shape
from tests.support.scripts import run
from tests.support.waiting import eventually
from trigger_realtime_sync._decode import packets
from trigger_realtime_sync._decode.rows import RowDecoder

IDLE = 500
SERVER = """
import sys
from trigger_realtime_sync.testing import RealtimeServer
with RealtimeServer(sys.argv[1], hold=300) as server:
    for index in range(int(sys.argv[2])):
        server.create_run(id=f"run_{index}")
    print(server.url, flush=True)
    sys.stdin.read()
"""
CLIENT = """
import sys, time
from trigger_realtime_sync import *
count = int(sys.argv[2])

def rss():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

client = RealtimeClient("tr_x", base_url=sys.argv[1])
def follow(first, last):
    subscriptions = [client.subscribe_to_run(f"run_{index}") for index in range(first, last)]
    end = time.monotonic() + 60
    while not all(subscription.run is not None for subscription in subscriptions):
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.3)

follow(0, 20)
before = rss()
follow(20, count)
print((rss() - before) // (count - 20))
"""


@pytest.fixture(params=["native", "electric"])
def apart(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server in another process, whose memory is its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, request.param, str(IDLE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=sys.prefix,
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
    )
    with process:
        yield process.stdout.readline().strip()
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_an_idle_subscription_is_small(apart):
    """Five hundred of them take at most 100 KB of memory each."""
    ran = run(CLIENT, apart, str(IDLE))
    assert ran.err == ""
    assert int(ran.out) <= 100 * 1024


def snapshot(count: int) -> bytes:
    rows = [shape.message(shape.row(f"run_{index}", index)) for index in range(count)]
    return json.dumps([*rows, shape.UP_TO_DATE]).encode()


class OneChange:
    """A snapshot of so many runs, then one change each time that `go` is set."""

    def __init__(self, count: int) -> None:
        self._body = snapshot(count)
        self.version = 100_000
        self.go = threading.Semaphore(0)

    def __call__(self, exchange: Any) -> None:
        if not exchange.live:
            exchange.answer(200, shape.headers("0_0"), self._body)
            return
        self.go.acquire(timeout=30)
        self.version += 1
        row = shape.row("run_7", self.version)
        shape.answer(row, offset=f"{self.version}_0", operation="update")(exchange)


def seconds_of(raw: Any, connect: Any, count: int) -> float:
    """CPU time of a snapshot with its callbacks."""
    told = 0
    done = threading.Event()

    def on_update(run: Any) -> None:
        nonlocal told
        told += 1
        if told == count:
            done.set()

    feed = OneChange(count)
    client = connect(raw(feed))
    started = time.process_time()
    subscription = client.subscribe_to_runs_with_tag("t", on_update=on_update)
    assert done.wait(60)
    taken = time.process_time() - started
    assert len(subscription.runs) == count
    subscription.cancel()
    feed.go.release()
    return taken


@pytest.fixture
def _clean_heap() -> Iterator[None]:
    """Keep the garbage collector from scanning what other tests left, again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_clean_heap")
def test_a_snapshot_is_linear(raw, connect):
    """Twenty thousand runs cost no more for each than five thousand do."""
    small = min(seconds_of(raw, connect, 5_000) for _ in range(2)) / 5_000
    large = min(seconds_of(raw, connect, 20_000) for _ in range(2)) / 20_000
    assert large / small < 2


@pytest.mark.parametrize("count", [10, 20_000])
def test_one_change_among_many_is_one(raw, connect, monkeypatch, count):
    """One row decoded, one callback, whatever the number of runs that did not change."""
    decoded = 0
    one, many = RowDecoder.decode, RowDecoder.decode_many

    def decode(self: RowDecoder, *arguments: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return one(self, *arguments)

    def decode_many(self: RowDecoder, rows: Any) -> Any:
        nonlocal decoded
        decoded += len(rows)
        return many(self, rows)

    monkeypatch.setattr(RowDecoder, "decode", decode)
    monkeypatch.setattr(RowDecoder, "decode_many", decode_many)
    feed = OneChange(count)
    told = 0

    def on_update(run: Any) -> None:
        nonlocal told
        told += 1

    subscription = connect(raw(feed)).subscribe_to_runs_with_tag("t", on_update=on_update)
    for step in range(6):
        eventually(lambda s=step: told == count + s, seconds=60)  # type: ignore[misc]
        assert decoded == count + step
        feed.go.release()
    subscription.cancel()
    feed.go.release()


def test_one_change_among_many_takes_no_longer(raw, connect):
    """In CPU time, too: sorting or comparing all the others would show."""

    def cost(count: int) -> float:
        feed = OneChange(count)
        updates = 0
        arrived = threading.Semaphore(0)

        def on_update(run: Any) -> None:
            nonlocal updates
            updates += 1
            if updates >= count:
                arrived.release()

        subscription = connect(raw(feed)).subscribe_to_runs_with_tag("t", on_update=on_update)
        assert arrived.acquire(timeout=60)
        started = time.process_time()
        for _ in range(100):
            feed.go.release()
            assert arrived.acquire(timeout=10)
        taken = time.process_time() - started
        subscription.cancel()
        feed.go.release()
        return taken

    few = min(cost(10) for _ in range(2))
    many = min(cost(20_000) for _ in range(2))
    assert many < 3 * few


def test_what_is_not_read_is_not_decoded(server, connect, monkeypatch):
    """A subscriber that looks at the status alone pays for nothing else."""
    decoded: list[Any] = []
    original = packets.PacketValue.read

    def read(self: Any) -> Any:
        decoded.append(self)
        return original(self)

    monkeypatch.setattr(packets.PacketValue, "read", read)
    run_id = server.create_run(payload={"a": 1}, metadata={"b": 2})
    subscription = connect(server).subscribe_to_run(run_id, on_update=lambda run: run.status)
    server.wait_until_held(1)
    server.complete_run(run_id, output=[3])
    run_ = subscription.wait_for_completion(5)
    assert decoded == []
    assert run_.output == [3]
    eventually(lambda: len(decoded) == 1)
