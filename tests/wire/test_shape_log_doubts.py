"""What the shape log remembers of rows and offsets that are gone (docs/protocol.md, section 2)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.support.shape import UP_TO_DATE
from trigger_realtime_sync._wire.shape_log import ShapeLog


@attrs.frozen
class Row:
    status: str
    updated_at: str


@pytest.fixture
def log() -> ShapeLog[Row]:
    return ShapeLog(lambda columns, last: Row(columns["status"], columns["updatedAt"]))


def insert(key: str, second: int, lsn: str | None = None) -> Any:
    value = {
        "friendlyId": f"run_{key}",
        "status": "1",
        "updatedAt": f"2026-11-23T06:00:{second:02}",
    }
    headers = {"operation": "insert"} if lsn is None else {"operation": "insert", "lsn": lsn}
    return {"key": key, "value": value, "headers": headers}


def headers(offset: str) -> dict[str, str]:
    return {"electric-handle": "h1", "electric-offset": offset}


def test_a_row_that_a_snapshot_lacks_is_in_doubt_no_longer(log):
    """Nothing would ever confirm it, and the snapshot would be asked for every half a minute."""
    log.receive(headers("1_1"), [insert("a", 10), insert("b", 10), UP_TO_DATE], "test")
    log.receive(headers("1_2"), [insert("a", 5), insert("b", 10), UP_TO_DATE], "test")
    assert log.doubts
    log.receive(headers("1_3"), [insert("b", 10), UP_TO_DATE], "test")
    assert not log.doubts


def test_a_204_answers_what_was_asked_again(log):
    """Nothing follows the old offset: the next request is a live poll."""
    up_to_date = {"headers": {"control": "up-to-date", "global_last_seen_lsn": "1"}}
    log.receive(headers("0_inf"), [insert("a", 10), up_to_date], "test")
    log.receive(headers("7_0"), [insert("b", 10, lsn="7"), up_to_date], "test", live=True)
    assert log.ask_again
    log.receive_nothing(headers("7_0"))
    assert not log.ask_again


def test_a_new_log_has_moved_from_nothing(log):
    """Whether the first answer after a snapshot left the offset is said of that log alone."""
    up_to_date = {"headers": {"control": "up-to-date", "global_last_seen_lsn": "1"}}
    log.receive(headers("0_0"), [insert("a", 10)], "test")
    log.receive(headers("0_0"), [up_to_date], "test")
    assert log.unmoved
    log.refetch()
    assert not log.unmoved
