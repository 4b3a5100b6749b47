"""The stream of a finished run ends at a proven end, or is given up, and nothing in between."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from tests.support.raw import Exchange, Step, by_path, in_turn, reply, send
from tests.support.shape import answer, done, row, snapshot
from tests.support.streams import DONE, PartRecorder, chunked, drained, frame, head, ping
from tests.support.waiting import Recorder, eventually, threads_named
from trigger_realtime_sync import RetryPolicy, State, StreamUnreadable, Timeouts
from trigger_realtime_sync._feeds import stream_feed as streams

INTERNAL = reply(500, {}, {"error": "Internal Server Error"})
NAMED = row(realtimeStreams="{s,t}")
FINISHED = {**done(), "realtimeStreams": "{s,t}"}
UNNAMED_PING = ping()
LAST_CHUNK = b"0\r\n\r\n"


def body(version: str, *frames: bytes, ends: bool = True) -> Step:
    """A chunked body; one that does not end leaves the connection open."""
    data = b"".join(chunked(one) for one in frames) + (LAST_CHUNK if ends else b"")
    return send(head(version, transfer_encoding="chunked") + data)


def of_streams(**steps: Step) -> Step:
    """A finished run, and the answers to its streams."""
    return by_path({f"run_1/{key}": step for key, step in steps.items()}, answer(FINISHED))


@pytest.mark.parametrize(
    "first",
    [
        [],
        [frame("v2", 0)],
        [frame("v2", 0), ping(3)],
        [b": hi\n\n"],
    ],
    ids=["empty", "a batch", "a tail beyond", "a comment"],
)
def test_a_v2_body_that_does_not_say_so_proves_no_end(first, raw, connect):
    """It ended properly, and yet there was more."""
    rest = body("v2", *(frame("v2", n) for n in range(3)), DONE)
    server = raw(by_path({"/streams/": in_turn(body("v2", *first), rest)}, answer(done())))
    parts = PartRecorder()
    subscription = connect(server).subscribe_to_stream("run_1", "s", on_stream=parts)
    subscription.wait_for_completion(10)
    assert parts.all == [[0], [1], [2]]


def test_a_silence_proves_no_end(version, raw, connect, monkeypatch):
    """What was only waited out is asked again, whether the head came, a part, or pings."""
    monkeypatch.setattr(streams, "DRAIN_PATIENCE_SECONDS", 0.1)
    silent = [body(version, ends=False), body(version, frame(version, 0), ends=False)]
    rest = send(drained(version, *(frame(version, n) for n in range(3))))
    last = send(drained(version))
    server = raw(by_path({"/streams/": in_turn(*silent, rest, last)}, answer(done())))
    parts = PartRecorder()
    subscription = connect(server).subscribe_to_stream("run_1", "s", on_stream=parts)
    subscription.wait_for_completion(10)
    assert parts.all == [[0], [1], [2]]


def test_v2_is_drained_without_a_wait(raw, connect):
    """Once an answer has shown the format: with S2 before 0.39.3, whose pings name no tail, a drain
    that waits takes a second longer."""
    blind = body("v2", frame("v2", 0), UNNAMED_PING, ends=False)
    last = send(drained("v2"))
    server = raw(by_path({"/streams/": in_turn(blind, last)}, answer(done())))
    subscription = connect(server).subscribe_to_stream("run_1", "s")
    subscription.wait_for_completion(10)
    asked = [one.headers["timeout-seconds"] for one in server.exchanges if "/streams/" in one.path]
    assert asked == ["1", "0"]
    assert subscription.parts == [[0]]


def test_v1_is_drained_with_the_shortest_wait(raw, connect):
    """It would take 0 for its default of a minute."""
    steps = in_turn(send(drained("v1", frame("v1", 0))), send(drained("v1")))
    server = raw(by_path({"/streams/": steps}, answer(done())))
    connect(server).subscribe_to_stream("run_1", "s").wait_for_completion(10)
    asked = [one.headers["timeout-seconds"] for one in server.exchanges if "/streams/" in one.path]
    assert set(asked) == {"1"}


@pytest.mark.parametrize("fault", ["500", "416", "unreachable", "no proof"])
def test_an_unreadable_stream_does_not_keep_its_run(fault, raw, connect):
    """It is given up and reported; the other stream, and the run, are complete."""
    failing = {
        "500": INTERNAL,
        "416": reply(416, {"x-stream-version": "v2"}, {"tail": {"seq_num": 0}}),
        "unreachable": send(b""),
        "no proof": body("v2", frame("v2", 0)),
    }[fault]
    server = raw(of_streams(s=failing, t=send(drained("v2", frame("v2", 7)))))
    client = connect(server, stream_patience=0.3, timeouts=Timeouts(read=0.2))
    told, parts = Recorder(), PartRecorder()
    subscription = client.subscribe_to_run_with_streams("run_1", on_stream=parts, **told.options)
    assert subscription.wait_for_completion(10).is_success
    assert subscription.state is State.COMPLETED
    assert parts.by_stream["t"] == [[7]]
    (error,) = told.errors
    assert isinstance(error, StreamUnreadable)
    assert (error.terminal, error.run_id, error.stream) == (False, "run_1", "s")
    assert "stream s of run run_1" in str(error)
    if fault in ("500", "416"):
        assert fault in str(error)
    assert [kind for kind, _ in told.events] == ["update", "error", "complete"]
    asked = [one for one in server.exchanges if one.path.endswith("/s")]
    assert len(asked) >= 3


def test_alone_it_fails(raw, connect):
    """There is nothing else to read."""
    server = raw(by_path({"/streams/": INTERNAL}, answer(done())))
    client = connect(server, stream_patience=0)
    subscription = client.subscribe_to_stream("run_1", "s")
    with pytest.raises(StreamUnreadable) as caught:
        subscription.wait_for_completion(10)
    assert caught.value.terminal
    assert subscription.state is State.FAILED


def test_a_server_that_asks_for_more_than_the_patience(raw, connect):
    """An hour's `Retry-After` is the last answer."""
    later = reply(503, {"retry-after": "3600"}, "")
    server = raw(of_streams(s=later, t=send(drained("v2"))))
    told = Recorder()
    subscription = connect(server).subscribe_to_run_with_streams("run_1", **told.options)
    assert subscription.wait_for_completion(10).is_success
    assert isinstance(told.errors[0], StreamUnreadable)


def test_a_lost_stream_is_told_before_its_run_is_complete(raw, connect):
    """Though the run's other stream ends at that moment, and the log takes its time."""

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is lost" in record.getMessage():
                eventually(lambda: not threads_named("stream-feed run_1 t"))

    handler, logger = Slow(), logging.getLogger("trigger_realtime_sync")
    server = raw(of_streams(s=reply(404), t=send(drained("v2"))))
    told = Recorder()
    logger.addHandler(handler)
    try:
        subscription = connect(server).subscribe_to_run_with_streams("run_1", **told.options)
        assert subscription.wait_for_completion(10).is_success
    finally:
        logger.removeHandler(handler)
    assert [kind for kind, _ in told.events] == ["update", "error", "complete"]


def test_a_long_back_off_leaves_time_for_the_last_reads(raw, connect, monkeypatch):
    """The pauses of a stream that failed while its run lived don't outlast the patience."""
    finished = threading.Event()
    run_feed = in_turn(answer(NAMED), wait_for(finished), answer(FINISHED, offset="2_1"))
    server = raw(by_path({"/streams/": INTERNAL}, run_feed))
    retry = RetryPolicy(initial_delay=3600, max_delay=3600)
    client = connect(server, stream_patience=0.4, retry=retry)
    subscription = client.subscribe_to_run_with_streams("run_1")
    eventually(lambda: sum("/streams/" in one.path for one in server.exchanges) == 2)
    finished.set()
    assert subscription.wait_for_completion(10).is_success


def wait_for(event: threading.Event) -> Step:
    """Answer a live poll once an event is set."""

    def step(exchange: Exchange) -> None:
        event.wait(20)
        answer(FINISHED, offset="2_1")(exchange)

    return step


def test_a_v2_body_that_fell_silent_is_dead_sooner(raw, connect, monkeypatch):
    """Pings come every 5 to 15 s; before its first byte, only `Timeouts.read` bounds it."""
    monkeypatch.setattr(streams, "V2_SILENCE_SECONDS", 0.2)
    begun = body("v2", frame("v2", 0), ping(1), ends=False)
    later = body("v2", frame("v2", 1), ends=False)
    server = raw(by_path({"/streams/": in_turn(begun, slowly(later, 0.6))}, snapshot(row())))
    parts = PartRecorder()
    connect(server).subscribe_to_stream("run_1", "s", on_stream=parts)
    assert parts.wait(2, 5) == [[0], [1]]
    assert sum("/streams/" in one.path for one in server.exchanges) == 2


def slowly(step: Step, seconds: float) -> Step:
    """Answer only after some seconds."""

    def late(exchange: Exchange) -> None:
        time.sleep(seconds)
        step(exchange)

    return late


def test_a_draining_body_is_not_left_for_the_turn(raw, connect, monkeypatch):
    """Where more streams wait than are read at once: a v1 server ends a body at a step of 5 s, and
    one that is left before that proves nothing, for ever."""
    monkeypatch.setattr(streams, "TURN_SECONDS", 0)
    monkeypatch.setattr("trigger_realtime_sync._channel.stream_readers.MOST_READERS", 1)
    keys = [f"s{n}" for n in range(4)]
    runs = {**done(), "realtimeStreams": "{" + ",".join(keys) + "}"}

    def stream(exchange: Exchange) -> None:
        exchange.send(head("v1", transfer_encoding="chunked") + chunked(frame("v1", 0)))
        time.sleep(0.6)
        exchange.send(chunked(b'id: 1795414755001-0\ndata: "rest"\n\n') + LAST_CHUNK)

    server = raw(by_path({"/streams/": stream}, answer(runs)))
    subscription = connect(server).subscribe_to_run_with_streams("run_1")
    subscription.wait_for_completion(20)
    assert subscription.streams == {key: [[0], "rest"] for key in keys}


def test_what_is_asked_for_stays_below_the_time_out(raw, connect):
    """An answer that is held back until its end must come before the connection counts as dead."""
    for seconds, read, asked in (
        (60, 45, "40"),
        (10, 45, "10"),
        (600, 1000, "600"),
        (60, 0.5, "1"),
    ):
        server = raw(by_path({"/streams/": body("v2", ends=False)}, snapshot(row())))
        client = connect(server, timeouts=Timeouts(read=read))
        client.subscribe_to_stream("run_1", "s", timeout_in_seconds=seconds)
        stream: Any = eventually(
            lambda server=server: [one for one in server.exchanges if "/streams/" in one.path]
        )
        assert stream[0].headers["timeout-seconds"] == asked
        client.close()


def test_a_half_line_on_a_slow_link_is_no_part(fed, connect):
    """With a short time-out no ping separates what the server flushed when it gave up: it may come
    without a gap, after the time that the server waited."""
    parts = PartRecorder()
    connect(fed).subscribe_to_stream("run_1", "s", on_stream=parts, timeout_in_seconds=1)
    first = fed.next_stream()
    first.send(head("v1", transfer_encoding="chunked"))
    for n in range(6):
        first.send(chunked(f"id: {1795414755000 + n}-0\ndata: {n + 1}0\n\n".encode()))
        time.sleep(0.2)
    first.send(chunked(b"id: 1795414755005-0\ndata: 7\n\n") + LAST_CHUNK)
    first.end()
    second = fed.next_stream()
    second.send(head("v1", transfer_encoding="chunked"))
    for n in range(3, 8):
        second.send(chunked(f"id: {1795414755000 + n}-0\ndata: {n + 1}0\n\n".encode()))
    assert parts.wait(8) == [n * 10 for n in range(1, 9)]
    second.end()
