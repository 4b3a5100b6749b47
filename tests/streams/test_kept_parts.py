"""What `.parts` and `.streams` keep of streams: a bound by bytes, the oldest first."""

from __future__ import annotations

import inspect
import logging
import threading
from typing import Any

import pytest

from tests.support.streams import PartRecorder
from tests.support.waiting import Gate, eventually
from trigger_realtime_sync import Parts, RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer

# Parts of about this many bytes, with what the stream formats add.
PART = "x" * 1000


def numbered(*numbers: int) -> list[list[Any]]:
    return [[number, PART] for number in numbers]


def numbers_of(parts: Any) -> list[int]:
    return [number for number, _ in parts]


def test_it_is_64_mib_unless_it_is_said():
    """In every method that takes streams."""
    for name in ("subscribe_to_stream", "subscribe_to_run_with_streams"):
        parameter = inspect.signature(getattr(RealtimeClient, name)).parameters["max_part_bytes"]
        assert parameter.default == 64 * 1024 * 1024
    many = inspect.signature(RealtimeClient.subscribe_to_runs_with_streams).parameters
    assert many["max_part_bytes"].default == 64 * 1024 * 1024


def test_the_newest_are_kept(server, connect, caplog):
    """They fit, the others are counted, and the log says it once."""
    run_id = server.create_run()
    subscription = connect(server).subscribe_to_stream(run_id, "s", max_part_bytes=20_000)
    for first in range(0, 100, 10):
        server.append(run_id, "s", *numbered(*range(first, first + 10)))
        eventually(lambda first=first: numbers_of(subscription.parts)[-1:] == [first + 9])
    server.complete_run(run_id)
    subscription.wait_for_completion(20)
    kept = numbers_of(subscription.parts)
    assert 5 <= len(kept) <= 22
    assert kept == list(range(100 - len(kept), 100))
    assert subscription.dropped_parts == 100 - len(kept)
    warned = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.getMessage() for one in warned] == [
        f"stream s of run {run_id}: parts that came in more than max_part_bytes=20000 are dropped,"
        " the oldest first"
    ]


def test_all_are_kept_without_a_bound(server, connect):
    """`None` means what `max_parts` means by it."""
    run_id = server.create_run()
    subscription = connect(server).subscribe_to_stream(run_id, "s", max_part_bytes=None)
    server.append(run_id, "s", *numbered(*range(100)))
    server.complete_run(run_id)
    subscription.wait_for_completion(20)
    assert len(subscription.parts) == 100
    assert subscription.dropped_parts == 0


def test_a_callback_misses_nothing(server, connect):
    """What it has still to take is never dropped, however little is kept; it is told the index."""
    run_id = server.create_run()
    gate, recorder = Gate(), PartRecorder()

    def on_stream(key: str, parts: Parts[Any]) -> None:
        assert parts.first_index == len(recorder.all)
        recorder(key, parts)
        gate()

    subscription = connect(server).subscribe_to_stream(
        run_id, "s", max_part_bytes=3000, on_stream=on_stream
    )
    server.append(run_id, "s", *numbered(0))
    assert gate.entered.wait(10)
    for first in range(1, 101, 20):
        server.append(run_id, "s", *numbered(*range(first, first + 20)))
    eventually(lambda: numbers_of(subscription.parts)[-1:] == [100])
    assert len(subscription.parts) >= 100
    gate.go.set()
    server.complete_run(run_id)
    subscription.wait_for_completion(20)
    assert numbers_of(recorder.all) == list(range(101))
    assert len(subscription.parts) <= 5
    assert subscription.dropped_parts == 101 - len(subscription.parts)


def test_an_iterator_misses_nothing(server, connect):
    """From where it began on, though nothing is kept for its own sake."""
    run_id = server.create_run()
    subscription = connect(server).subscribe_to_stream(run_id, "s", max_part_bytes=1)
    updates = subscription.updates(timeout=10)
    server.append(run_id, "s", *numbered(*range(50)))
    assert numbers_of([next(updates)]) == [0]
    server.append(run_id, "s", *numbered(*range(50, 100)))
    server.complete_run(run_id)
    subscription.wait_for_completion(20)
    assert numbers_of(updates) == list(range(1, 100))
    assert subscription.parts == []
    assert subscription.dropped_parts == 100


def test_who_comes_late_begins_with_what_is_kept(server, connect):
    """An iterator and a callback alike; the callback sees how many it has missed."""
    run_id = server.create_run()
    client = connect(server)
    told: list[tuple[int, list[int]]] = []
    first = client.subscribe_to_stream(run_id, "s", id="shared", max_part_bytes=10_000)
    server.append(run_id, "s", *numbered(*range(100)))
    eventually(lambda: numbers_of(first.parts)[-1:] == [99])
    kept = numbers_of(first.parts)
    client.subscribe_to_stream(
        run_id,
        "s",
        id="shared",
        max_part_bytes=10_000,
        on_stream=lambda key, parts: told.append((parts.first_index, numbers_of(parts))),
    )
    eventually(lambda: told)
    assert told[0] == (kept[0], kept)
    assert numbers_of([next(first.updates(timeout=10))]) == kept[:1]


def test_the_streams_of_a_run_share_it(server, connect):
    """One that is silent makes room for one that is not."""
    run_id = server.create_run(realtime_streams=["a", "b"])
    subscription = connect(server).subscribe_to_run_with_streams(run_id, max_part_bytes=20_000)
    server.append(run_id, "a", *numbered(*range(10)))
    eventually(lambda: len(subscription.streams.get("a", ())) == 10)
    server.append(run_id, "b", *numbered(*range(50)))
    server.complete_run(run_id)
    subscription.wait_for_completion(20)
    streams = subscription.streams
    assert streams["a"] == []
    assert 5 <= len(streams["b"]) <= 22
    assert subscription.dropped_parts == 60 - len(streams["b"])


def test_the_runs_of_a_tag_share_it(server, connect):
    """All their streams together, and each of them tells its callback everything."""
    runs = [server.create_run(tags=["t"], realtime_streams=["a"]) for _ in range(4)]
    recorder = PartRecorder()
    subscription = connect(server).subscribe_to_runs_with_streams(
        "t", max_part_bytes=20_000, on_stream=recorder
    )
    for run_id in runs:
        server.append(run_id, "a", *numbered(*range(15)))
    recorder.wait(60)
    assert {stream: numbers_of(parts) for stream, parts in recorder.by_stream.items()} == {
        (run_id, "a"): list(range(15)) for run_id in runs
    }
    kept = [part for streams in subscription.streams.values() for part in streams["a"]]
    assert 5 <= len(kept) <= 22
    assert subscription.dropped_parts == 60 - len(kept)


def test_it_counts_what_max_parts_drops_too(server, connect):
    """What `.parts` has and what it had make what came."""
    run_id = server.create_run()
    subscription = connect(server).subscribe_to_stream(run_id, "s", max_parts=3)
    server.append(run_id, "s", *range(10))
    server.complete_run(run_id)
    subscription.wait_for_completion(20)
    assert subscription.parts == [7, 8, 9]
    assert subscription.dropped_parts == 7


def test_who_wants_to_keep_more_has_a_connection_of_its_own(server, connect):
    """Two bounds are two targets, under one id the later one takes it over."""
    run_id = server.create_run()
    client = connect(server)
    small = client.subscribe_to_stream(run_id, "s", id="x", max_part_bytes=5000)
    large = client.subscribe_to_stream(run_id, "s", id="x")
    assert small.state.is_ended
    assert not large.state.is_ended


def test_one_that_comes_back_goes_on_where_it_was(server, connect):
    """What the cache keeps of a stream whose beginning was dropped is not read again."""
    run_id = server.create_run()
    client = connect(server)
    first = client.subscribe_to_stream(run_id, "s", id="x", max_part_bytes=10_000)
    server.append(run_id, "s", *numbered(*range(50)))
    eventually(lambda: numbers_of(first.parts)[-1:] == [49])
    dropped = first.dropped_parts
    first.cancel()
    again = client.subscribe_to_stream(run_id, "s", id="x", max_part_bytes=10_000)
    assert again.dropped_parts == dropped
    server.append(run_id, "s", *numbered(50))
    eventually(lambda: numbers_of(again.parts)[-1:] == [50])
    assert again.dropped_parts + len(again.parts) == 51


def test_what_is_read_again_does_not_count(connect):
    """A server before 4.1.2 begins each body at the oldest entry: the bytes of what was told before
    are not those of the next part."""
    with RealtimeServer(streams="v1", stream_ids=False) as server:
        run_id = server.create_run()
        subscription = connect(server).subscribe_to_stream(run_id, "s", max_part_bytes=10_000)
        server.append(run_id, "s", *numbered(*range(50)))
        eventually(lambda: numbers_of(subscription.parts)[-1:] == [49])
        server.drop_connections()
        server.append(run_id, "s", *numbered(50))
        eventually(lambda: numbers_of(subscription.parts)[-1:] == [50])
        assert 5 <= len(subscription.parts) <= 12


def test_the_cache_shares_a_bound(server, connect, monkeypatch):
    """Of ids that were not used for long the parts are dropped, and read again."""
    client = connect(server)
    monkeypatch.setattr(client._engine.registry._cache, "_most_part_bytes", 30_000)
    runs = [server.create_run() for _ in range(5)]
    for run_id in runs:
        server.append(run_id, "s", *numbered(*range(10)))
        subscription = client.subscribe_to_stream(run_id, "s", id=run_id)
        eventually(lambda subscription=subscription: len(subscription.parts) == 10)
        subscription.cancel()
    at_once = [
        len(client.subscribe_to_stream(run_id, "s", id=run_id, enabled=False).parts)
        for run_id in runs
    ]
    assert at_once[0] == 0
    assert at_once[-1] == 10
    assert 0 < sum(at_once) <= 30
    again = client.subscribe_to_stream(runs[0], "s", id=runs[0])
    eventually(lambda: numbers_of(again.parts) == list(range(10)))


def test_a_handler_of_the_log_may_look_at_the_parts(server, connect):
    """The warning is written without a lock."""
    run_id = server.create_run()
    looked = threading.Event()
    subscription = connect(server).subscribe_to_stream(run_id, "s", max_part_bytes=3000)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "max_part_bytes" in record.getMessage():
                assert subscription.parts is not None
                assert subscription.state is not None
                looked.set()

    handler = Handler()
    logging.getLogger("trigger_realtime_sync").addHandler(handler)
    try:
        server.append(run_id, "s", *numbered(*range(20)))
        assert looked.wait(10)
    finally:
        logging.getLogger("trigger_realtime_sync").removeHandler(handler)


@pytest.mark.parametrize("given", [0, -1, True, 1.5, "1 MB", 64e6])
@pytest.mark.parametrize(
    "method",
    ["subscribe_to_stream", "subscribe_to_run_with_streams", "subscribe_to_runs_with_streams"],
)
def test_what_it_can_not_be(server, connect, method, given):
    """It is refused before anything is sent."""
    with pytest.raises(ValueError, match="max_part_bytes must be a whole number of at least 1"):
        getattr(connect(server), method)("run_1", max_part_bytes=given)
    assert not server.requests
