"""The moment in which a run finishes, seen from its stream."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import Any

import pytest

from tests.support.raw import Hangup
from tests.support.streams import DONE, FedServer, chunked, drained, frame, head, ping
from tests.support.waiting import eventually
from trigger_realtime_sync import State, StreamUnreadable
from trigger_realtime_sync._channel import part_store as _parts
from trigger_realtime_sync._feeds import stream_feed as streams


def test_a_finished_runs_stream_is_asked_for_once(fed, connect):
    """The first read knows that the run has finished: it is not cut off by that news."""
    fed.finish()
    subscription = connect(fed).subscribe_to_stream("run_1", "s")
    exchange = fed.next_stream()
    assert exchange.headers["timeout-seconds"] == "1"
    exchange.send(head("v2", transfer_encoding="chunked") + chunked(frame("v2", 1)))
    exchange.send(chunked(ping(2)))
    assert subscription.wait_for_completion(5).is_success
    assert subscription.parts == [[1]]
    exchange.end()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_is_being_sent_is_read_first(version, fed, connect):
    """A body that is not silent when its run finishes is left to go on until it is."""
    subscription = connect(fed).subscribe_to_stream("run_1", "s")
    first = fed.next_stream()
    first.send(head(version, transfer_encoding="chunked") + chunked(frame(version, 1)))
    updates = subscription.updates(timeout=5)
    assert next(updates) == [1]
    # PartRecorder keep coming while the run finishes, and for longer than a silence would take.
    for n in range(2, 12):
        first.send(chunked(frame(version, n)))
        if n == 3:
            fed.finish()
        time.sleep(0.02)
    second = fed.next_stream()
    assert subscription.parts == [[n] for n in range(1, 12)]
    first.end()
    second.end()


@pytest.mark.parametrize("pings", [False, True])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_server_that_never_ends_its_last_answer(version, pings, fed, connect, monkeypatch):
    """Whether the connection is silent or only says that it is alive, that proves no end: it is
    asked again, and given up after the client's patience."""
    monkeypatch.setattr(streams, "DRAIN_PATIENCE_SECONDS", 0.1)
    fed.finish()
    client = connect(fed, stream_patience=0.2)
    subscription = client.subscribe_to_stream("run_1", "s")
    exchange, asked = fed.next_stream(), 1
    begin = head(version, transfer_encoding="chunked")
    exchange.send(begin + chunked(frame(version, 1)))
    deadline = time.monotonic() + 10
    while subscription.state is not State.FAILED and time.monotonic() < deadline:
        with contextlib.suppress(queue.Empty):
            exchange = fed.next_stream(0.05)
            asked += 1
            with contextlib.suppress(Hangup):
                exchange.send(begin)
        with contextlib.suppress(Hangup):
            exchange.send(chunked(b": ping\n\n") if pings else b"")
    error = subscription.error
    assert isinstance(error, StreamUnreadable)
    assert (error.terminal, error.run_id, error.stream) == (True, "run_1", "s")
    assert subscription.parts == [[1]]
    assert asked >= 3


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_slow_subscriber_is_no_silence_of_the_server(version, fed, connect, monkeypatch):
    """However long a callback takes, the last parts of a finished run are read after it."""
    monkeypatch.setattr(streams, "DRAIN_PATIENCE_SECONDS", 2.0)
    monkeypatch.setattr(_parts, "MOST_PARTS_WAITING", 2)
    told: list[Any] = []
    entered = threading.Event()

    def on_stream(key: str, parts: list[Any]) -> None:
        if not told:
            entered.set()
            # The reading waits for this one by then, and for longer than its patience.
            eventually(lambda: len(subscription.parts) >= 3)
            time.sleep(2.2)
        told.extend(parts)

    fed.finish()
    subscription = connect(fed).subscribe_to_stream(
        "run_1", "s", on_stream=on_stream, enabled=False
    )
    subscription.enable()
    exchange = fed.next_stream()
    exchange.send(head(version, transfer_encoding="chunked"))
    for n in (1, 2, 3):
        exchange.send(chunked(frame(version, n)))
        # The first is taken alone, and the next two are as many as may wait.
        assert entered.wait(10)
    if version == "v1":
        # What came meanwhile may have been cut short by the server: it is asked again.
        again = fed.next_stream()
        exchange.end()
        again.send(drained(version, *(frame(version, n) for n in (1, 2, 3, 4))))
        again.end()
        exchange = fed.next_stream()
        exchange.send(drained(version))
    else:
        exchange.send(chunked(frame(version, 4) + DONE))
    subscription.wait_for_completion(10)
    exchange.end()
    assert told == [[1], [2], [3], [4]]


def test_an_event_that_trickles_in_is_waited_for(fed, connect, monkeypatch):
    """It may take longer than any silence would: bytes come, if no part yet."""
    subscription = drain(fed, connect, monkeypatch, patience=2.0)
    exchange = fed.next_stream()
    exchange.send(head("v2", transfer_encoding="chunked"))
    whole = frame("v2", 7)
    for at in range(0, len(whole), 10):
        exchange.send(chunked(whole[at : at + 10]))
        time.sleep(2.5 / len(whole) * 10)
    exchange.send(chunked(frame("v2", 8) + ping(9)))
    assert subscription.wait_for_completion(10).is_success
    assert subscription.parts == [[7], [8]]
    exchange.end()


def test_an_event_that_is_cut_off_after_a_long_silence_is_asked_for_again(
    fed, connect, monkeypatch
):
    """A connection that breaks within an event has not said all."""
    subscription = drain(fed, connect, monkeypatch, patience=0.1)
    first = fed.next_stream()
    first.send(head("v2", transfer_encoding="chunked") + chunked(frame("v2", 1)[:-5]))
    second = fed.next_stream()
    second.send(head("v2", transfer_encoding="chunked") + chunked(frame("v2", 1)))
    second.send(chunked(ping(2)))
    assert subscription.wait_for_completion(10).is_success
    assert subscription.parts == [[1]]
    first.end()
    second.end()


def test_a_server_that_takes_long_to_answer_is_waited_for(fed, connect, monkeypatch):
    """Before its head only `Timeouts.read` bounds the silence."""
    subscription = drain(fed, connect, monkeypatch, patience=2.0)
    exchange = fed.next_stream()
    time.sleep(2.2)
    exchange.send(head("v2", transfer_encoding="chunked") + chunked(b": here\n\n"))
    time.sleep(0.02)
    exchange.send(chunked(frame("v2", 1) + ping(2)))
    assert subscription.wait_for_completion(10).is_success
    assert subscription.parts == [[1]]
    exchange.end()


def drain(fed: FedServer, connect: Any, monkeypatch: pytest.MonkeyPatch, patience: float) -> Any:
    """The subscription to a stream whose run has finished."""
    monkeypatch.setattr(streams, "DRAIN_PATIENCE_SECONDS", patience)
    fed.finish()
    return connect(fed).subscribe_to_stream("run_1", "s")
