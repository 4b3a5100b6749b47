"""Streams that the storage trimmed, lost or put back, and where a reader begins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.raw import Exchange, Step, by_path, hold, in_turn, send
from tests.support.shape import answer, done, row, snapshot
from tests.support.streams import PartRecorder, chunked, drained, frame, head, ping
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import ProtocolError, State, StreamRewound, StreamTrimmed
from trigger_realtime_sync._feeds import stream_feed as streams
from trigger_realtime_sync.testing import RealtimeServer

BEYOND = "999999999999999"


def body(*frames: bytes, version: str = "v2", cut: bool = False) -> Step:
    """A body that stays open, or is cut."""
    data = head(version, transfer_encoding="chunked") + b"".join(map(chunked, frames))

    def step(exchange: Exchange) -> None:
        exchange.send(data)
        if not cut:
            exchange.hold()
        exchange.end()
        exchange.sock.close()

    return step


def asked(server: Any, name: str = "last-event-id") -> list[str | None]:
    return [one.headers.get(name) for one in server.exchanges if "/streams/" in one.path]


def frames(start: int, end: int) -> list[bytes]:
    return [frame("v2", n) for n in range(start, end)]


@pytest.mark.parametrize("shown", [[ping(2)], [frame("v2", 2, "new 2")]], ids=["ping", "record"])
@pytest.mark.parametrize("kind", ["stream", "run"])
def test_a_lost_stream_is_read_from_its_beginning(kind, shown, raw, connect):
    """What was written since is not dropped in silence: it is told, and the loss once."""
    new = [frame("v2", n, f"new {n}") for n in range(3)]
    steps = in_turn(body(*frames(0, 5), cut=True), body(*shown), body(*new))
    server = raw(by_path({"/streams/": steps}, snapshot(row(realtimeStreams="{s}"))))
    parts, told = PartRecorder(), Recorder()
    client = connect(server)
    options = {**told.options, "on_stream": parts}
    if kind == "stream":
        subscription = client.subscribe_to_stream("run_1", "s", **options)
    else:
        subscription = client.subscribe_to_run_with_streams("run_1", **options)
    parts.wait(8)
    assert parts.all == [*([n] for n in range(5)), "new 0", "new 1", "new 2"]
    (error,) = told.wait("error")
    assert isinstance(error, StreamRewound)
    assert isinstance(error, ProtocolError)
    assert (error.terminal, error.run_id, error.stream) == (False, "run_1", "s")
    assert subscription.state is State.LIVE
    assert asked(server) == [None, "4", None]


def test_a_stream_that_was_put_back_repeats_nothing(raw, connect):
    """The records that came back are known by id and body."""
    steps = in_turn(
        body(*frames(0, 5), cut=True), body(ping(3)), body(*frames(0, 3), frame("v2", 3, "new"))
    )
    server = raw(by_path({"/streams/": steps}, snapshot(row())))
    parts = PartRecorder()
    connect(server).subscribe_to_stream("run_1", "s", on_stream=parts)
    assert parts.wait(6) == [[0], [1], [2], [3], [4], "new"]


def test_a_loss_before_the_drain_is_seen(raw, connect):
    """After a read that failed the drain waits for a ping: without one, nothing would tell."""

    def drain(exchange: Exchange) -> None:
        was_asked_not_to_wait = exchange.headers["timeout-seconds"] == "0"
        exchange.send(drained("v2") if was_asked_not_to_wait else drained("v2", ping(2)))

    again = send(drained("v2", *frames(0, 2)))
    steps = in_turn(body(*frames(0, 5), cut=True), drain, again)
    run = in_turn(answer(row()), answer(done(), offset="2_1"))
    server = raw(by_path({"/streams/": steps}, run))
    parts, told = PartRecorder(), Recorder()
    subscription = connect(server).subscribe_to_stream(
        "run_1", "s", on_stream=parts, **told.options
    )
    subscription.wait_for_completion(10)
    assert isinstance(told.errors[0], StreamRewound)


def test_trimmed_records_are_named(raw, connect):
    """Parts that were dropped while the connection was down are missing, and that is said."""
    steps = in_turn(body(*frames(0, 3), cut=True), body(frame("v2", 7), ping(8)))
    server = raw(by_path({"/streams/": steps}, snapshot(row())))
    parts, told = PartRecorder(), Recorder()
    connect(server).subscribe_to_stream("run_1", "s", on_stream=parts, **told.options)
    assert parts.wait(4) == [[0], [1], [2], [7]]
    (error,) = told.wait("error")
    assert isinstance(error, StreamTrimmed)
    assert "records 3 to 6" in str(error)
    assert (error.terminal, error.run_id, error.stream) == (False, "run_1", "s")


def test_parts_that_v1_dropped_are_told_in_the_same_way(connect):
    """It keeps about a thousand entries."""
    with RealtimeServer(streams="v1") as server:
        run_id = server.create_run(status="EXECUTING")
        parts, told = PartRecorder(), Recorder()
        subscription = connect(server).subscribe_to_stream(
            run_id, "s", on_stream=parts, **told.options
        )
        server.append(run_id, "s", *range(5))
        parts.wait(5)
        subscription.disable()
        server.append(run_id, "s", *range(5, 3000))
        subscription.enable()
        parts.wait(100)
        (error,) = told.wait("error")
        assert isinstance(error, StreamTrimmed)


def test_from_latest_on_v2(raw, connect):
    """No server reads the header: an id beyond the tail is clamped to it by every one."""

    def stream(exchange: Exchange) -> None:
        last = exchange.headers.get("last-event-id")
        start = 5 if last == BEYOND else int(last or -1) + 1
        body(*frames(start, 5), ping(5), frame("v2", 5))(exchange)

    server = raw(by_path({"/streams/": stream}, snapshot(row())))
    parts = PartRecorder()
    connect(server).subscribe_to_stream("run_1", "s", on_stream=parts, from_latest=True)
    assert parts.wait(1) == [[5]]
    assert asked(server) == [BEYOND]


@pytest.mark.parametrize("silence", [hold(), body(version="v1")], ids=["no head", "v1"])
def test_from_latest_on_v1(silence, raw, connect, monkeypatch):
    """Such an id waits for ever there: it is asked for by the header, which servers may read."""
    monkeypatch.setattr(streams, "HEAD_SECONDS", 0.3)
    first = frame("v1", 1)
    server = raw(
        by_path({"/streams/": in_turn(silence, body(first, version="v1"))}, snapshot(row()))
    )
    parts = PartRecorder()
    connect(server).subscribe_to_stream("run_1", "s", on_stream=parts, from_latest=True)
    assert parts.wait(1, 3) == [[1]]
    assert asked(server) == [BEYOND, None]
    assert asked(server, "x-trigger-stream-start") == [None, "latest"]


def test_start_index_on_v2_reads_no_more_than_a_batch_before_it(raw, connect):
    """Not the whole stream from its beginning."""
    server = raw(by_path({"/streams/": body(*frames(4998, 5002), ping(5002))}, snapshot(row())))
    parts = PartRecorder()
    connect(server).subscribe_to_stream("run_1", "s", on_stream=parts, start_index=5000)
    assert parts.wait(2) == [[5000], [5001]]
    assert asked(server) == ["3999"]


def test_start_index_on_v1_counts_parts(raw, connect):
    """The id of a record means nothing there."""
    both = [frame("v1", n) for n in range(5)]
    server = raw(by_path({"/streams/": body(*both, version="v1")}, snapshot(row())))
    parts = PartRecorder()
    connect(server).subscribe_to_stream("run_1", "s", on_stream=parts, start_index=3)
    assert parts.wait(2) == [[3], [4]]
    server = raw(by_path({"/streams/": body(*both, version="v1")}, snapshot(row())))
    connect(server).subscribe_to_stream("run_1", "s", start_index=1500)
    eventually(lambda: asked(server) == ["499", None])


def test_a_done_that_follows_a_loss_is_no_end(raw, connect):
    """The stream that is there now is read first."""
    lost = send(drained("v2", *frames(0, 2)))
    server = raw(by_path({"/streams/": lost}, answer(done())))
    subscription = connect(server).subscribe_to_stream("run_1", "s", last_event_id="v2:50,50")
    subscription.wait_for_completion(10)
    assert subscription.parts == [[0], [1]]


@pytest.mark.parametrize("left", [0, 3], ids=["lost", "put back"])
def test_a_loss_is_seen_where_no_ping_names_the_tail(left, raw, connect):
    """S2 before 0.39.3 shows nothing of it to who comes back after the last write: so the last
    record is read again after a failure."""

    def stream(exchange: Exchange) -> None:
        last = int(exchange.headers.get("last-event-id") or -1)
        if len(asked(server)) == 1:
            body(*frames(0, 6), cut=True)(exchange)
        else:
            there = [*frames(0, left), *(frame("v2", n, f"new {n}") for n in range(left, 5))]
            send(drained("v2", *there[last + 1 :], ping()))(exchange)

    run = in_turn(answer(row()), answer(done(), offset="2_1"))
    server = raw(by_path({"/streams/": stream}, run))
    parts, told = PartRecorder(), Recorder()
    subscription = connect(server).subscribe_to_stream(
        "run_1", "s", on_stream=parts, **told.options
    )
    subscription.wait_for_completion(10)
    assert parts.all == [*([n] for n in range(6)), *(f"new {n}" for n in range(left, 5))]
    assert [type(error) for error in told.errors] == [StreamRewound]
    assert asked(server)[:3] == [None, "5", "4"]


def test_a_stream_that_is_whole_is_no_loss(raw, connect):
    """The last record is there, and the same: nothing is told twice, and nobody is alarmed."""

    def stream(exchange: Exchange) -> None:
        last = int(exchange.headers.get("last-event-id") or -1)
        if len(asked(server)) == 1:
            body(*frames(0, 6), cut=True)(exchange)
        else:
            send(drained("v2", *frames(last + 1, 6), ping()))(exchange)

    run = in_turn(answer(row()), answer(done(), offset="2_1"))
    server = raw(by_path({"/streams/": stream}, run))
    told = Recorder()
    subscription = connect(server).subscribe_to_stream("run_1", "s", **told.options)
    subscription.wait_for_completion(10)
    assert subscription.parts == [[n] for n in range(6)]
    assert not told.errors


def test_another_record_in_the_place_of_the_last_is_a_loss(raw, connect):
    """The stream was lost, and what was written since ends just there."""

    def stream(exchange: Exchange) -> None:
        last = int(exchange.headers.get("last-event-id") or -1)
        if len(asked(server)) == 1:
            body(*frames(0, 6), cut=True)(exchange)
        else:
            new = [frame("v2", n, f"new {n}") for n in range(last + 1, 6)]
            send(drained("v2", *new, ping()))(exchange)

    run = in_turn(answer(row()), answer(done(), offset="2_1"))
    server = raw(by_path({"/streams/": stream}, run))
    told = Recorder()
    subscription = connect(server).subscribe_to_stream("run_1", "s", **told.options)
    subscription.wait_for_completion(10)
    assert subscription.parts[6:] == [f"new {n}" for n in range(6)]
    assert [type(error) for error in told.errors] == [StreamRewound]


def test_a_stream_that_was_trimmed_to_nothing_is_no_loss(raw, connect):
    """Nothing tells it from a lost one until something is written: its number does."""

    def stream(exchange: Exchange) -> None:
        count = len(asked(server))
        if count == 1:
            body(*frames(0, 6), cut=True)(exchange)
        elif count < 5:
            send(drained("v2", ping()))(exchange)
        else:
            body(frame("v2", 6), ping())(exchange)

    server = raw(by_path({"/streams/": stream}, snapshot(row())))
    parts, told = PartRecorder(), Recorder()
    connect(server).subscribe_to_stream("run_1", "s", on_stream=parts, **told.options)
    assert parts.wait(7) == [[n] for n in range(7)]
    assert not told.errors
