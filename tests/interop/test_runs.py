"""Runs, tags and batches: every state that the official client tells, ours tells too."""

from __future__ import annotations

from typing import Any

import pytest

from trigger_realtime_sync.testing import RealtimeServer

STATUSES = [
    "DELAYED", "WAITING_FOR_DEPLOY", "PENDING_VERSION", "PENDING", "DEQUEUED", "EXECUTING",
    "RETRYING_AFTER_FAILURE", "PAUSED", "WAITING_TO_RESUME", "COMPLETED_SUCCESSFULLY",
    "COMPLETED_WITH_ERRORS", "INTERRUPTED", "CRASHED", "SYSTEM_FAILURE", "EXPIRED", "TIMED_OUT",
    "CANCELED",
]  # fmt: skip
MOMENT = "2026-11-23T06:15:09.970"
NULLABLE: dict[str, Any] = {
    "startedAt": MOMENT,
    "delayUntil": "2026-11-23T06:15:09.000",
    "queuedAt": "2026-01-01T00:00:00.001",
    "expiredAt": MOMENT,
    "ttl": "1h",
    "metadata": {"progress": {"percentage": 12.5}, "nested": [[], {}, None, "é\u2028😀"]},
    "output": [1, 2.5, -0.001, 1e300, "text", None, True, {"a": {"b": []}}],
    "tags": ["a", "b"],
    "error": {"type": "STRING_ERROR", "raw": "no"},
    "realtimeStreams": ["one", "two"],
    "idempotencyKey": "key-1",
}
REQUIRED: dict[str, Any] = {
    "isTest": True,
    "usageDurationMs": 2147483647,
    "costInCents": 0.0125,
    "baseCostInCents": 1e-07,
    "payload": {"a": 1},
    "number": 7,
}
ERRORS: list[dict[str, Any]] = [
    {"type": "BUILT_IN_ERROR", "name": "TypeError", "message": "m", "stackTrace": "s\n  at x"},
    {
        "type": "BUILT_IN_ERROR",
        "name": "Error",
        "message": "",
        "stackTrace": "",
        "causes": [{"name": "E", "message": "inner", "stackTrace": "t"}],
    },
    {"type": "STRING_ERROR", "raw": "just text"},
    {"type": "CUSTOM_ERROR", "raw": '{"code":1}'},
    {"type": "INTERNAL_ERROR", "code": "TASK_RUN_CRASHED", "message": "m", "stackTrace": "s"},
    {"type": "INTERNAL_ERROR", "code": "MAX_DURATION_EXCEEDED"},
]


def test_a_run_from_its_trigger_to_its_output(pair):
    """Each state of a run's life, and the end of the subscription with the last."""
    server = pair.server
    run = server.create_run("my-task", payload={"to": "a"}, tags=["x"])
    both = pair.run(run)
    both.states()
    both.states(lambda: server.update_run(run, status="DEQUEUED"))
    both.states(lambda: server.update_run(run, status="EXECUTING", metadata={"step": 1}))
    both.states(lambda: server.complete_run(run, output={"ok": True}))
    both.theirs.wait_for(ended=True)
    both.subscription.wait_for_completion(5)


def test_a_run_that_failed(pair):
    """The error of a failed run is delivered alike, and ends both."""
    run = pair.server.create_run(status="EXECUTING")
    both = pair.run(run)
    both.states()
    both.states(lambda: pair.server.fail_run(run, "out of cheese", name="RangeError"))
    both.theirs.wait_for(ended=True)
    both.subscription.wait_for_completion(5)


def test_every_status(pair):
    """Every status of the server has the same public name and the same groups, first and later."""
    server: RealtimeServer = pair.server
    for status in STATUSES:
        server.create_run(status=status, tags=["all"])
    run = server.create_run(tags=["all"])
    both = pair.tag("all")
    both.states(count=len(STATUSES) + 1)
    for status in STATUSES:
        both.states(lambda status=status: server.update_run(run, status=status))


def test_an_unknown_status(pair):
    """On purpose: theirs calls it QUEUED, ours keeps its name, so that a new one can be shown."""
    pair.server.create_run(status="HIBERNATING", tags=["t"])
    both = pair.tag("t")
    both.is_compared = False
    both.theirs.wait_for(runs=1)
    both.ours.wait_for(runs=1)
    assert both.theirs.runs[0]["status"] == "QUEUED"
    assert both.ours.runs[0].status == "HIBERNATING"


def test_every_column_set_and_null(pair):
    """Every column that may be null, delivered as set, as null, and as set again."""
    server: RealtimeServer = pair.server
    run = server.create_run()
    both = pair.run(run)
    both.states()
    for name, value in {**NULLABLE, **REQUIRED}.items():
        both.states(lambda name=name, value=value: server.update_run(run, **{name: value}))
        if name in NULLABLE:
            both.states(lambda name=name: server.update_run(run, **{name: None}))
            both.states(lambda name=name, value=value: server.update_run(run, **{name: value}))


def test_everything_at_once_in_a_snapshot(pair):
    """A snapshot with every column set, and one with every column null."""
    pair.server.create_run(**{**NULLABLE, **REQUIRED, "tags": ["snapshot"]})
    pair.server.create_run(**{**dict.fromkeys(NULLABLE), "tags": ["snapshot"]})
    both = pair.tag("snapshot")
    both.states(count=2)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.get("code") or error["type"])
def test_errors_of_runs(pair, error):
    """Each form of the error column becomes the same name, message and stack trace.

    On purpose: ours keeps the stack trace of an internal error, which theirs leaves out.
    """
    run = pair.server.create_run(status="EXECUTING")
    both = pair.run(run)
    both.states()
    both.states(
        lambda: pair.server.fail_run(run, error=error),
        ours_only={"error.stackTrace"} if error["type"] == "INTERNAL_ERROR" else (),
    )


def test_odd_tags(pair):
    """Tags with whatever a tag may hold, subscribed to one by one, and delivered as they are."""
    tags = ["user:7", "a b", "ü/ö?x=1&y#z", "100%", "%2F", "it's", "(x)", "+", "日本", "😀", "{}"]
    tags += ["NULL", "null", "[a]", ";", "'", "`", "a=b", "~", "a\u00a0b", "a\u2028b", "*"]
    server: RealtimeServer = pair.server
    subscriptions = []
    for tag in tags:
        server.create_run(tags=[tag])
        subscriptions.append(pair.tag(tag))
    for both in subscriptions:
        both.states()


@pytest.mark.parametrize("tag", [".", ".."])
def test_a_tag_of_dots(pair, tag):
    """Dots mean nothing in a query: such a tag can be asked for."""
    pair.server.create_run(tags=[tag])
    both = pair.tag(tag)
    both.states()


def test_tags_that_can_be_told_but_not_asked_for(pair):
    """A run's tags may hold commas, quotes, backslashes and blanks, and be empty."""
    odd = ["t", "a,b", '"', 'say "hi"', "\\", 'a\\"b', "", " ", "{a}", "}", "a\nb", "NULL"]
    pair.server.create_run(tags=odd)
    both = pair.tag("t")
    both.states()
    assert both.ours.runs[0].tags == odd


def test_several_tags_must_all_be_there(pair):
    """Two tags ask for the runs that carry both, for both clients."""
    server: RealtimeServer = pair.server
    server.create_run(tags=["a"])
    server.create_run(tags=["a", "b", "c"])
    both = pair.tag(["a", "b"], created_at="1h")
    both.states()
    both.states(lambda: server.create_run(tags=["b", "a"]))
    server.create_run(tags=["b"])
    both.states(lambda: server.create_run(tags=["c", "b", "a"]))


def test_many_runs_of_a_tag(pair):
    """Three hundred runs in a snapshot, in the same order, then changes among them."""
    server: RealtimeServer = pair.server
    runs = [server.create_run(payload={"n": n}, tags=["many"]) for n in range(300)]
    both = pair.tag("many")
    both.states(count=300)
    for run in runs[::30]:
        both.states(lambda run=run: server.complete_run(run, output={"run": run}))


def test_a_snapshot_in_pieces(make_pair):
    """Electric may cut a snapshot into several answers: nothing is delivered before it is whole."""
    pair = make_pair("electric", snapshot_chunk_rows=7)
    for n in range(20):
        pair.server.create_run(payload={"n": n}, tags=["many"])
    both = pair.tag("many")
    both.states(count=20)


def test_a_batch(pair):
    """The runs of a batch, each as it changes."""
    server: RealtimeServer = pair.server
    batch = server.batch(count=3)
    runs = server.batch_add(batch)
    both = pair.batch(batch)
    both.states(count=3)
    runs = [run.id for run in both.ours.runs]
    both.states(lambda: server.update_run(runs[1], status="EXECUTING"))
    for run in runs:
        both.states(lambda run=run: server.complete_run(run, output=run))
    assert len(both.subscription.wait_for_completion(5)) == 3


SKIPPABLE = sorted({*NULLABLE, *REQUIRED, "completedAt", "updatedAt", "payloadType"} - {"tags"})


def test_skipped_columns_one_by_one(pair):
    """Each column that may be skipped is missing alike, in the snapshot and in changes."""
    server: RealtimeServer = pair.server
    subscriptions = []
    # Without updatedAt the official client tells nothing at all: its schema requires it.
    for column in [*SKIPPABLE, "runTags"]:
        if column in ("updatedAt", "payloadType", "idempotencyKey"):
            continue
        run = server.create_run(**{**NULLABLE, **REQUIRED})
        subscriptions.append((run, pair.run(run, skip_columns=[column])))
    for run, both in subscriptions:
        both.states()
        both.states(lambda run=run: server.update_run(run, status="EXECUTING"))


def test_many_skipped_columns(pair):
    """Several columns at once, of the runs of a tag."""
    server: RealtimeServer = pair.server
    run = server.create_run(**{**NULLABLE, **REQUIRED, "tags": ["t"]})
    both = pair.tag("t", skip_columns=["payload", "metadata", "output", "startedAt", "isTest"])
    both.states()
    both.states(lambda: server.complete_run(run, output=1))


def test_a_run_that_is_late_at_the_replica(pair):
    """A first answer without the row: both wait, and tell it when it is there."""
    run = pair.server.create_run(lag=True)
    both = pair.run(run)
    pair.server.wait_until_held(2)
    both.states(lambda: pair.server.catch_up(run))


def test_a_run_cancelled_while_queued(pair):
    """On purpose: theirs waits for a finishedAt that never comes; ours knows that it is final."""
    run = pair.server.create_run()
    both = pair.run(run)
    both.states()
    both.states(lambda: pair.server.cancel_run(run))
    assert both.subscription.wait_for_completion(5).is_cancelled
    pair.server.wait_until_held(1)
    assert not both.theirs.ended


def test_a_run_that_ends_without_completed_at(pair):
    """On purpose: with completedAt skipped theirs never ends, ours does by the status."""
    run = pair.server.create_run()
    both = pair.run(run, skip_columns=["completedAt"])
    both.states()
    both.states(lambda: pair.server.complete_run(run))
    both.subscription.wait_for_completion(5)
    pair.server.wait_until_held(1)
    assert not both.theirs.ended
