"""The row of another run is no state of the one that is followed (docs/protocol.md, section 2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.raw import by_path, hold, reply
from tests.support.shape import UP_TO_DATE, answer, done, headers, message, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import ProtocolError, State
from trigger_realtime_sync._wire.message_reader import BLOCK_BYTES

OTHER = {
    "alone": [message(done("run_2")), UP_TO_DATE],
    "as an update": [message(done("run_2"), "update"), UP_TO_DATE],
    "behind its own": [message(row()), message(done("run_2")), UP_TO_DATE],
    "under its key": [{**message(done("run_2")), "key": message(row())["key"]}, UP_TO_DATE],
    "without an end": [message(done("run_2"))],
    "in a large body": [
        message(row(payload='"' + "x" * BLOCK_BYTES + '"')),
        message(done("run_2")),
        UP_TO_DATE,
    ],
}


@pytest.mark.parametrize("body", OTHER.values(), ids=OTHER.keys())
@pytest.mark.parametrize("live", [False, True])
def test_it_is_an_unreadable_answer(raw, connect, body, live):
    """As of a proxy that mixes answers up: nothing of it is told, and it is asked again."""
    wrong = reply(200, headers("9_9"), body)
    server = raw(*([answer(row())] if live else []), wrong, answer(done(output="right")))
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run("run_1", **recorder.options)
    run = subscription.wait_for_completion(10)
    assert (run.id, run.output) == ("run_1", "right")
    assert {one.id for one in recorder.updates} == {"run_1"}
    assert recorder.errors == []
    # Nor was its offset taken.
    assert all(one.query["offset"] in ("-1", "1_1") for one in server.exchanges)


def test_a_server_that_answers_with_another_run_for_ever(raw, connect):
    """It is an error, which says so, and `on_complete` is never called."""
    server = raw(answer(done("run_2")))
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run("run_1", **recorder.options)
    with pytest.raises(ProtocolError, match="another run"):
        subscription.wait_for_completion(10)
    assert subscription.state is State.FAILED
    assert recorder.completes == []
    assert subscription.run is None


def test_a_run_that_is_followed_singly(raw, connect):
    """A reused run of a batch is a single one too."""
    batch = {"id": "batch_1", "runs": ["run_1"], "runCount": 1, "processing": {"errors": []}}
    turns = iter([answer(done("run_2"))])
    server = raw(
        by_path(
            {
                "/realtime/v1/batches/": lambda exchange: (hold() if exchange.live else answer())(
                    exchange
                ),
                "/api/v2/batches/": reply(200, {}, batch),
            },
            lambda exchange: next(turns, answer(done()))(exchange),
        )
    )
    recorder = Recorder()
    subscription = connect(server).subscribe_to_batch("batch_1", **recorder.options)
    assert [run.id for run in subscription.wait_for_completion(10)] == ["run_1"]
    assert {run.id for run in recorder.updates} == {"run_1"}


def test_a_deletion_has_no_run_id(raw, connect):
    """It names the primary key alone, and is believed."""
    deletion = {
        "key": message(row())["key"],
        "value": {"id": "crun_1"},
        "headers": {"operation": "delete"},
    }
    gone = reply(200, headers("2_1", "1"), [deletion, UP_TO_DATE])
    server = raw(answer(row()), gone, answer(row(version=3)), hold())
    recorder = Recorder()
    connect(server).subscribe_to_run("run_1", **recorder.options)
    recorder.wait("update", 2)
    eventually(lambda: len(server.exchanges) >= 4)


def test_runs_of_a_tag_are_whatever_comes(raw, connect):
    """There the feed says which runs there are."""
    rows: list[Any] = [row("run_1"), row("run_2")]
    recorder = Recorder()
    connect(raw(answer(*rows), hold())).subscribe_to_runs_with_tag("t", **recorder.options)
    recorder.wait("update", 2)
