"""A finished run as the REST API tells it (docs/protocol.md, section 2, item 7)."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from trigger_realtime_sync import RunStatus
from trigger_realtime_sync._decode.columns import PUBLIC_STATUS
from trigger_realtime_sync._decode.packets import STORE
from trigger_realtime_sync._decode.rest_row import finished_columns
from trigger_realtime_sync._decode.rows import RowDecoder
from trigger_realtime_sync.models import TERMINAL_STATUSES

BASE = {
    "id": "c1",
    "friendlyId": "run_1",
    "taskIdentifier": "my-task",
    "status": "EXECUTING",
    "createdAt": "2026-11-23T06:15:09.979",
    "updatedAt": "2026-11-23T06:15:10",
    "number": "7",
    "runTags": "{a,b}",
    "payload": '{"json":{"at":"2026-11-23"}}',
    "payloadType": "application/super+json",
}
REST = {
    "id": "run_1",
    "taskIdentifier": "my-task",
    "status": "COMPLETED",
    "createdAt": "2026-11-23T06:15:09.979Z",
    "updatedAt": "2026-11-23T07:00:00.000Z",
    "finishedAt": "2026-11-23T07:00:00.000Z",
    "durationMs": 120,
    "costInCents": 0.25,
    "isTest": True,
    "tags": ["a", 'b "x" \\y, {}'],
    "isCompleted": True,
    "output": {"n": [1, None]},
    "attempts": [],
}


def columns(document: Any, base: Any = BASE, skipped: Any = frozenset()) -> Any:
    return finished_columns(document, "run_1", base, skipped)


def run(document: Any, **options: Any) -> Any:
    found = columns(document, **options)
    assert found is not None
    return RowDecoder().decode(found)


@pytest.mark.parametrize("base", [BASE, {}], ids=["told before", "never told"])
def test_a_finished_run(base):
    """It has what REST says of it, and else what the feed said."""
    found = run(REST, base=base)
    assert found.is_finished
    assert found.id == "run_1"
    assert found.status is RunStatus.COMPLETED
    assert found.finished_at == datetime(2026, 11, 23, 7, tzinfo=timezone.utc)
    assert (found.duration_ms, found.cost_in_cents, found.is_test) == (120, 0.25, True)
    assert found.output == {"n": [1, None]}
    assert found.number == (7 if base else None)
    assert list(found.tags) == REST["tags"]


@pytest.mark.parametrize("status", [one for one in RunStatus if one not in TERMINAL_STATUSES])
def test_an_unfinished_run_is_no_news(status):
    """The feed goes before REST."""
    assert columns({**REST, "status": status.value}) is None


@pytest.mark.parametrize("status", sorted(TERMINAL_STATUSES))
def test_the_status_decides(status):
    """`isCompleted` is false for EXPIRED and TIMED_OUT; each status comes back as it was."""
    document = {"id": "run_1", "status": status.value, "isCompleted": False}
    assert run(document).status is status
    assert PUBLIC_STATUS[columns(document)["status"]] is status


@pytest.mark.parametrize(
    "document",
    [None, [], "x", {}, {**REST, "id": "run_2"}, {**REST, "id": None}, {**REST, "status": 7},
     {**REST, "status": ["COMPLETED"]}, {**REST, "status": "NEW_ONE"}],
)  # fmt: skip
def test_what_says_nothing_of_the_run_is_no_news(document):
    """Nor is an unknown status, or the answer about another run."""
    assert columns(document) is None


@pytest.mark.parametrize("junk", [None, 7, True, "", "no time", [], {}, {"a": {}}, "\x00", 1e400])
def test_fields_of_any_kind_do_no_harm(junk):
    """A field that is not what it should be is not told, or does not decode, which is an error of
    its own."""
    names = [name for name in REST if name not in ("id", "status")]
    for name in [*names, "error", "payload", "metadata", "tags", "ttl", "payloadPresignedUrl"]:
        found = columns({**REST, name: junk})
        assert found is not None
        assert all(text is None or isinstance(text, str) for text in found.values()), name


def test_the_error_of_a_failed_run():
    """It has the name and the stack of the feed's."""
    error = {"name": "TypeError", "message": "no", "stackTrace": "at x"}
    found = run({**REST, "status": "FAILED", "error": error})
    assert (found.error.name, found.error.message) == ("TypeError", "no")
    assert found.error.stack_trace == "at x"
    assert run({**REST, "error": {"message": "only"}}).error.message == "only"


def test_columns_that_the_user_skips():
    """They are not told here either."""
    found = columns(REST, skipped=frozenset({"output", "payload", "costInCents"}))
    assert not found.keys() & {"output", "payload", "costInCents"}
    assert RowDecoder().decode(found).output is None


def test_a_large_output_is_fetched_like_any_other():
    """REST has a presigned URL in place of its path; the run's own route finds it."""
    found = columns({**REST, "output": None, "outputPresignedUrl": "https://store/x?secret"})
    assert found["outputType"] == STORE
    assert "secret" not in repr(found)


def test_a_payload_that_rest_leaves_out_keeps_its_types():
    """Only what REST tells has lost them."""
    assert columns(REST)["payload"] == BASE["payload"]
    assert run({**REST, "payload": {"at": 1}}).payload == {"at": 1}
