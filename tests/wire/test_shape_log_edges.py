"""The shape log at its edges: stale answers, rows that come back, and answers without a body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from trigger_realtime_sync._wire import shape_log
from trigger_realtime_sync._wire.shape_log import MANY_ROWS, Changes, ShapeLog
from trigger_realtime_sync.errors import ProtocolError

UP_TO_DATE = {"headers": {"control": "up-to-date"}}


@attrs.frozen
class Row:
    status: Any
    updated_at: Any


def decode(columns: Mapping[str, Any], last: Row | None) -> Row:
    if columns.get("status") == "broken":
        raise ProtocolError("it does not decode")
    updated_at = columns.get("updatedAt")
    return Row(columns.get("status"), updated_at and updated_at.replace(" ", "T"))


def decode_many(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [decode(columns, None) for columns in rows]


def at(second: int) -> str:
    return f"2026-11-23T06:00:{second:02}"


def insert(key: str, status: str, second: int = 0) -> dict[str, Any]:
    value = {"friendlyId": f"run_{key}", "status": status, "updatedAt": at(second)}
    return {"key": key, "value": value, "headers": {"operation": "insert"}}


def update(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value, "headers": {"operation": "update"}}


def delete(key: str) -> dict[str, Any]:
    return {"key": key, "headers": {"operation": "delete"}}


def headers(cursor: str | None = None) -> dict[str, str]:
    answer = {"electric-handle": "h1", "electric-offset": "1_1"}
    return answer if cursor is None else {**answer, "electric-cursor": cursor}


def read(log: ShapeLog[Row], *messages: Any, cursor: str | None = None) -> Any:
    return log.receive(headers(cursor), list(messages), "test")


def statuses(changes: Changes[Row]) -> dict[str, Any]:
    return {key: row.status for key, row in changes.rows.items()}


@pytest.fixture
def log() -> ShapeLog[Row]:
    return ShapeLog(decode)


def test_any_kind_of_change_is_a_change():
    """Changes are true for rows alone, gone keys alone and failures alone, and false for none."""
    assert not Changes()
    assert Changes(rows={"a": 1})
    assert Changes[Any](gone=["a"])
    assert Changes[Any](failures={"a": ProtocolError("it does not decode")})


def test_a_rotation_forgets_the_cursor(log):
    """The cursor belonged to the old shape: the first live request of the new one has none."""
    read(log, UP_TO_DATE, cursor="old")
    log.refetch()
    read(log, UP_TO_DATE)
    assert log.query()["cursor"] == ""


def test_a_first_answer_without_a_body_goes_live_by_its_headers(log):
    """A 204 with handle and offset is a whole answer: nothing is there yet."""
    assert not log.receive_nothing(headers("c1"))
    live = {"live": "true", "cursor": "c1"}
    assert log.query() == {"log": "full", "offset": "1_1", "handle": "h1", **live}


@pytest.mark.parametrize("lacking", ["electric-handle", "electric-offset"])
def test_half_the_headers_do_not_make_it_live(log, lacking):
    """Without a handle or an offset, a live request would have no position to wait at."""
    answer = headers()
    del answer[lacking]
    assert not log.receive_nothing(answer)
    assert not log.live
    assert "live" not in log.query()


def test_a_204_completes_what_came_before_it(log):
    """Rows of an answer that was not up to date are kept back until a 204 says that all is."""
    assert not read(log, insert("a", "1"))
    assert statuses(log.receive_nothing(headers())) == {"a": "1"}


def test_a_204_without_headers_after_a_rotation_loses_no_row(log):
    """It proves nothing about the rows that are still to come back."""
    read(log, insert("a", "1"), UP_TO_DATE)
    log.refetch()
    assert not log.receive_nothing({})
    assert not read(log, insert("a", "1"), UP_TO_DATE)


def test_a_control_does_not_hide_the_partial_row_after_it(log):
    """Every message is looked at for its base, also those after an unknown control."""
    unknown = {"headers": {"control": "brand-new"}}
    assert read(log, unknown, update("a", status="1"), UP_TO_DATE) is None


def test_a_deleted_row_is_no_base(log):
    """A partial row after a delete starts the log again, in one answer or in two."""
    read(log, insert("a", "1"), insert("b", "1"), UP_TO_DATE)
    read(log, delete("b"), UP_TO_DATE)
    assert read(log, update("b", status="2"), UP_TO_DATE) is None
    read(log, insert("a", "1"), UP_TO_DATE)
    assert read(log, delete("a"), update("a", status="2"), UP_TO_DATE) is None


def test_the_decoder_gets_the_row_that_was_handed_out_last():
    """So that it can keep what did not change."""
    seen: list[Row | None] = []

    def remember(columns: Mapping[str, Any], last: Row | None) -> Row:
        seen.append(last)
        return decode(columns, last)

    log = ShapeLog(remember)
    read(log, insert("a", "1"), UP_TO_DATE)
    first = read(log, update("a", status="2"), UP_TO_DATE).rows["a"]
    read(log, update("a", status="3"), UP_TO_DATE)
    assert seen == [None, Row("1", at(0)), first]


def test_a_failure_comes_with_its_error(log):
    """The error of the decoder itself, by the row's key; the other rows arrive."""
    changes = read(log, insert("a", "broken"), insert("b", "1"), UP_TO_DATE)
    assert str(changes.failures["a"]) == "it does not decode"
    assert statuses(changes) == {"b": "1"}


def test_a_snapshot_after_a_rotation_does_not_take_a_row_back(log):
    """An older state from a cache is dropped; another state of the same instant is news."""
    read(log, insert("a", "new", 5), UP_TO_DATE)
    log.refetch()
    assert not read(log, insert("a", "old", 4), UP_TO_DATE)
    log.refetch()
    assert statuses(read(log, insert("a", "other", 5), UP_TO_DATE)) == {"a": "other"}


def test_an_instant_that_is_spelled_differently_is_not_older(log):
    """The two backends write `T` or a blank: a partial row of the same instant is merged."""
    read(log, insert("a", "1", 5), UP_TO_DATE)
    again = at(5).replace("T", " ")
    assert statuses(read(log, update("a", status="2", updatedAt=again), UP_TO_DATE)) == {"a": "2"}


def test_a_time_that_cannot_be_read_is_not_older():
    """Whether it can be read is for the decoder to say: the row is not dropped in silence."""
    log = ShapeLog(lambda columns, _: Row(columns["status"], None))
    read(log, insert("a", "1"), UP_TO_DATE)
    change = update("a", status="2", updatedAt="someday")
    assert statuses(read(log, change, UP_TO_DATE)) == {"a": "2"}


def test_rows_that_come_back_together_are_no_older_than_they_were():
    """Decoded at once, they are still compared with what they were before they went away."""
    log = ShapeLog(decode, decode_many)
    keys = [f"k{n}" for n in range(MANY_ROWS)]
    read(log, *(insert(key, "new", 5) for key in keys), UP_TO_DATE)
    read(log, *map(delete, keys), UP_TO_DATE)
    changes = read(log, *(insert(key, "old", 4) for key in keys), UP_TO_DATE)
    assert statuses(changes) == dict.fromkeys(keys, "new")


def test_only_the_rows_that_went_away_last_are_remembered(log, monkeypatch):
    """The memory is bounded: of three rows that went away, it keeps the last two."""
    monkeypatch.setattr(shape_log, "GONE_LIMIT", 2)
    read(log, *(insert(key, "new", 5) for key in "abc"), UP_TO_DATE)
    for key in "abc":
        read(log, delete(key), UP_TO_DATE)
    changes = read(log, *(insert(key, "old", 4) for key in "abc"), UP_TO_DATE)
    assert statuses(changes) == {"a": "old", "b": "new", "c": "new"}
