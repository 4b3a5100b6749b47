"""Our client on a real S2: positions, records that are no parts, absent streams, slow readers."""

from __future__ import annotations

import time

import pytest

from tests.s2.process import STRICT, trim_record
from tests.support.process import resident_mb
from tests.support.streams import PartRecorder
from tests.support.waiting import Gate, Recorder, eventually
from trigger_realtime_sync import AuthenticationError, NotFoundError, State, StreamUnreadable

# What is to be seen within seconds, on a machine that does other things too.
SOON = 8.0


def envelopes(*numbers):
    return [(f"id{number}", number) for number in numbers]


def test_a_position_outlives_both_processes(place):
    """A client that begins where another one was, after S2 was killed: each part once."""
    here = place(disk=True)
    run_id = here.create_run("s")
    here.s2.append_parts(run_id, "s", *envelopes(*range(10)))
    before = PartRecorder()
    with here.client() as client:
        subscription = client.subscribe_to_stream(run_id, "s", on_stream=before)
        before.wait(10)
        position = subscription.last_event_id
    here.s2.kill()
    here.s2.start()
    here.s2.append_parts(run_id, "s", *envelopes(9, *range(10, 20)))
    after = PartRecorder()
    here.client().subscribe_to_stream(run_id, "s", on_stream=after, last_event_id=position)
    after.wait(10)
    assert [*before.all, *after.all] == list(range(20))


def test_records_that_are_no_parts(place):
    """Fences, trims, control records and retried writes are passed over."""
    here = place()
    run_id = here.create_run("s")
    parts, seen = PartRecorder(), Recorder()
    subscription = here.client().subscribe_to_run_with_streams(
        run_id, on_stream=parts, **seen.options
    )
    here.s2.append_parts(run_id, "s", *envelopes(0, 1))
    here.s2.append(run_id, "s", {"headers": [["", "fence"]], "body": "token"})
    here.s2.append(run_id, "s", {"headers": [["trigger-control", "turn-complete"]]})
    parts.wait(2)
    here.s2.append(run_id, "s", trim_record(1))
    here.s2.append_parts(run_id, "s", *envelopes(1, 2))
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(SOON)
    assert parts.all == [0, 1, 2]
    assert seen.errors == []


def test_the_route_asks_for_the_token_and_the_run(place):
    """As the server does, before it asks S2."""
    here = place(tokens=["tr_good"])
    bad = here.client(access_token="tr_bad")
    with pytest.raises(AuthenticationError):
        bad.subscribe_to_stream(here.create_run("s"), "s").wait_for_completion(SOON)
    good = here.client(access_token="tr_good")
    with pytest.raises(NotFoundError):
        good.subscribe_to_stream("run_missing", "s").wait_for_completion(SOON)


def test_a_stream_that_nothing_was_written_to(place):
    """Where reading creates it, its run completes as soon as it has finished."""
    here = place()
    run_id = here.create_run("s")
    subscription = here.client().subscribe_to_run_with_streams(run_id)
    eventually(lambda: subscription.run)
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(SOON)
    assert subscription.streams.get("s", []) == []


def test_an_absent_stream_that_is_written_to_later(place):
    """Where reading does not create it, it is a failure that is waited out while the run runs."""
    here = place(basin=STRICT)
    run_id = here.create_run("s")
    parts = PartRecorder()
    subscription = here.client().subscribe_to_run_with_streams(run_id, on_stream=parts)
    eventually(lambda: len([one for one in here.route.exchanges if "/streams/" in one.path]) > 1)
    here.s2.append(run_id, "s", {"body": '{"data":"late","id":"i"}'}, basin=STRICT)
    assert parts.wait(1) == ["late"]
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(SOON)


def test_a_stream_that_stays_absent(place):
    """The run has finished: its stream is given up, which is reported, and the run completes."""
    here = place(basin=STRICT)
    run_id = here.create_run("s")
    seen = Recorder()
    client = here.client(stream_patience=1.0)
    subscription = client.subscribe_to_run_with_streams(run_id, **seen.options)
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(SOON)
    (error,) = seen.errors
    assert isinstance(error, StreamUnreadable)
    assert (error.run_id, error.stream, error.terminal) == (run_id, "s", False)
    assert len(seen.completes) == 1


def test_a_stream_alone_that_stays_absent(place):
    """A subscription to nothing but this stream ends with the error."""
    here = place(basin=STRICT)
    run_id = here.create_run("s")
    subscription = here.client(stream_patience=1.0).subscribe_to_stream(run_id, "s")
    here.runs.complete_run(run_id)
    with pytest.raises(StreamUnreadable):
        subscription.wait_for_completion(SOON)
    assert subscription.state is State.FAILED


def test_a_finished_run_is_drained_at_once(place):
    """No silence has to be waited out: S2 says at once that nothing is left."""
    here = place()
    run_id = here.create_run(*"abcd")
    for key in "abcd":
        for first in (0, 750):
            here.s2.append_parts(run_id, key, *envelopes(*range(first, first + 750)))
    here.runs.complete_run(run_id)
    parts = PartRecorder()
    started = time.monotonic()
    here.client().subscribe_to_run_with_streams(run_id, on_stream=parts).wait_for_completion(SOON)
    assert parts.by_stream == {key: list(range(1500)) for key in "abcd"}
    assert time.monotonic() - started < SOON / 2


def test_a_slow_reader_holds_s2_back(place):
    """A callback that is stuck: memory stays bounded, and nothing is lost once it goes on."""
    here = place()
    run_id = here.create_run("s")
    size, count = 700_000, 120
    stuck = Gate()
    parts = PartRecorder()

    def on_stream(key, new):
        parts(key, [part[0] for part in new])
        if not stuck.go.is_set():
            stuck(key)

    before = resident_mb()
    subscription = here.client().subscribe_to_stream(run_id, "s", on_stream=on_stream, max_parts=1)
    for number in range(count):
        here.s2.append_parts(run_id, "s", (f"id{number}", [number, "x" * size]))
    assert stuck.entered.wait(SOON)
    last = -1
    while (now := int(resident_mb())) != last:
        last = now
        time.sleep(0.5)
    assert now - before < count * size / 1e6 / 2
    stuck.go.set()
    assert parts.wait(count, 30) == list(range(count))
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(SOON)
