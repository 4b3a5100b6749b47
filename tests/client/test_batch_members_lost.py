"""Members of a batch that are lost on the way (docs/protocol.md, section 1)."""

from __future__ import annotations

import pytest

from tests.support.raw import by_path, by_poll, in_turn, reply
from tests.support.shape import answer, done, row
from tests.support.waiting import Recorder
from trigger_realtime_sync import NotFoundError
from trigger_realtime_sync.testing import RealtimeServer

REFETCH = [{"headers": {"control": "must-refetch"}}]


def test_each_waiter_is_told_of_a_run_that_is_gone(connect):
    """One that waits later asks for the runs again, rather than for a run that nobody follows."""
    with RealtimeServer(hold=0.2) as server:
        first, gone = server.create_run(), server.create_run()
        batch = server.batch(first, reused=[gone])
        recorder = Recorder()
        subscription = connect(server).subscribe_to_batch(batch, **recorder.options)
        with pytest.raises(TimeoutError):
            subscription.wait_for_completion(timeout=0.5)
        recorder.wait("update", 2)
        server.delete_run(gone)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                subscription.wait_for_completion(timeout=8)


def test_a_finished_run_that_left_the_feed_counts(raw, connect):
    """The feed need not show it again after a rotation: native's ends at 1,000 runs."""
    snapshots = in_turn(answer(done("run_1"), row("run_2")), answer(row("run_2"), offset="2_1"))
    polls = in_turn(
        reply(409, {}, REFETCH), answer(done("run_2"), offset="3_1", operation="update")
    )
    members = reply(200, {}, {"runs": ["run_1", "run_2"], "runCount": 2})
    server = raw(by_path({"/realtime/": by_poll(snapshots, polls)}, members))
    runs = connect(server).subscribe_to_batch("batch_1").wait_for_completion(timeout=8)
    assert [run.id for run in runs] == ["run_1", "run_2"]
