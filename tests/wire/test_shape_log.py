"""The shape log, without a socket (docs/protocol.md, section 2)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from trigger_realtime_sync._wire.postgres import parse_timestamp
from trigger_realtime_sync._wire.shape_log import MANY_ROWS, MOST_AT_ONCE, MissingHeader, ShapeLog
from trigger_realtime_sync._wire.shape_messages import check_messages
from trigger_realtime_sync.errors import ProtocolError

UP_TO_DATE = {"headers": {"control": "up-to-date"}}


@attrs.frozen
class Row:
    status: Any
    note: Any
    updated_at: Any


def decode(columns: Any, last: Row | None) -> Row:
    if columns.get("status") == "broken":
        raise ProtocolError("it does not decode")
    updated_at = columns.get("updatedAt")
    instant = None if updated_at is None else parse_timestamp(updated_at)
    return Row(columns.get("status"), columns.get("note"), instant)


def headers(offset: str = "1_1", handle: str = "h1", cursor: str | None = None) -> dict[str, str]:
    answer = {"electric-handle": handle, "electric-offset": offset}
    return {**answer, "electric-cursor": cursor} if cursor is not None else answer


def row(key: str, operation: str = "insert", **value: Any) -> dict[str, Any]:
    if operation == "insert":
        value["friendlyId"] = f"run_{key}"
    return {"key": key, "value": value, "headers": {"operation": operation}}


def at(second: int, blank: bool = False) -> str:
    return f"2026-11-23{' ' if blank else 'T'}06:00:{second:02}"


def read(log: ShapeLog[Row], *messages: Any, **answer: Any) -> Any:
    return log.receive(headers(**answer), list(messages), "test")


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
    assert not read(log, offset="0_1")
    changes = read(log, row("b", status="2"), UP_TO_DATE, offset="0_inf")
    assert list(changes.rows) == ["a", "b"]
    assert log.query() == {
        "log": "full",
        "offset": "0_inf",
        "handle": "h1",
        "live": "true",
        "cursor": "",
    }


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
    changes = read(
        log, {"key": "a", "headers": {"operation": "delete"}}, row("a", status="2"), UP_TO_DATE
    )
    assert (list(changes.rows), changes.gone) == (["a"], [])


def test_a_row_that_equals_the_last_is_no_news(log):
    """A catch-up may send it again."""
    read(log, row("a", status="1"), UP_TO_DATE)
    assert not read(log, row("a", "update", status="1"), UP_TO_DATE)


def test_a_row_whose_time_went_back_is_dropped(log):
    """Under replica lag an older state may follow a newer one."""
    read(log, row("a", status="2", updatedAt=at(2)), UP_TO_DATE)
    assert not read(log, row("a", "update", status="1", updatedAt=at(1)), UP_TO_DATE)
    assert read(log, row("a", "update", note="x", updatedAt=at(3)), UP_TO_DATE).rows["a"] == Row(
        "2", "x", parse_timestamp(at(3))
    )


def test_times_compare_as_instants(log):
    """Electric writes a blank where native has a T: neither is the later one for it."""
    read(log, row("a", status="1", updatedAt=at(1)), UP_TO_DATE)
    changes = read(log, row("a", "update", status="2", updatedAt=at(2, blank=True)), UP_TO_DATE)
    assert changes.rows["a"].status == "2"


def test_an_older_partial_row_is_not_merged(log):
    """Its old columns must not show under the next partial row."""
    read(log, row("a", status="2", note="new", updatedAt=at(2)), UP_TO_DATE)
    read(log, row("a", "update", note="old", updatedAt=at(1)), UP_TO_DATE)
    changes = read(log, row("a", "update", status="3", updatedAt=at(3)), UP_TO_DATE)
    assert changes.rows["a"].note == "new"


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
    """What changed is; what does not come back is gone."""
    read(log, row("a", status="1"), row("b", status="1"), row("c", status="1"), UP_TO_DATE)
    log.refetch()
    assert not read(log, row("a", status="1"), handle="h2")
    changes = read(log, row("b", status="2"), UP_TO_DATE, handle="h2")
    assert list(changes.rows) == ["b"]
    assert changes.gone == ["c"]
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
    log.refetch()
    assert read(log, UP_TO_DATE, handle="h2").gone == ["a"]
    late = row("a", "update", status="1", updatedAt=at(1), friendlyId="run_a")
    changes = read(log, late, UP_TO_DATE, handle="h2")
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

    def decode_many(rows: Any) -> list[Row] | None:
        together.append(len(rows))
        return (
            None
            if any(one["status"] == "broken" for one in rows)
            else [decode(one, None) for one in rows]
        )

    log = ShapeLog(decode, decode_many)
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

    def decode_many(rows: Any) -> list[Row] | None:
        broken = any(one["status"] == "broken" for one in rows)
        return None if broken else [decode(one, None) for one in rows]

    log = ShapeLog(decode_one, decode_many)
    count = 3 * MOST_AT_ONCE
    many = [row(str(n), status="broken" if n == 5 else "1", note=n) for n in range(count)]
    changes = read(log, *many, UP_TO_DATE)
    assert list(changes.failures) == ["5"]
    assert list(changes.rows) == [str(n) for n in range(count) if n != 5]
    assert alone == list(range(MOST_AT_ONCE))
