"""A row → a run (docs/protocol.md, section 2)."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import datetime, timezone
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync import PayloadError, ProtocolError, Run, RunError, RunStatus, Task
from trigger_realtime_sync._decode.columns import parse_error, public_status
from trigger_realtime_sync._decode.rows import RowDecoder
from trigger_realtime_sync._wire.names import RUN_COLUMNS
from trigger_realtime_sync.models import LazyValue

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
# All of its packets are JSON.
ROW = {**WHOLE, "output": "[1]", "outputType": "application/json"}


def utc(second: int, micros: int = 0) -> datetime:
    return datetime(2026, 11, 23, 6, 20, second, micros, timezone.utc)


def decode(**columns: Any) -> Run[Any, Any]:
    return RowDecoder().decode({**WHOLE, **columns})


def test_every_column_has_its_field():
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


def test_any_column_may_be_absent_or_null():
    """A token's own claim may skip what was not skipped by us."""
    absent = RowDecoder().decode({"friendlyId": "run_1", "status": "PENDING"})
    null = RowDecoder().decode({**dict.fromkeys(WHOLE), "friendlyId": "run_1", "status": "PENDING"})
    assert absent == null == Run(id="run_1", status=RunStatus.QUEUED)
    assert (absent.payload, absent.output, absent.metadata, absent.tags) == (None, None, None, [])


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("createdAt", "yesterday"), ("completedAt", ""), ("number", "seven"), ("isTest", "maybe"),
        ("usageDurationMs", "1.5"), ("costInCents", "free"), ("runTags", "{"), ("error", "{"),
        ("updatedAt", 7),
    ],
)  # fmt: skip
def test_a_column_that_does_not_decode_is_named(column, text):
    """With the run, so that it can be found."""
    with pytest.raises(ProtocolError, match=rf"run_1.*{column}"):
        decode(**{column: text})


@pytest.mark.parametrize("missing", ["friendlyId", "status"])
def test_what_is_never_skipped_must_be_there(missing):
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
def test_statuses(server, public, group):
    """Each server status has a public one, which is in one group; the final ones finish a run,
    with or without a time."""
    run = decode(status=server, completedAt=None)
    assert run.status == public
    groups = ["is_queued", "is_executing", "is_waiting", "is_success", "is_failed", "is_cancelled"]
    assert [name for name in groups if getattr(run, name)] == [group]
    assert run.is_finished is (group in ("is_success", "is_failed", "is_cancelled"))


def test_an_unknown_status_stays_readable():
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
def test_errors(column, error):
    """Of each known shape, and of an unknown one as well as can be."""
    assert decode(error=json.dumps(column)).error == error


def test_types_are_matched_by_the_task():
    """Among many runs by the identifier; a single run's task types it whatever it is called."""

    @attrs.define
    class Output:
        n: int

    task = Task("my-task", output=Output)
    columns = {**ROW, "output": '{"n": 1}'}
    other = {**columns, "taskIdentifier": "other"}
    assert RowDecoder([task]).decode(columns).output == Output(1)
    assert RowDecoder([task]).decode(other).output == {"n": 1}
    assert RowDecoder(any_task=task).decode(other).output == Output(1)


def test_a_packet_that_did_not_change_stays_decoded():
    """From state to state it is the same object: a large one is not fetched again."""
    decoder = RowDecoder()
    first = decoder.decode(WHOLE)
    payload = first.payload
    second = decoder.decode({**WHOLE, "status": "PENDING", "metadata": "{}"}, first)
    assert second.payload is payload
    assert second.metadata == {}


def test_lists_are_each_runs_own():
    """Equal tags are parsed once, but nobody shares a list that someone might change."""
    decoder = RowDecoder()
    first, second = decoder.decode(WHOLE), decoder.decode(WHOLE)
    first.tags.append("mine")
    assert second.tags == ["a", "b,c", 'say "hi"']


GOOD = {
    "taskIdentifier": [None, "my-task", "other"],
    "status": ["EXECUTING", "COMPLETED_SUCCESSFULLY", "BRAND_NEW"],
    "createdAt": [None, "2026-11-23T06:15:09.979", "2024-02-29 23:59:59", "2026-01-31T00:00:00.1"],
    "completedAt": [None, "2026-11-23 06:15:09.97", "2026-11-23T06:15:09Z"],
    "number": [None, "0", "-7", "9" * 30],
    "usageDurationMs": [None, "1234"],
    "costInCents": [None, "0.25", "Infinity"],
    "isTest": [None, "t", "false"],
    "runTags": [None, "{}", '{"a","b c",NULL}'],
    "ttl": [None, "10m", 7],
    "error": [None, '{"type":"STRING_ERROR","raw":"no"}'],
    "realtimeStreams": [None, "{openai}"],
    "payload": [None, "", '{"a":1}'],
    "payloadType": [None, "application/json", "text/plain"],
    "metadata": [None, '{"m":true}'],
    "output": [None, "7", 7],
}
BAD = {
    "friendlyId": [None, "", 7, []],
    "status": [None, 7],
    "createdAt": ["", "soon", "2026-02-29T00:00:00", "2026-13-01T00:00:00", 7, [], {}],
    "startedAt": ["20261123T061509.979", "2026-11-23T06:15:09,979", "2026-11-23X06:15:09"],
    "updatedAt": ["2026-11-23T06:15:09\n2026-11-23T06:15:09", "٢٠٢٦-11-23T06:15:09"],
    "number": ["", "x", "1\n2", "1_0", "٣", " 1", 7, {}],
    "costInCents": ["", "much", [], "1e"],
    "isTest": ["maybe", True],
    "runTags": ["{", "a", {}],
    "error": ["{", "[" * 100_000],
}


def rows_of(columns: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    chosen = {name: st.sampled_from(values) for name, values in columns.items()}
    return st.fixed_dictionaries({"friendlyId": st.just("run_1")}, optional=chosen)


@given(
    st.lists(
        rows_of(GOOD).map(lambda row: {"status": "PENDING", **row}),
        max_size=8,
    )
)
def test_many_rows_are_read_as_each_of_them_is(rows):
    """Whether a field is made at once or when it is first read, nobody can tell."""
    decoder = RowDecoder([Task("my-task", payload=dict, output=int)])
    runs = decoder.decode_many(rows)
    alone = [decoder.decode(row) for row in rows]
    if runs is None:  # a doubt is allowed: of Python 3.10's clock, and of large numbers
        return
    for run, one in zip(runs, alone, strict=True):
        assert pickle.loads(pickle.dumps(run)) == one
        assert copy.copy(run) == one
        assert attrs.evolve(run, ttl="1h") == attrs.evolve(one, ttl="1h")
        assert repr(run) == repr(one)
        assert run == one
        assert hash(run) == hash(one)
        assert attrs.asdict(run) == attrs.asdict(one)


@given(
    st.lists(rows_of({}).map(lambda row: {"status": "PENDING", **row}), max_size=3),
    st.sampled_from([(name, value) for name, values in BAD.items() for value in values]),
)
def test_a_row_that_does_not_decode_is_found_among_many(rows, bad):
    """Nothing that `decode` refuses is put off until it is read."""
    name, value = bad
    broken = {"friendlyId": "run_1", "status": "PENDING", name: value}
    with pytest.raises(ProtocolError):
        RowDecoder().decode(broken)
    assert RowDecoder().decode_many([*rows, broken]) is None


# With times that every Python can be sure of.
SURE = {
    name: "2026-11-23T06:20:20.421"
    if isinstance(value, str) and value.startswith("2026")
    else value
    for name, value in WHOLE.items()
}


def test_what_is_made_when_read_is_made_once():
    """The same object each time, also of the values that can be changed."""
    [run] = RowDecoder().decode_many([SURE]) or []
    assert run.tags == ["a", "b,c", 'say "hi"']
    assert run.tags is run.tags
    assert run.payload is run.payload
    assert not hasattr(run, "colour")
    assert not hasattr(Run.__new__(Run), "output")
    with pytest.raises(AttributeError, match="colour"):
        run.colour  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        run.ttl = "1h"  # type: ignore[misc]


def test_all_runs_have_all_fields_in_order():
    """Those that come as rows are not made by `__init__`."""
    names = [field.name for field in attrs.fields(Run)]
    assert list(RUN_COLUMNS) == [name.lstrip("_") for name in names]
    assert list(vars(decode())) == names
    [run] = RowDecoder().decode_many([SURE]) or []
    assert list(run.__getstate__()) == names
    assert run == decode(**SURE) == Run(**{name.lstrip("_"): getattr(run, name) for name in names})


@attrs.frozen(kw_only=True, slots=False)
class Marked(Run[Any, Any]):
    """A user's own kind of run."""

    mark: str


def test_runs_of_other_classes_are_copied_whole():
    """With what they have beyond a run."""
    run = Marked(id="run_1", mark="mine", payload=7)
    for copied in (copy.copy(run), pickle.loads(pickle.dumps(run))):
        assert copied == run
        assert copied.mark == "mine"


def test_a_mistake_in_reading_a_value_is_not_hidden():
    """It is not taken for an attribute that is missing."""

    class Broken(LazyValue):
        def read(self) -> Any:
            raise AttributeError("a mistake")

    run = Run(id="run_1", output=Broken())
    with pytest.raises(AttributeError, match="a mistake"):
        _ = run.output


def test_editors_are_shown_the_same_names_of_all_runs():
    """Whether their fields were made yet or not."""
    [run] = RowDecoder().decode_many([SURE]) or []
    assert dir(run) == dir(decode())
    assert "created_at" in dir(run)


@pytest.mark.parametrize("field", ["payload", "output", "metadata"])
def test_each_packet_stays_decoded_until_it_changes(field):
    """From state to state it is the same object, until its text or its type is another."""
    decoder = RowDecoder()
    first = decoder.decode(ROW)
    kept = getattr(first, field)
    same = decoder.decode({**ROW, "status": "CANCELED"}, first)
    assert getattr(same, field) is kept
    for change in ({field: "[2]"}, {f"{field}Type": "text/plain"}):
        changed = decoder.decode({**ROW, **change}, first)
        assert getattr(changed, field) != kept


def test_a_packet_without_a_type_is_json():
    """Of old servers, and where the type's column was skipped."""
    row = {key: value for key, value in ROW.items() if not key.endswith("Type")}
    run = RowDecoder().decode(row)
    assert (run.payload, run.output, run.metadata) == ({"a": 1}, [1], {"m": True})


def test_metadata_has_no_type():
    """A task types payload and output alone."""
    task = Task("my-task", payload=dict[str, int], output=list[str])
    run = RowDecoder([task]).decode(ROW)
    assert run.payload == {"a": 1}
    assert run.metadata == {"m": 1}
    with pytest.raises(PayloadError):
        _ = run.output


@pytest.mark.parametrize(
    ("column", "error"),
    [
        (None, None),
        ("broke", RunError(message="broke")),
        (5, RunError(message="5")),
        ({"type": "INTERNAL_ERROR", "code": "X"}, RunError("trigger.dev internal error (X)")),
        ({"type": "STRING_ERROR", "raw": "s", "message": "m"}, RunError(message="s")),
        ({"type": "CUSTOM_ERROR", "raw": 5, "message": "m"}, RunError(message="5")),
        ({"type": "BUILT_IN_ERROR", "raw": "s", "message": "m"}, RunError(message="m")),
        ({"name": 5, "stackTrace": 5}, RunError(message="")),
        ({"name": "E", "message": "m", "stackTrace": "s"}, RunError("m", "E", "s")),
    ],
)
def test_every_shape_of_an_error(column, error):
    """Each kind keeps its text where the server puts it; what is no text is none."""
    assert parse_error(column) == error


def test_an_unknown_status_keeps_its_text():
    """An empty one as well."""
    assert str(public_status("BRAND_NEW").value) == "BRAND_NEW"
    assert public_status("PAUSED").value == "WAITING"
