"""The official SDK's writer, a real S2, the server's route, our client: every part once, in order,
whatever happens to either side on the way."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.s2.process import parts_of
from tests.support.streams import PartRecorder
from tests.support.waiting import Recorder

COUNT, TOGETHER = 400, 10
# Where trouble comes: after so many parts that were handed to the writer.
PLACES = (60, 180, 300)
FROZEN_SECONDS = 1.0
ANSWER_SECONDS = 60.0


def texts(parts: list[Any]) -> list[int]:
    return [part["n"] for part in parts]


def kill_s2(place, wire, writer):
    place.s2.kill()
    place.s2.start()


def freeze_s2(place, wire, writer):
    place.s2.freeze()
    time.sleep(FROZEN_SECONDS)
    place.s2.thaw()


def freeze_writer(place, wire, writer):
    writer.freeze()
    time.sleep(FROZEN_SECONDS)
    writer.thaw()


def cut_reader(place, wire, writer):
    place.route.cut()


def cut_writer(place, wire, writer):
    wire.cut()


def cut_both(place, wire, writer):
    wire.cut()
    place.route.cut()


TROUBLES = [kill_s2, freeze_s2, freeze_writer, cut_reader, cut_writer, cut_both]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_each_part_once_and_in_order(place, trouble):
    """What S2 holds is what the callback gets, each write once, however often it was tried; and
    that is what the writer was given, unless it gave up."""
    here = place(disk=True)
    run_id = here.create_run("s")
    parts, seen = PartRecorder(), Recorder()
    subscription = here.client().subscribe_to_run_with_streams(
        run_id, on_stream=parts, **seen.options
    )
    wire = here.wire()
    writer = here.writer(wire.endpoint, run_id, "s", count=COUNT, together=TOGETHER)
    for written in PLACES:
        if writer.wait_until_written(written):
            trouble(here, wire, writer)
    gave_up = writer.wait()
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(ANSWER_SECONDS)
    assert parts.all == parts_of(here.s2.records(run_id, "s"))
    assert gave_up or texts(parts.all) == list(range(COUNT))
    assert seen.errors == []


def test_bodies_that_are_cut_at_any_byte(place):
    """The route cuts each body a little later than the one before: within heads and events too."""
    here = place(disk=True)
    run_id = here.create_run("s")
    parts = PartRecorder()
    cuts = iter(range(1, 100_000, 97))
    here.route.cut_after = next(cuts)
    subscription = here.client().subscribe_to_stream(run_id, "s", on_stream=parts)
    writer = here.writer(here.s2.endpoint, run_id, "s", count=COUNT, together=TOGETHER)
    written = threading.Event()

    def vary() -> None:
        while not written.wait(0.02):
            here.route.cut_after = next(cuts)

    varying = threading.Thread(target=vary)
    varying.start()
    try:
        assert writer.wait() is None
        parts.wait(COUNT, ANSWER_SECONDS)
    finally:
        written.set()
        varying.join()
        here.route.cut_after = None
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(ANSWER_SECONDS)
    assert texts(parts.all) == list(range(COUNT))


def test_a_writer_that_is_killed_and_another_one(place):
    """The task is tried again: what reached S2 of the first writer, then all of the second."""
    here = place(disk=True)
    run_id = here.create_run("s")
    parts = PartRecorder()
    subscription = here.client().subscribe_to_run_with_streams(run_id, on_stream=parts)
    first = here.writer(here.s2.endpoint, run_id, "s", count=COUNT, together=TOGETHER)
    first.wait_until_written(COUNT // 2)
    first.kill()
    second = here.writer(
        here.s2.endpoint, run_id, "s", first=COUNT, count=COUNT, together=TOGETHER, pause_ms=1
    )
    assert second.wait() is None
    here.runs.complete_run(run_id)
    subscription.wait_for_completion(ANSWER_SECONDS)
    assert parts.all == parts_of(here.s2.records(run_id, "s"))
    assert texts(parts.all)[-COUNT:] == list(range(COUNT, 2 * COUNT))


def test_a_run_that_is_cancelled_while_its_task_writes_on(place):
    """CANCELED comes at once, `completedAt` when the worker has stopped: what is written in between
    is delivered too."""
    here = place()
    run_id = here.create_run("s")
    parts = PartRecorder()
    subscription = here.client().subscribe_to_run_with_streams(run_id, on_stream=parts)
    writer = here.writer(here.s2.endpoint, run_id, "s", count=200, together=TOGETHER, pause_ms=400)
    writer.wait_until_written(60)
    here.runs.update_run(run_id, status="CANCELED")
    assert writer.wait() is None
    here.runs.update_run(run_id, completedAt="2030-01-01T00:00:00.000")
    subscription.wait_for_completion(ANSWER_SECONDS)
    assert texts(parts.all) == list(range(200))
