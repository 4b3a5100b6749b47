"""Each record of the library's log says what it is about, in fields that a format may name."""

from __future__ import annotations

import logging

import pytest

from tests.support.settings import TOKEN
from tests.support.waiting import eventually
from trigger_realtime_sync import NotFoundError
from trigger_realtime_sync._http.log_fields import FIELDS, about, logger


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)


@pytest.fixture
def records():
    """What the library logs, at level INFO and above."""
    handler = Records()
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler.kept
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_a_retry_says_which_subscriptions_wait(server, connect, records):
    """All that share the connection; the run, and how many attempts failed in a row."""
    client = connect(server)
    run_id = server.create_run("t")
    server.fail_next(match="run", status=503, times=2)
    client.subscribe_to_run(run_id, id="a")
    client.subscribe_to_run(run_id, id="a")
    eventually(lambda: len(records) >= 2)
    first, second = records[:2]
    assert (first.levelname, second.levelname) == ("WARNING", "INFO")
    assert (first.attempt, second.attempt) == (1, 2)
    assert {first.run_id, second.run_id} == {run_id}
    assert {first.target, second.target} == {f"run {run_id}"}
    assert set(second.subscription_ids) == {"a"}


def test_a_tag_is_no_run(server, connect, records):
    """What follows many runs names its target, and no run."""
    server.fail_next(match="runs", status=503)
    connect(server).subscribe_to_runs_with_tag("user:7", id="b")
    eventually(lambda: records)
    record = records[0]
    assert (record.target, record.run_id, record.subscription_ids) == ("tag user:7", None, ("b",))


def test_a_call_says_its_attempt(server, connect, records):
    """On the caller's thread, where nothing is left behind for its other records."""
    server.fail_next(match="api", status=503)
    run_id = server.create_run("t")
    connect(server).handle(run_id).cancel()
    (record,) = records
    assert (record.attempt, record.subscription_ids) == (1, ())
    assert record.target
    logger.warning("another")
    assert records[-1].target is None


def test_a_callback_that_raises_names_its_subscription(server, connect, records):
    """It runs on a thread that serves all of them."""

    def on_update(run):
        raise ValueError("mine")

    connect(server).subscribe_to_run(server.create_run("t"), id="c", on_update=on_update)
    eventually(lambda: records)
    assert records[0].subscription_ids == ("c",)


def test_a_stream_names_its_run(server, connect, records):
    """Also where the streams of a tag's runs are read."""
    run_id = server.create_run("t", tags=["s"], status="EXECUTING")
    server.append(run_id, "k", "x")
    server.fail_next(match="stream", status=503)
    subscription = connect(server).subscribe_to_runs_with_streams(
        "s", id="d", streams={"k": str}, on_stream=lambda run, key, parts: None
    )
    eventually(lambda: [one for one in records if one.run_id])
    record = next(one for one in records if one.run_id)
    assert (record.run_id, record.target) == (run_id, "tag s")
    assert record.subscription_ids == (subscription.id,)


def test_every_record_has_every_field_and_no_token(server, connect, records):
    """So that a format which names one never fails."""
    server.fail_next(match="run", status=500, body=TOKEN)
    client = connect(server)
    client.subscribe_to_run(server.create_run("t"))
    eventually(lambda: records)
    with pytest.raises(NotFoundError):
        client.runs.retrieve("run_unknown")
    with about(run_id="run_1", attempt=3):
        logger.info("whatever")
    assert (records[-1].run_id, records[-1].attempt) == ("run_1", 3)
    formatter = logging.Formatter(" ".join(f"%({name})s" for name in FIELDS))
    assert TOKEN not in "".join(map(formatter.format, records))
    assert TOKEN not in repr([one.__dict__ for one in records])
