"""A row → a run (PROTOCOL, section 2)."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import attrs
import pytest

from trigger_realtime_sync import ProtocolError, Run, RunError, RunStatus, Task
from trigger_realtime_sync._protocol.rows import RowDecoder

WHOLE = {
    "id": "cm1",
    "friendlyId": "run_1",
    "taskIdentifier": "my-task",
    "status": "EXECUTING",
    "createdAt": "2026-11-23T06:20:20.421",
    "updatedAt": "2026-11-23 06:20:21.03",
    "startedAt": "2026-11-23T06:20:22",
    "queuedAt": "2026-11-23T06:20:23.1",
    "delayUntil": "2026-11-23T06:20:24.12",
    "expiredAt": "2026-11-23T06:20:25.1234",
    "completedAt": "2026-11-23T06:20:26.123456",
    "number": "7",
    "isTest": "t",
    "usageDurationMs": "1234",
    "costInCents": "0.0025",
    "baseCostInCents": "2",
    "ttl": "10m",
    "payload": '{"a": 1}',
    "payloadType": "application/json",
    "metadata": '{"m": true}',
    "metadataType": "application/json",
    "output": "text",
    "outputType": "text/plain",
    "runTags": '{"a","b,c","say \\"hi\\"",NULL}',
    "error": None,
    "realtimeStreams": "{openai}",
    "idempotencyKey": "key-1",
    "brandNew": "ignored",
}


def utc(second: int, micros: int = 0) -> datetime:
    return datetime(2026, 11, 23, 6, 20, second, micros, timezone.utc)


def decode(**columns: Any) -> Run[Any, Any]:
    return RowDecoder().decode({**WHOLE, **columns})


def test_every_column_has_its_field() -> None:
    """By the public names, with the public types; unknown columns are ignored."""
    run = decode()
    assert attrs.asdict(run, filter=lambda field, _: not field.name.startswith("_")) == {
        "id": "run_1",
        "task_identifier": "my-task",
        "status": RunStatus.EXECUTING,
        "created_at": utc(20, 421000),
        "updated_at": utc(21, 30000),
        "started_at": utc(22),
        "queued_at": utc(23, 100000),
        "delayed_until": utc(24, 120000),
        "expired_at": utc(25, 123400),
        "finished_at": utc(26, 123456),
        "duration_ms": 1234,
        "cost_in_cents": 0.0025,
        "base_cost_in_cents": 2.0,
        "number": 7,
        "tags": ["a", "b,c", 'say "hi"'],
        "ttl": "10m",
        "is_test": True,
        "idempotency_key": "key-1",
        "error": None,
        "realtime_streams": ["openai"],
    }
    assert (run.payload, run.output, run.metadata) == ({"a": 1}, "text", {"m": True})


def test_any_column_may_be_absent_or_null() -> None:
    """A token's own claim may skip what was not skipped by us."""
    absent = RowDecoder().decode({"friendlyId": "run_1", "status": "PENDING"})
    null = RowDecoder().decode({**dict.fromkeys(WHOLE), "friendlyId": "run_1", "status": "PENDING"})
    assert absent == null == Run(id="run_1", status=RunStatus.QUEUED)
    assert (absent.payload, absent.output, absent.metadata, absent.tags) == (None, None, None, [])


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("createdAt", "yesterday"),
        ("completedAt", ""),
        ("number", "seven"),
        ("isTest", "maybe"),
        ("usageDurationMs", "1.5"),
        ("costInCents", "free"),
        ("runTags", "{"),
        ("error", "{"),
        ("updatedAt", 7),
    ],
)
def test_a_column_that_does_not_decode_is_named(column: str, text: Any) -> None:
    """With the run, so that it can be found."""
    with pytest.raises(ProtocolError, match=rf"run_1.*{column}"):
        decode(**{column: text})


@pytest.mark.parametrize("missing", ["friendlyId", "status"])
def test_what_is_never_skipped_must_be_there(missing: str) -> None:
    """There is no run without an id and a status."""
    with pytest.raises(ProtocolError, match=missing):
        decode(**{missing: None})


@pytest.mark.parametrize(
    ("server", "public", "group"),
    [
        ("DELAYED", "DELAYED", "is_queued"),
        ("WAITING_FOR_DEPLOY", "PENDING_VERSION", "is_queued"),
        ("PENDING_VERSION", "PENDING_VERSION", "is_queued"),
        ("PENDING", "QUEUED", "is_queued"),
        ("DEQUEUED", "DEQUEUED", "is_executing"),
        ("EXECUTING", "EXECUTING", "is_executing"),
        ("RETRYING_AFTER_FAILURE", "EXECUTING", "is_executing"),
        ("PAUSED", "WAITING", "is_waiting"),
        ("WAITING_TO_RESUME", "WAITING", "is_waiting"),
        ("COMPLETED_SUCCESSFULLY", "COMPLETED", "is_success"),
        ("COMPLETED_WITH_ERRORS", "FAILED", "is_failed"),
        ("INTERRUPTED", "FAILED", "is_failed"),
        ("CRASHED", "CRASHED", "is_failed"),
        ("SYSTEM_FAILURE", "SYSTEM_FAILURE", "is_failed"),
        ("EXPIRED", "EXPIRED", "is_failed"),
        ("TIMED_OUT", "TIMED_OUT", "is_failed"),
        ("CANCELED", "CANCELED", "is_cancelled"),
    ],
)
def test_statuses(server: str, public: str, group: str) -> None:
    """Each server status has a public one, which is in one group; the final ones finish a run,
    with or without a time."""
    run = decode(status=server, completedAt=None)
    assert run.status == public
    groups = ["is_queued", "is_executing", "is_waiting", "is_success", "is_failed", "is_cancelled"]
    assert [name for name in groups if getattr(run, name)] == [group]
    assert run.is_finished is (group in ("is_success", "is_failed", "is_cancelled"))


def test_an_unknown_status_stays_readable() -> None:
    """It is in no group, ends nothing by itself, and compares to its text."""
    run = decode(status="HIBERNATING", completedAt=None)
    assert run.status == "HIBERNATING"
    assert run.status.value == f"{run.status}" == "HIBERNATING"
    groups = (run.is_finished, run.is_queued, run.is_executing, run.is_waiting, run.is_failed)
    assert not any(groups)
    assert decode(status="HIBERNATING").is_finished


@pytest.mark.parametrize(
    ("column", "error"),
    [
        (
            {"type": "BUILT_IN_ERROR", "name": "E", "message": "m", "stackTrace": "s"},
            RunError("m", "E", "s"),
        ),
        ({"type": "STRING_ERROR", "raw": "text"}, RunError("text")),
        ({"type": "CUSTOM_ERROR", "raw": '{"a":1}'}, RunError('{"a":1}')),
        (
            {"type": "INTERNAL_ERROR", "code": "TASK_RUN_STALLED", "stackTrace": "s"},
            RunError("trigger.dev internal error (TASK_RUN_STALLED)", None, "s"),
        ),
        ({"type": "BRAND_NEW", "message": "m"}, RunError("m")),
        ({"type": "BUILT_IN_ERROR", "message": 7}, RunError("7")),
        ("plain", RunError("plain")),
    ],
)
def test_errors(column: Any, error: RunError) -> None:
    """Of each known shape, and of an unknown one as well as can be."""
    assert decode(error=json.dumps(column)).error == error


def test_types_are_matched_by_the_task() -> None:
    """Among many runs by the identifier; a single run's task types it whatever it is called."""

    @attrs.define
    class Output:
        n: int

    task = Task("my-task", output=Output)
    columns = {**WHOLE, "output": '{"n": 1}', "outputType": "application/json"}
    other = {**columns, "taskIdentifier": "other"}
    assert RowDecoder([task]).decode(columns).output == Output(1)
    assert RowDecoder([task]).decode(other).output == {"n": 1}
    assert RowDecoder(any_task=task).decode(other).output == Output(1)


def test_a_packet_that_did_not_change_stays_decoded() -> None:
    """From state to state it is the same object: a large one is not fetched again."""
    decoder = RowDecoder()
    first = decoder.decode(WHOLE)
    payload = first.payload
    second = decoder.decode({**WHOLE, "status": "PENDING", "metadata": "{}"}, first)
    assert second.payload is payload
    assert second.metadata == {}


def test_lists_are_each_runs_own() -> None:
    """Equal tags are parsed once, but nobody shares a list that someone might change."""
    decoder = RowDecoder()
    first, second = decoder.decode(WHOLE), decoder.decode(WHOLE)
    first.tags.append("mine")
    assert second.tags == ["a", "b,c", 'say "hi"']
