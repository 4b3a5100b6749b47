"""`last_event_id`: stored with the parts, it goes on exactly, in another client or process."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.support.scripts import run
from tests.support.streams import PartRecorder
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer


def write_awkwardly(server: RealtimeServer, version: str, run_id: str) -> list[Any]:
    """Several parts in one entry, parts torn over entries, blank lines, retries, commands."""
    if version == "v1":
        lines = ["0\n1\n", "\n2\n", '{"n"', ":3}\n4\n", "\n5", "\n6\n7\n\n", "8\n", '"ni', 'ne"\n']
        server.append_raw(run_id, "s", *lines)
        return [0, 1, 2, {"n": 3}, 4, 5, 6, 7, 8, "nine"]
    bodies = [{"body": {"data": n, "id": f"i{n}"}} for n in range(10)]
    command = {"headers": [["", "trim"]], "body": "AAAA"}
    server.append_records(run_id, "s", *bodies[:4], bodies[3], command, *bodies[4:], bodies[9])
    return list(range(10))


class Stopper:
    """An `on_stream` that stores the place in each call, with how many parts came before it."""

    def __init__(self) -> None:
        self.subscription: Any = None
        self.made = threading.Event()
        self.stored: list[tuple[int, str]] = []
        self.parts = PartRecorder()

    def __call__(self, key: str, parts: list[Any]) -> None:
        self.made.wait(10)
        self.parts(key, parts)
        self.stored.append((len(self.parts.all), self.subscription.last_event_id))


def test_stored_inside_on_stream(server, connect):
    """Each place that a callback saw goes on right after the parts of that call."""
    run_id = server.create_run(status="EXECUTING")
    stopper = Stopper()
    stopper.subscription = connect(server).subscribe_to_stream(run_id, "s", on_stream=stopper)
    stopper.made.set()
    for n in range(6):
        server.append(run_id, "s", {"n": n})
        stopper.parts.wait(n + 1)
    eventually(lambda: len(stopper.stored) == 6)
    stopper.subscription.cancel()
    server.append(run_id, "s", {"n": 6})
    for count, place in stopper.stored:
        parts = PartRecorder()
        with connect(server) as client:
            client.subscribe_to_stream(run_id, "s", on_stream=parts, last_event_id=place)
            parts.wait(7 - count)
            assert parts.all == [{"n": n} for n in range(count, 7)]


def test_at_every_part_of_updates(version, server, connect):
    """An iterator stopped after any part, within an entry too, is taken up exactly there."""
    run_id = server.create_run(status="EXECUTING")
    wanted = write_awkwardly(server, version, run_id)
    server.complete_run(run_id)
    places = []
    subscription = connect(server).subscribe_to_stream(run_id, "s")
    for _ in subscription.updates():
        places.append(subscription.last_event_id)
    assert len(places) == len(wanted)
    subscriptions = [
        connect(server).subscribe_to_stream(run_id, "s", last_event_id=place) for place in places
    ]
    for n, subscription in enumerate(subscriptions, 1):
        assert list(subscription.updates()) == wanted[n:]


def test_stopped_in_the_middle_and_written_on(version, server, connect):
    """Stopped at each part while more is still to be written, a torn line included."""
    run_id = server.create_run(status="EXECUTING")
    wanted = write_awkwardly(server, version, run_id)
    places = []
    with connect(server) as client:
        subscription = client.subscribe_to_stream(run_id, "s")
        updates = subscription.updates()
        for _ in wanted:
            next(updates)
            places.append(subscription.last_event_id)
    server.append(run_id, "s", "more", ["end"])
    server.complete_run(run_id)
    subscriptions = [
        connect(server).subscribe_to_stream(run_id, "s", last_event_id=place) for place in places
    ]
    for n, subscription in enumerate(subscriptions, 1):
        assert list(subscription.updates()) == [*wanted[n:], "more", ["end"]]


def test_in_another_process(server, client):
    """The place is plain text: another process goes on from it."""
    run_id = server.create_run(status="EXECUTING")
    server.append(run_id, "s", *range(5))
    stopper = Stopper()
    stopper.subscription = client.subscribe_to_stream(run_id, "s", on_stream=stopper)
    stopper.made.set()
    stopper.parts.wait(5)
    eventually(lambda: stopper.stored and stopper.stored[-1][0] == 5)
    stopper.subscription.cancel()
    server.append(run_id, "s", "a", {"b": 1})
    server.complete_run(run_id)
    script = """
        import json, sys
        from trigger_realtime_sync import RealtimeClient
        url, run_id, place = sys.argv[1:]
        with RealtimeClient("tr_x", base_url=url) as client:
            subscription = client.subscribe_to_stream(run_id, "s", last_event_id=place)
            print(json.dumps(list(subscription.updates())))
    """
    place = stopper.stored[-1][1]
    ran = run(script, server.url, run_id, place)
    assert json.loads(ran.out) == ["a", {"b": 1}], ran.err


def test_a_misfit_is_not_told_again(version, connect):
    """Reading goes on after a part that did not fit as after any other."""
    with RealtimeServer(streams=version) as server:
        run_id = server.create_run(status="EXECUTING")
        parts, errors = PartRecorder(), []
        subscription = connect(server).subscribe_to_stream(
            run_id, "s", on_stream=parts, part_type=int, on_error=errors.append
        )
        server.append(run_id, "s", 1, "not a number")
        parts.wait(1)
        server.wait_until_held(1, match="stream")
        subscription.disable()
        subscription.enable()
        server.append(run_id, "s", 2)
        parts.wait(2)
        server.complete_run(run_id)
        subscription.wait_for_completion(10)
        assert parts.all == [1, 2]
        assert len(errors) == 1


@pytest.mark.parametrize("index", [0, 1, 4, 10, 50])
def test_start_index(index, version, server, connect):
    """Counts parts on v1. On v2 it is the number of a record: retries and commands count too."""
    run_id = server.create_run(status="EXECUTING")
    wanted = write_awkwardly(server, version, run_id)
    numbers = [*range(4), *range(6, 12)] if version == "v2" else range(10)
    server.complete_run(run_id)
    subscription = connect(server).subscribe_to_stream(run_id, "s", start_index=index)
    wanted = [part for number, part in zip(numbers, wanted, strict=True) if number >= index]
    assert list(subscription.updates()) == wanted


@pytest.fixture
def heeding_server(version):
    """On v1 one that reads `X-Trigger-Stream-Start`, as none does so far."""
    with RealtimeServer(streams=version, stream_start=version == "v1") as server:
        yield server


def test_from_latest(version, heeding_server, connect):
    """Starts at the end of what is there; a cut after that loses nothing. On v1 the first request,
    in the way of v2, is of no use."""
    server, client = heeding_server, connect(heeding_server)
    run_id = server.create_run(status="EXECUTING")
    server.append(run_id, "s", *range(5))
    parts = PartRecorder()
    client.subscribe_to_stream(run_id, "s", on_stream=parts, from_latest=True)
    if version == "v1":
        server.wait_for_requests(2, match="stream")
        # The first one is gone: that of the run is left, and the second.
        server.wait_for_connections(2)
    server.wait_until_held(1, match="stream")
    server.append(run_id, "s", "new")
    assert parts.wait(1) == ["new"]
    server.drop_connections()
    server.append(run_id, "s", "newer")
    assert parts.wait(2) == ["new", "newer"]


def test_max_parts_bounds_what_is_kept(server, client):
    """`.parts` and `.streams` keep the last ones; `on_stream` gets all."""
    run_id = server.create_run(tags=["t"])
    server.append(run_id, "a", *range(900))
    server.complete_run(run_id)
    told = [PartRecorder() for _ in range(3)]
    stream = client.subscribe_to_stream(run_id, "a", on_stream=told[0], max_parts=10)
    one = client.subscribe_to_run_with_streams(run_id, on_stream=told[1], max_parts=3)
    many = client.subscribe_to_runs_with_streams("t", on_stream=told[2], max_parts=0)
    for subscription, options in ((stream, {}), (one, {}), (many, {"expected": 1})):
        subscription.wait_for_completion(20, **options)
    assert stream.parts == list(range(890, 900))
    assert one.streams == {"a": [897, 898, 899]}
    assert many.streams == {run_id: {"a": []}}
    for parts in told:
        assert parts.all == list(range(900))
    with pytest.raises(ValueError, match="max_parts must be a whole number of at least 0"):
        client.subscribe_to_run_with_streams(run_id, max_parts=-1)
