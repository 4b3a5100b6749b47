"""The shape log, without a socket (docs/protocol.md, section 2)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.support.shape import UP_TO_DATE
from trigger_realtime_sync._wire import gone_rows
from trigger_realtime_sync._wire.changes import Changes
from trigger_realtime_sync._wire.postgres import parse_timestamp
from trigger_realtime_sync._wire.shape_log import (
    MANY_ROWS,
    MOST_AT_ONCE,
    MissingHeader,
    ShapeLog,
)
from trigger_realtime_sync._wire.shape_messages import check_messages
from trigger_realtime_sync.errors import ProtocolError


@attrs.frozen
class Row:
    status: Any
    note: Any
    updated_at: Any

    @property
    def is_finished(self) -> bool:
        return self.status == "done"


def decode(columns: Any, last: Row | None) -> Row:
    if columns.get("status") == "broken":
        raise ProtocolError("it does not decode")
    updated_at = columns.get("updatedAt")
    instant = None if updated_at is None else parse_timestamp(updated_at)
    return Row(columns.get("status"), columns.get("note"), instant)


def decode_many(rows: Any) -> list[Row] | None:
    """Decode all rows, or none."""
    broken = any(one["status"] == "broken" for one in rows)
    return None if broken else [decode(one, None) for one in rows]


def headers(offset: str = "1_1", handle: str = "h1", cursor: str | None = None) -> dict[str, str]:
    answer = {"electric-handle": handle, "electric-offset": offset}
    return {**answer, "electric-cursor": cursor} if cursor is not None else answer


def row(key: str, operation: str = "insert", **value: Any) -> dict[str, Any]:
    if operation == "insert":
        value["friendlyId"] = f"run_{key}"
    return {"key": key, "value": value, "headers": {"operation": operation}}


def insert(key: str, status: str, second: int = 0) -> dict[str, Any]:
    return row(key, status=status, updatedAt=at(second))


def delete(key: str) -> dict[str, Any]:
    return {"key": key, "headers": {"operation": "delete"}}


def at(second: int, blank: bool = False) -> str:
    return f"2026-11-23{' ' if blank else 'T'}06:00:{second:02}"


def read(log: ShapeLog[Row], *messages: Any, **answer: Any) -> Any:
    return log.receive(headers(**answer), list(messages), "test")


def statuses(changes: Changes[Row]) -> dict[str, Any]:
    return {key: row.status for key, row in changes.rows.items()}


@pytest.fixture
def log() -> ShapeLog[Row]:
    return ShapeLog(decode)


def test_the_first_request_asks_for_everything(log):
    """It starts at offset -1, with no handle, not live."""
    assert log.query() == {"log": "full", "offset": "-1"}


def test_a_snapshot_is_read_on_until_it_is_up_to_date(log):
    """Rows are kept back until `up-to-date`; the requests in between are not live."""
    assert not read(log, row("a", status="1"), offset="0_0", handle="hé")
    assert log.query() == {"log": "full", "offset": "0_0", "handle": "hé"}
    assert not read(log, offset="0_1", handle="hé")
    changes = read(log, row("b", status="2"), UP_TO_DATE, offset="0_inf", handle="hé")
    assert list(changes.rows) == ["a", "b"]
    assert log.query() == {
        "log": "full",
        "offset": "0_inf",
        "handle": "hé",
        "live": "true",
        "cursor": "",
    }


def test_an_answer_of_another_log_starts_again(log):
    """A 200 with another handle than the one that was asked with is of another backend."""
    read(log, row("a", status="1"), UP_TO_DATE)
    assert read(log, row("a", "update", status="2"), UP_TO_DATE, handle="h2") is None
    assert (log.query()["offset"], log.from_cache) == ("-1", False)


def test_the_cursor_of_an_answer_goes_into_the_next_request(log):
    """It is echoed, whatever it is, and kept while an answer brings none."""
    read(log, UP_TO_DATE)
    read(log, UP_TO_DATE, cursor="opaque/✓")
    assert log.query()["cursor"] == "opaque/✓"
    read(log, UP_TO_DATE)
    assert log.query()["cursor"] == "opaque/✓"


def test_a_row_is_handed_out_once_for_each_answer(log):
    """Two changes of one key in an answer show as the last; keys come as first touched."""
    changes = read(
        log,
        row("b", status="1"),
        row("a", status="1"),
        row("b", "update", status="2"),
        UP_TO_DATE,
    )
    assert [(key, one.status) for key, one in changes.rows.items()] == [("b", "2"), ("a", "1")]


def test_an_update_merges_and_an_insert_replaces(log):
    """Electric sends only what changed; an insert is a whole row."""
    read(log, row("a", status="1", note="x"), UP_TO_DATE)
    assert read(log, row("a", "update", status="2"), UP_TO_DATE).rows["a"].note == "x"
    assert read(log, row("a", "insert", status="3"), UP_TO_DATE).rows["a"].note is None


def test_an_update_of_a_key_never_seen_is_a_whole_row(log):
    """So a single run's row arrives when its first answer was up-to-date alone."""
    assert not read(log, UP_TO_DATE)
    whole = row("a", "update", status="1", friendlyId="run_a")
    assert read(log, whole, UP_TO_DATE).rows["a"].status == "1"


def test_a_partial_row_without_its_base_starts_the_log_again(log):
    """Something stale came in between; only a snapshot can tell what the row is."""
    read(log, row("a", status="1"), UP_TO_DATE)
    assert read(log, row("b", "update", status="2"), UP_TO_DATE) is None
    assert log.query()["offset"] == "-1"
    both = [row("a", status="1"), row("b"), row("b", "update", status="3"), UP_TO_DATE]
    assert {key: one.status for key, one in read(log, *both).rows.items()} == {"b": "3"}


def test_a_delete_removes(log):
    """The row is gone, once, and may come back as news."""
    read(log, row("a", status="1"), UP_TO_DATE)
    deletion = {"key": "a", "value": {"id": "a"}, "headers": {"operation": "delete"}}
    changes = read(log, deletion, UP_TO_DATE)
    assert (changes.gone, changes.rows) == (["a"], {})
    assert not read(log, deletion, UP_TO_DATE)
    assert list(read(log, row("a", status="1"), UP_TO_DATE).rows) == ["a"]


def test_a_row_that_is_deleted_and_inserted_at_once_stays(log):
    """Only the state at up-to-date counts."""
    read(log, row("a", status="1"), UP_TO_DATE)
    changes = read(log, delete("a"), row("a", status="2"), UP_TO_DATE)
    assert (list(changes.rows), changes.gone) == (["a"], [])


def test_a_row_that_equals_the_last_is_no_news(log):
    """A catch-up may send it again."""
    read(log, row("a", status="1"), UP_TO_DATE)
    assert not read(log, row("a", "update", status="1"), UP_TO_DATE)


def test_a_whole_row_whose_time_went_back_is_not_told(log):
    """Under replica lag an older state may follow a newer one. Partial rows do not build on it."""
    read(log, row("a", status="2", updatedAt=at(2)), UP_TO_DATE)
    whole = row("a", "update", status="1", updatedAt=at(1), friendlyId="run_a")
    assert not read(log, whole, UP_TO_DATE)
    assert read(log, row("a", "update", note="x", updatedAt=at(3)), UP_TO_DATE).rows["a"] == Row(
        "2", "x", parse_timestamp(at(3))
    )


def test_times_compare_as_instants(log):
    """Electric writes a blank where native has a T: neither is the later one for it."""
    read(log, row("a", status="1", updatedAt=at(1)), UP_TO_DATE)
    changes = read(log, row("a", "update", status="2", updatedAt=at(2, blank=True)), UP_TO_DATE)
    assert changes.rows["a"].status == "2"


def test_a_partial_row_is_merged_whatever_its_time(log):
    """The order is the log's: writers take the time before they commit, each by its own clock."""
    read(log, row("a", status="2", note="1", updatedAt=at(2)), UP_TO_DATE)
    changes = read(log, row("a", "update", note="2", updatedAt=at(1)), UP_TO_DATE)
    assert changes.rows["a"] == Row("2", "2", parse_timestamp(at(1)))
    changes = read(log, row("a", "update", status="3", updatedAt=at(3)), UP_TO_DATE)
    assert changes.rows["a"].note == "2"


def test_after_a_rotation_the_log_starts_again(log):
    """No handle, no cursor, and a cache-busting parameter that is fresh each time."""
    read(log, UP_TO_DATE, cursor="7")
    log.refetch()
    first = log.query()
    assert first.pop("cache-buster")
    assert first == {"log": "full", "offset": "-1"}
    busters = set()
    for _ in range(20):
        log.refetch()
        busters.add(log.query()["cache-buster"])
    assert len(busters) == 20


def test_what_comes_back_unchanged_after_a_rotation_is_no_news(log):
    """What changed is. What does not come back is gone if it had finished, else missing."""
    read(log, *(row(key, status="done" if key == "d" else "1") for key in "abcd"), UP_TO_DATE)
    log.refetch()
    assert not read(log, row("a", status="1"), handle="h2")
    changes = read(log, row("b", status="2"), UP_TO_DATE, handle="h2")
    assert list(changes.rows) == ["b"]
    assert (changes.gone, changes.missing) == (["d"], ["c"])
    assert "cache-buster" not in log.query()


def test_a_rotation_within_an_answer(log):
    """A must-refetch control starts the log again, and nothing of that answer counts."""
    read(log, row("a", status="1"), UP_TO_DATE)
    control = {"headers": {"control": "must-refetch"}}
    assert read(log, row("a", "update", status="2"), control, UP_TO_DATE) is None
    assert log.query()["offset"] == "-1"
    assert not read(log, row("a", status="1"), UP_TO_DATE, handle="h2")


def test_a_late_older_state_of_a_row_that_was_gone(log):
    """It is back, in the newest state that is known of it."""
    read(log, row("a", status="2", updatedAt=at(2)), UP_TO_DATE)
    assert read(log, delete("a"), UP_TO_DATE).gone == ["a"]
    late = row("a", "update", status="1", updatedAt=at(1), friendlyId="run_a")
    changes = read(log, late, UP_TO_DATE)
    assert changes.rows["a"].status == "2"


def test_unknown_controls_and_header_keys_are_ignored(log):
    """The protocol may grow."""
    message = row("a", status="1")
    message["headers"].update(relation=["public", "TaskRun"], lsn="0/1", last=True)
    end = {"headers": {"control": "snapshot-end", "xmin": "1", "xmax": "2", "xip_list": []}}
    changes = read(log, {"headers": {"control": "new-thing"}}, message, end, UP_TO_DATE)
    assert list(changes.rows) == ["a"]


@pytest.mark.parametrize("missing", ["electric-handle", "electric-offset"])
def test_a_missing_header_is_named(log, missing):
    """A proxy stripped it: the log can't go on, and stands as it was."""
    answer = headers()
    del answer[missing]
    with pytest.raises(MissingHeader, match=missing):
        log.receive(answer, [UP_TO_DATE], "run run_1")
    assert log.query() == {"log": "full", "offset": "-1"}


@pytest.mark.parametrize(
    "messages",
    [
        {},
        "text",
        None,
        [1],
        [{}],
        [{"headers": []}],
        [{"key": 1, "value": {}, "headers": {"operation": "insert"}}],
        [{"key": "a", "value": {}, "headers": {}}],
        [{"key": "a", "value": {}, "headers": {"operation": "truncate"}}],
        [{"key": "a", "value": None, "headers": {"operation": "insert"}}],
    ],
)
def test_what_is_no_shape_log_is_refused_whole(log, messages):
    """Nothing of the answer is taken in."""
    with pytest.raises(ProtocolError, match="test"):
        log.receive(headers(), messages, "test")
    assert log.query() == {"log": "full", "offset": "-1"}


def test_a_deeply_nested_message_is_refused():
    """Even its repr would be too deep."""
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ProtocolError, match="nested"):
        check_messages([nested], "test")


def test_a_row_that_does_not_decode_is_told_apart(log):
    """The others arrive, and it does too, once it decodes."""
    changes = read(log, row("a", status="broken"), row("b", status="1"), UP_TO_DATE)
    assert list(changes.rows) == ["b"]
    assert list(changes.failures) == ["a"]
    assert read(log, row("a", "update", status="1"), UP_TO_DATE).rows["a"].status == "1"


def test_nothing_new_by_204(log):
    """An old server's way to say up-to-date; the known offset stays."""
    read(log, UP_TO_DATE, offset="5_5")
    assert not log.receive_nothing({"electric-cursor": "9", "electric-offset": "5"})
    assert log.query() == {
        "log": "full",
        "offset": "5_5",
        "handle": "h1",
        "live": "true",
        "cursor": "9",
    }


def test_a_204_before_anything_does_not_go_live(log):
    """There is no handle to poll with."""
    log.receive_nothing({})
    assert log.query() == {"log": "full", "offset": "-1"}


def test_forgetting_what_was_seen(log):
    """The next snapshot counts as new, and the one after it does not."""
    read(log, row("a", status="1"), UP_TO_DATE)
    log.forget_seen()
    log.refetch()
    assert list(read(log, row("a", status="1"), UP_TO_DATE).rows) == ["a"]
    log.refetch()
    assert not read(log, row("a", status="1"), UP_TO_DATE)


def test_many_new_rows_are_decoded_together(log):
    """Once, if they can be; else one by one, and those that can't be are told apart. Rows that are
    known are compared one by one."""
    together: list[int] = []

    def count_and_decode(rows: Any) -> list[Row] | None:
        together.append(len(rows))
        return decode_many(rows)

    log = ShapeLog(decode, count_and_decode)
    many = [row(str(n), status="1") for n in range(MANY_ROWS)]
    assert len(read(log, *many, UP_TO_DATE).rows) == MANY_ROWS
    log.refetch()
    changes = read(log, *many, row("new", status="broken"), UP_TO_DATE)
    assert (changes.rows, list(changes.failures)) == ({}, ["new"])
    more = [row(f"more {n}", status="broken" if n == 3 else "1") for n in range(MANY_ROWS)]
    changes = read(log, *more, UP_TO_DATE)
    assert len(changes.rows) == MANY_ROWS - 1
    assert list(changes.failures) == ["more 3"]
    assert together == [MANY_ROWS, MANY_ROWS]


def test_a_row_that_does_not_decode_hinders_few_others():
    """Only those that are decoded together with it are decoded one by one."""
    alone: list[Any] = []

    def decode_one(columns: Any, last: Row | None) -> Row:
        alone.append(columns["note"])
        return decode(columns, last)

    log = ShapeLog(decode_one, decode_many)
    count = 3 * MOST_AT_ONCE
    many = [row(str(n), status="broken" if n == 5 else "1", note=n) for n in range(count)]
    changes = read(log, *many, UP_TO_DATE)
    assert list(changes.failures) == ["5"]
    assert list(changes.rows) == [str(n) for n in range(count) if n != 5]
    assert alone == list(range(MOST_AT_ONCE))


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
    assert not log.receive_nothing(headers(cursor="c1"))
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
    assert read(log, unknown, row("a", "update", status="1"), UP_TO_DATE) is None


def test_a_deleted_row_is_no_base(log):
    """A partial row after a delete starts the log again, in one answer or in two."""
    read(log, insert("a", "1"), insert("b", "1"), UP_TO_DATE)
    read(log, delete("b"), UP_TO_DATE)
    assert read(log, row("b", "update", status="2"), UP_TO_DATE) is None
    read(log, insert("a", "1"), UP_TO_DATE)
    assert read(log, delete("a"), row("a", "update", status="2"), UP_TO_DATE) is None


def test_the_decoder_gets_the_row_that_was_handed_out_last():
    """So that it can keep what did not change."""
    seen: list[Row | None] = []

    def remember(columns: Any, last: Row | None) -> Row:
        seen.append(last)
        return decode(columns, last)

    log = ShapeLog(remember)
    read(log, insert("a", "1"), UP_TO_DATE)
    first = read(log, row("a", "update", status="2"), UP_TO_DATE).rows["a"]
    read(log, row("a", "update", status="3"), UP_TO_DATE)
    assert seen == [None, Row("1", None, parse_timestamp(at(0))), first]


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
    assert statuses(read(log, row("a", "update", status="2", updatedAt=again), UP_TO_DATE)) == {
        "a": "2"
    }


def test_a_time_that_cannot_be_read_is_not_older():
    """Whether it can be read is for the decoder to say: the row is not dropped in silence."""
    log = ShapeLog(lambda columns, _: Row(columns["status"], None, None))
    read(log, insert("a", "1"), UP_TO_DATE)
    change = row("a", "update", status="2", updatedAt="someday")
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
    monkeypatch.setattr(gone_rows, "GONE_LIMIT", 2)
    read(log, *(insert(key, "new", 5) for key in "abc"), UP_TO_DATE)
    for key in "abc":
        read(log, delete(key), UP_TO_DATE)
    changes = read(log, *(insert(key, "old", 4) for key in "abc"), UP_TO_DATE)
    assert statuses(changes) == {"a": "old", "b": "new", "c": "new"}
