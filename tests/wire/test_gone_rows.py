"""What a log remembers of rows that its shape has no longer (docs/protocol.md, section 2)."""

from __future__ import annotations

from datetime import datetime, timezone

import attrs
import pytest

from trigger_realtime_sync._wire import gone_rows
from trigger_realtime_sync._wire.gone_rows import AbsentRows, GoneRows
from trigger_realtime_sync._wire.row_judge import DOUBT_SECONDS, GoneRow

NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)


@attrs.frozen
class Row:
    is_finished: bool
    size: int = 10
    updated_at: datetime = NOW


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> GoneRows[Row]:
    """Keeps 30 bytes of rows whole, and remembers four unfinished ones."""
    monkeypatch.setattr(gone_rows, "MOST_BYTES", 30)
    monkeypatch.setattr(gone_rows, "GONE_LIMIT", 4)
    return GoneRows(lambda row: (row, row.size))


def test_the_newest_are_whole(gone):
    """By their weight; of the others is known whether they had finished, and when they changed."""
    gone.add("a", Row(is_finished=True))
    gone.add("b", Row(is_finished=False))
    for key in "cde":
        gone.add(key, Row(is_finished=True))
    assert [gone.left_of(key) for key in "abc"] == [GoneRow(True), GoneRow(False, NOW), None]
    assert gone.take("c") == Row(is_finished=True)
    assert gone.take("c") is None
    gone.add("f", Row(is_finished=True))
    assert gone.left_of("d") is None


def test_all_that_had_finished_are_remembered(gone):
    """However many, and of the unfinished ones the newest."""
    for n in range(20):
        gone.add(f"f{n}", Row(is_finished=True))
        gone.add(f"u{n}", Row(is_finished=False, size=0))
    whole = [n for n in range(20) if gone.left_of(f"f{n}") is None]
    assert whole == [18, 19]
    assert [n for n in range(20) if gone.left_of(f"u{n}")] == []


def test_one_that_is_back_is_forgotten(gone):
    """In whichever form it was kept, and it may go again."""
    for key in "abcd":
        gone.add(key, Row(is_finished=True))
    assert gone.knows_any_of({"a": None, "x": None})
    assert gone.knows_any_of({"d": None})
    assert not gone.knows_any_of({"x": None})
    for key in "ad":
        gone.forget(key)
        assert gone.left_of(key) is None
        assert gone.take(key) is None
        assert not gone.knows_any_of({key: None})
    gone.add("a", Row(is_finished=True, size=9))
    assert gone.take("a") == Row(is_finished=True, size=9)


def test_a_row_that_weighs_more_than_all(gone):
    """It is not kept whole."""
    gone.add("a", Row(is_finished=True))
    gone.add("b", Row(is_finished=True, size=31))
    assert gone.left_of("b") == GoneRow(True)


def test_absent_rows_are_gone_when_a_later_snapshot_lacks_them_too():
    """Not before that, and not where one between had them."""
    rows = AbsentRows()
    assert rows.gone(["a", "b"], 100.0) == []
    assert rows.gone(["a", "b"], 101.0) == []
    assert rows.gone(["a", "c"], 102.0) == []
    assert rows.gone(["a", "b", "c"], 100.0 + DOUBT_SECONDS) == ["a"]
    assert rows.gone(["b", "c"], 102.0 + DOUBT_SECONDS) == ["c"]
