"""What S2 loses is said: records that were trimmed, a stream that its storage lost."""

from __future__ import annotations

from urllib.error import HTTPError

from tests.s2.process import trim_record
from tests.support.streams import PartRecorder
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import StreamRewound, StreamTrimmed

SOON = 10.0


def envelopes(*numbers):
    return [(f"id{number}", number) for number in numbers]


def test_a_stream_that_its_storage_lost(place):
    """S2 is killed without a disk: what is written from then on is delivered, and the loss told."""
    here = place()
    run_id = here.create_run("s")
    parts, seen = PartRecorder(), Recorder()
    subscription = here.client().subscribe_to_run_with_streams(
        run_id, on_stream=parts, **seen.options
    )
    here.s2.append_parts(run_id, "s", *envelopes(*range(20)))
    parts.wait(20)
    here.s2.kill()
    here.s2.start()
    # The task's writer writes what it has not been told of again, with its id.
    here.s2.append_parts(run_id, "s", *envelopes(19, 20, 21))
    parts.wait(22, SOON)
    here.s2.append_parts(run_id, "s", *envelopes(22))
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(SOON)
    assert parts.all == list(range(23))
    (error,) = seen.errors
    assert isinstance(error, StreamRewound)
    assert (error.run_id, error.stream, error.terminal) == (run_id, "s", False)


def test_a_stream_that_was_lost_when_its_run_had_finished(place):
    """Nobody followed it meanwhile, and a drain names no tail: it is noticed all the same."""
    here = place()
    run_id = here.create_run("s")
    parts, seen = PartRecorder(), Recorder()
    subscription = here.client().subscribe_to_run_with_streams(
        run_id, on_stream=parts, **seen.options
    )
    here.s2.append_parts(run_id, "s", *envelopes(*range(20)))
    parts.wait(20)
    here.route.cut_after = 0
    here.route.cut()
    here.s2.kill()
    here.s2.start()
    here.s2.append_parts(run_id, "s", *envelopes(20, 21))
    here.runs.complete_run(run_id)
    eventually(lambda: subscription.run.is_finished)
    here.route.cut_after = None
    subscription.wait_for_completion(SOON)
    assert parts.all == list(range(22))
    assert [type(error) for error in seen.errors] == [StreamRewound]


def test_a_stream_that_is_deleted_while_it_is_read(place):
    """What was read stays; the new stream of that name is read from its beginning."""
    here = place()
    run_id = here.create_run("s")
    parts, seen = PartRecorder(), Recorder()
    subscription = here.client().subscribe_to_run_with_streams(
        run_id, on_stream=parts, **seen.options
    )
    here.s2.append_parts(run_id, "s", *envelopes(0, 1, 2))
    parts.wait(3)
    here.s2.delete(run_id, "s")
    eventually(lambda: could_append(here.s2, run_id, 3))
    assert parts.wait(4, SOON) == [0, 1, 2, 3]
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(SOON)
    assert [type(error) for error in seen.errors] == [StreamRewound]


def could_append(s2, run_id, number):
    """Try to write one part. Return False where S2 has not deleted the stream of before yet."""
    try:
        s2.append_parts(run_id, "s", *envelopes(number))
    except HTTPError:
        return False
    return True


def test_a_position_in_a_stream_that_was_lost(place):
    """A restored position beyond what there is now: the new records, and the loss."""
    here = place()
    run_id = here.create_run("s")
    here.s2.append_parts(run_id, "s", *envelopes(*range(20)))
    before = PartRecorder()
    with here.client() as client:
        subscription = client.subscribe_to_stream(run_id, "s", on_stream=before)
        before.wait(20)
        position = subscription.last_event_id
    here.s2.kill()
    here.s2.start()
    here.s2.append_parts(run_id, "s", *envelopes(30, 31))
    after, seen = PartRecorder(), Recorder()
    here.client().subscribe_to_stream(
        run_id, "s", on_stream=after, on_error=seen.on_error, last_event_id=position
    )
    assert after.wait(2, SOON) == [30, 31]
    assert [type(error) for error in seen.errors] == [StreamRewound]


def test_records_that_are_trimmed_while_the_connection_is_down(place):
    """The numbers have no holes: those that are missing are named."""
    here = place()
    run_id = here.create_run("s")
    parts, seen = PartRecorder(), Recorder()
    subscription = here.client().subscribe_to_run_with_streams(
        run_id, on_stream=parts, **seen.options
    )
    here.s2.append_parts(run_id, "s", *envelopes(*range(10)))
    parts.wait(10)
    here.route.cut_after = 0
    here.route.cut()
    here.s2.append_parts(run_id, "s", *envelopes(*range(10, 60)))
    here.s2.append(run_id, "s", trim_record(40))
    eventually(lambda: here.s2.records(run_id, "s")[0]["seq_num"] == 40, seconds=SOON)
    here.route.cut_after = None
    parts.wait(30, SOON)
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(SOON)
    assert parts.all == [*range(10), *range(40, 60)]
    (error,) = seen.errors
    assert isinstance(error, StreamTrimmed)
    assert (error.run_id, error.stream, error.terminal) == (run_id, "s", False)
    assert "10" in str(error)
    assert "39" in str(error)


def test_a_position_below_what_was_trimmed(place):
    """`start_index` counts records: those from it on that are gone are named."""
    here = place()
    run_id = here.create_run("s")
    here.s2.append_parts(run_id, "s", *envelopes(*range(20)))
    here.s2.append(run_id, "s", trim_record(15))
    eventually(lambda: here.s2.records(run_id, "s")[0]["seq_num"] == 15, seconds=SOON)
    parts, seen = PartRecorder(), Recorder()
    here.client().subscribe_to_stream(
        run_id, "s", on_stream=parts, on_error=seen.on_error, start_index=10
    )
    assert parts.wait(5, SOON) == list(range(15, 20))
    assert [type(error) for error in seen.wait("error")] == [StreamTrimmed]


def test_from_latest(place):
    """Nothing that was there before, everything after, on every server."""
    here = place()
    run_id = here.create_run("s")
    here.s2.append_parts(run_id, "s", *envelopes(*range(20)))
    parts, seen = PartRecorder(), Recorder()
    here.client().subscribe_to_stream(
        run_id, "s", on_stream=parts, on_error=seen.on_error, from_latest=True
    )
    eventually(lambda: any("/streams/" in one.path for one in here.route.exchanges))
    number = 100
    while not parts.all:
        here.s2.append_parts(run_id, "s", *envelopes(number))
        number += 1
        eventually(lambda: True)
    first = parts.all[0]
    assert first >= 100
    assert parts.wait(1)[0] == first
    assert seen.errors == []


def test_start_index_is_the_number_of_a_record(place):
    """Commands and retried writes count, as in the official client."""
    here = place()
    run_id = here.create_run("s")
    here.s2.append_parts(run_id, "s", *envelopes(0, 1, 1))
    here.s2.append(run_id, "s", {"headers": [["", "fence"]], "body": "token"})
    here.s2.append_parts(run_id, "s", *envelopes(4, 5, 6))
    parts = PartRecorder()
    here.client().subscribe_to_stream(run_id, "s", on_stream=parts, start_index=5)
    assert parts.wait(2, SOON) == [5, 6]
