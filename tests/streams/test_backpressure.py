"""A subscriber that is slow or stuck holds the server back, and nobody else."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from tests.support.raw import Exchange
from tests.support.streams import PartRecorder, chunked, frame, head
from tests.support.waiting import AT_ONCE, Gate, Recorder, eventually
from trigger_realtime_sync import State
from trigger_realtime_sync.testing import RealtimeServer

# What one stream may have waiting, and what one read may bring on top of that.
MOST_WAITING = 2_000
ONE_READ = 3_000


class StuckFirst(PartRecorder):
    """Takes its first parts and hangs until it is let go; then takes all."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    def __call__(self, *arguments: Any) -> None:
        super().__call__(*arguments)
        if not self.gate.go.is_set():
            self.gate()


def settled(measure: Any) -> int:
    """The value once it no longer grows."""
    last = -1
    while (now := measure()) != last:
        last = now
        time.sleep(0.4)
    return last


def test_a_stuck_callback_stops_the_reading(version, fed, connect):
    """The server's socket fills up: what is taken is bounded. Let go, all comes, in order."""
    stuck = StuckFirst()
    subscription = connect(fed).subscribe_to_stream("run_1", "s", on_stream=stuck)
    stream = fed.next_stream()
    stream.send(head(version, transfer_encoding="chunked"))
    total = 40_000
    sent = pour(stream, version, 0, total)
    assert stuck.gate.entered.wait(5)
    # What the kernel's buffers hold comes on top.
    assert settled(lambda: len(subscription.parts)) <= MOST_WAITING + ONE_READ + len(
        stuck.batches[0]
    )
    assert settled(lambda: sent[0]) < total
    stuck.gate.go.set()
    stuck.wait(total, 30)
    assert indexes(stuck.all) == list(range(total))
    stream.end()


PADDING = "x" * 500


def numbered(version: str, n: int) -> bytes:
    """Part number `n`: this number and padding, so that many of them fill a socket."""
    return frame(version, n, [n, PADDING])


def pour(stream: Exchange, version: str, first: int, total: int) -> list[int]:
    """Sends these parts from another thread; how many were sent so far, in a list of one."""
    sent = [first]

    def send_all() -> None:
        while sent[0] < total:
            last = min(sent[0] + 100, total)
            stream.send(chunked(b"".join(numbered(version, n) for n in range(sent[0], last))))
            sent[0] = last

    threading.Thread(target=send_all, daemon=True).start()
    return sent


def indexes(parts: list[Any]) -> list[int]:
    return [n for n, _ in parts]


def write_lines(
    server: RealtimeServer, version: str, run_id: str, key: str, parts: list[Any]
) -> None:
    """As one entry, for a v1 server keeps no more than a thousand."""
    if version == "v1":
        server.append_raw(run_id, key, "".join(f"{json.dumps(part)}\n" for part in parts))
    else:
        server.append(run_id, key, *parts)


def test_only_its_own_subscription_waits(version, server, client):
    """While one subscriber is stuck, others get parts and updates, of the same run too."""
    run_id = server.create_run(tags="t", status="EXECUTING")
    stuck, free, told = StuckFirst(), PartRecorder(), Recorder()
    held = client.subscribe_to_run_with_streams(run_id, on_stream=stuck)
    other = client.subscribe_to_stream(run_id, "a", on_stream=free, **told.options)
    server.append(run_id, "a", 0)
    server.append(run_id, "b", 0)
    assert stuck.gate.entered.wait(5)
    for n in range(1, 10):
        write_lines(server, version, run_id, "a", [n] * 500)
    free.wait(1 + 9 * 500)
    server.update_run(run_id, metadata={"n": 1})
    eventually(lambda: told.updates and told.updates[-1].metadata == {"n": 1})
    # The stuck one's own state is current as well, only its callbacks wait.
    eventually(lambda: held.run is not None and held.run.metadata == {"n": 1})
    server.complete_run(run_id)
    assert other.wait_for_completion(10) is not None
    assert held.state is State.LIVE
    stuck.gate.go.set()
    held.wait_for_completion(10)
    assert sorted(map(len, held.streams.values())) == [1, 1 + 9 * 500]
    assert stuck.by_stream == held.streams


def test_run_updates_coalesce_behind_it(server, client):
    """Updates queue behind a slow `on_stream`: the latest state comes once it returned."""
    run_id = server.create_run(status="EXECUTING")
    stuck, told = StuckFirst(), Recorder()
    subscription = client.subscribe_to_run_with_streams(run_id, on_stream=stuck, **told.options)
    told.wait("update")
    server.append(run_id, "s", 0)
    assert stuck.gate.entered.wait(5)
    before = len(told.updates)
    for n in range(30):
        server.update_run(run_id, metadata={"n": n})
        eventually(lambda n=n: subscription.run.metadata == {"n": n})
    assert len(told.updates) == before
    stuck.gate.go.set()
    eventually(lambda: told.updates[-1].metadata == {"n": 29})
    assert len(told.updates) <= before + 2
    assert told.overlaps == 0


def test_cancel_and_close_need_not_wait(version, server, connect):
    """However stuck a callback is, `cancel()` returns at once, and `close()` within bounds."""
    run_id = server.create_run(status="EXECUTING")
    write_lines(server, version, run_id, "s", list(range(10_000)))
    client = connect(server)
    stuck = [StuckFirst() for _ in range(3)]
    subscriptions = [client.subscribe_to_stream(run_id, "s", on_stream=one) for one in stuck]
    for one in stuck:
        assert one.gate.entered.wait(5)
    taken = len(stuck[1].batches[0])
    assert settled(lambda: len(subscriptions[1].parts)) <= MOST_WAITING + ONE_READ + taken
    started = time.monotonic()
    subscriptions[0].cancel()
    assert time.monotonic() - started < AT_ONCE
    eventually(lambda: server.open_connections <= 4, "still read")
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 3
    server.wait_for_connections(0)
    counts = [len(one.batches) for one in stuck]
    for one in stuck:
        one.gate.go.set()
    eventually(lambda: all(not one.gate.entered.is_set() or one.gate.go.is_set() for one in stuck))
    assert [len(one.batches) for one in stuck] == counts == [1, 1, 1]


def test_the_slowest_of_joined_subscriptions_sets_the_pace(version, fed, connect):
    """The quick subscription of an id waits for the stuck one, until that is cancelled."""
    client = connect(fed)
    stuck, quick = StuckFirst(), PartRecorder()
    slow = client.subscribe_to_stream("run_1", "s", on_stream=stuck, id="x")
    client.subscribe_to_stream("run_1", "s", on_stream=quick, id="x")
    stream = fed.next_stream()
    stream.send(head(version, transfer_encoding="chunked") + chunked(numbered(version, 0)))
    assert stuck.gate.entered.wait(5)
    quick.wait(1)
    total = 40_000
    pour(stream, version, 1, total)
    assert settled(lambda: len(quick.all)) <= MOST_WAITING + ONE_READ
    slow.cancel()
    assert indexes(quick.wait(total, 30)) == list(range(total))
    stuck.gate.go.set()
    stream.end()


def test_an_iterator_holds_the_server_back_too(version, fed, connect):
    """A slow reader of `updates()` is a slow subscriber; closing the iterator lets go."""
    subscription = connect(fed).subscribe_to_stream("run_1", "s")
    updates = subscription.updates(timeout=10)
    stream = fed.next_stream()
    stream.send(head(version, transfer_encoding="chunked") + chunked(numbered(version, 0)))
    assert next(updates)[0] == 0
    total = 20_000
    pour(stream, version, 1, total)
    assert settled(lambda: len(subscription.parts)) <= MOST_WAITING + ONE_READ
    assert indexes([next(updates) for _ in range(9_999)]) == list(range(1, 10_000))
    updates.close()
    eventually(lambda: len(subscription.parts) == total)
    assert indexes(subscription.parts) == list(range(total))
    stream.end()


def test_an_iterator_that_nobody_holds(version, fed, connect):
    """An iterator that was dropped without a word holds nothing back."""
    subscription = connect(fed).subscribe_to_stream("run_1", "s")
    updates = subscription.updates(timeout=10)
    stream = fed.next_stream()
    stream.send(head(version, transfer_encoding="chunked") + chunked(numbered(version, 0)))
    next(updates)
    pour(stream, version, 1, 10_000)
    assert settled(lambda: len(subscription.parts)) < 10_000
    del updates
    eventually(lambda: len(subscription.parts) == 10_000)
    stream.end()


def test_a_half_line_sent_while_it_stalled(fed, connect):
    """v1: stalls that add up to the idle time hide that the server gave up waiting for the rest of
    a line; that line's first half is not taken for a part."""
    large = "x" * 1_400_000
    parts = PartRecorder()

    def on_stream(key: str, new: list[Any]) -> None:
        time.sleep(0.9)
        parts(key, new)

    client = connect(fed)
    client.subscribe_to_stream("run_1", "s", on_stream=on_stream, timeout_in_seconds=4)
    before = b"".join(f'id: {n}-0\ndata: "{n}{large}"\n\n'.encode() for n in range(1, 6))
    first = fed.next_stream()
    first.send(head("v1", transfer_encoding="chunked") + chunked(before))
    first.send(chunked(b"id: 6-0\ndata: 12\n\n"))
    first.send(b"0\r\n\r\n")
    first.end()
    second = fed.next_stream()
    after = int(second.headers.get("last-event-id", "0-0").split("-")[0])
    again = [f'id: {n}-0\ndata: "{n}{large}"\n\n' for n in range(after + 1, 6)]
    rest = "".join([*again, "id: 7-0\ndata: 123\n\n"]).encode()
    second.send(head("v1", transfer_encoding="chunked") + chunked(rest))
    assert parts.wait(6)[5] == 123
    assert [part[0] for part in parts.all[:5]] == list("12345")
    second.end()


def test_waiting_for_parts_in_their_own_callback(server, connect):
    """It would hold back the very parts that it waits for."""
    run_id = server.create_run()
    server.append(run_id, "default", "one")
    raised: list[Any] = []

    def on_stream(key: str, parts: list[Any]) -> None:
        try:
            next(subscription.updates())
        except RuntimeError as error:
            raised.append(error)

    subscription = connect(server).subscribe_to_stream(run_id, on_stream=on_stream, enabled=False)
    subscription.enable()
    eventually(lambda: raised)
    assert "inside its own callback" in str(raised[0])
