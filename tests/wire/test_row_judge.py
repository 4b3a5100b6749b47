"""Which rows are news, and which are old states sent again (docs/protocol.md, section 2)."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from trigger_realtime_sync._wire.row_judge import DOUBT_SECONDS, RowJudge
from trigger_realtime_sync._wire.shape_log import ShapeLog

NATIVE = {"headers": {"control": "up-to-date"}}
ELECTRIC = {"headers": {"control": "up-to-date", "global_last_seen_lsn": "1"}}


@attrs.frozen
class Row:
    status: str
    updated_at: int | None
    note: str | None = None

    @property
    def is_finished(self) -> bool:
        return self.status == "done"


NEW, OLD, DONE = Row("new", 5), Row("old", 1), Row("done", 1)


def decode(columns: Any, last: Row | None) -> Row:
    stamp = columns.get("updatedAt")
    return Row(columns["status"], stamp and int(stamp[-2:]), columns.get("note"))


class Log:
    """A log whose answers are written in a line, and the time at which they come."""

    def __init__(self, end: Any = NATIVE) -> None:
        self.end = end
        self.told: dict[str, Row] = {}
        self.log: ShapeLog[Row] = ShapeLog(decode, told=self._known)
        self.offset = 0

    def _known(self, row_keys: Any) -> dict[str, Row]:
        return {key: self.told[key] for key in row_keys if key in self.told}

    def get(self, *rows: Any, live: bool = False, now: float = 0.0, handle: str = "h") -> list[str]:
        """Receive an answer; return the statuses that are to be told."""
        self.offset += 1
        headers = {"electric-handle": handle, "electric-offset": f"{self.offset}_0"}
        changes = self.log.receive(headers, [*rows, self.end], "test", live=live, now=now)
        assert changes is not None
        self.told.update(changes.rows)
        for row_key in changes.gone:
            del self.told[row_key]
        return [row.status for row in changes.rows.values()]


def stamp(second: int) -> str:
    return f"2026-11-23T06:00:{second:02}"


def whole(status: str, second: int, operation: str = "insert", key: str = "a", **more: Any) -> Any:
    value = {"friendlyId": f"run_{key}", "status": status, "updatedAt": stamp(second), "note": None}
    return {"key": key, "value": {**value, **more}, "headers": {"operation": operation}}


def change(lsn: int = 1, key: str = "a", **value: Any) -> Any:
    """A partial row of Electric's log."""
    headers = {"operation": "update", "lsn": str(lsn), "last": True}
    return {"key": key, "value": value, "headers": headers}


def delete(key: str = "a") -> Any:
    return {"key": key, "headers": {"operation": "delete"}}


# --- one row


def judge_of(*, whole: bool) -> RowJudge[Row]:
    judge: RowJudge[Row] = RowJudge()
    if whole:
        judge.came_whole(["a"])
    return judge


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("row", [OLD, DONE, Row("new", 9)])
def test_a_change_of_the_log_is_news_whatever_its_stamp(live, row):
    """Only rows that came whole may have been sent again."""
    assert judge_of(whole=False).accepts("a", NEW, row, live=live, now=0)


@pytest.mark.parametrize("row", [DONE, Row("new", 5, "other"), Row("new", 6), Row("new", None)])
def test_a_whole_row_is_news_unless_it_is_unfinished_and_older(row):
    """A finished state is never dropped for its stamp, nor one without a stamp."""
    assert judge_of(whole=True).accepts("a", NEW, row, live=False, now=0)


def test_the_first_state_of_a_row_is_never_doubted():
    """There is nothing to compare it with."""
    assert judge_of(whole=True).accepts("a", None, OLD, live=False, now=0)


def test_a_finished_row_never_goes_on():
    """Not even by a later stamp: nothing starts a finished run again."""
    for came_whole in (False, True):
        judge = judge_of(whole=came_whole)
        assert not judge.accepts("a", DONE, Row("new", 9), live=False, now=0)
        assert judge.accepts("a", DONE, Row("done", 9), live=False, now=0)
        assert not judge.doubts


def test_an_older_state_is_told_when_it_stays():
    """An answer that is not live, and comes long enough after the first one, confirms it."""
    judge = judge_of(whole=True)
    assert not judge.accepts("a", NEW, OLD, live=False, now=100)
    assert judge.doubts
    assert not judge.accepts("a", NEW, OLD, live=False, now=100 + DOUBT_SECONDS - 0.1)
    assert not judge.accepts("a", NEW, OLD, live=True, now=100 + DOUBT_SECONDS)
    assert judge.accepts("a", NEW, OLD, live=False, now=100 + DOUBT_SECONDS)
    assert not judge.doubts


def test_another_older_state_begins_anew():
    """It has been seen only once."""
    judge = judge_of(whole=True)
    judge.accepts("a", NEW, OLD, live=False, now=0)
    other = Row("other", 2)
    assert not judge.accepts("a", NEW, other, live=False, now=DOUBT_SECONDS)
    assert not judge.accepts("a", NEW, other, live=False, now=DOUBT_SECONDS + 1)
    assert judge.accepts("a", NEW, other, live=False, now=2 * DOUBT_SECONDS)


def test_the_newer_state_ends_the_doubt():
    """It was a cache or a replica."""
    judge = judge_of(whole=True)
    judge.accepts("a", NEW, OLD, live=False, now=0)
    assert judge.accepts("a", NEW, NEW, live=False, now=1)
    assert not judge.doubts


# --- through the log


@pytest.mark.parametrize("live", [False, True])
def test_an_earlier_stamp_of_a_partial_row(live):
    """It is merged over the row as it stands, and told."""
    log = Log(ELECTRIC)
    log.get(whole("new", 5, note="kept"))
    assert log.get(change(status="next", updatedAt=stamp(1)), live=live) == ["next"]
    assert log.told["a"] == Row("next", 1, "kept")
    assert log.get(change(2, note="n"), live=live) == ["next"]
    assert log.told["a"] == Row("next", 1, "n")


@pytest.mark.parametrize("end", [NATIVE, ELECTRIC], ids=["native", "electric"])
@pytest.mark.parametrize("live", [False, True])
def test_an_earlier_stamp_of_a_finished_row(end, live):
    """It finishes at once, whole or not."""
    log = Log(end)
    log.get(whole("new", 5))
    assert log.get(whole("done", 1, "update"), live=live) == ["done"]


def test_a_stale_row_is_no_base_of_a_partial_one():
    """The log does not go on from what a cache sent in between."""
    log = Log(ELECTRIC)
    log.get(whole("new", 5, note="kept"))
    assert log.get(whole("old", 1, note="stale")) == []
    assert log.get(change(status="next", updatedAt=stamp(6)), live=True) == ["next"]
    assert log.told["a"] == Row("next", 6, "kept")


def test_the_log_may_go_on_from_an_older_row():
    """A snapshot of another log is what its partial rows are merged over."""
    log = Log(ELECTRIC)
    log.get(whole("new", 5, note="lost"))
    log.log.refetch()
    assert log.get(whole("old", 1, note="base"), handle="h2") == []
    assert log.get(change(status="next"), live=True, handle="h2") == ["next"]
    assert log.told["a"] == Row("next", 1, "base")


def test_native_says_an_older_state_twice():
    """It is the last state, then; until then the newer one is shown."""
    log = Log()
    log.get(whole("new", 5))
    assert log.get(whole("old", 1), now=100) == []
    assert log.log.doubts
    assert log.get(whole("old", 1), now=101) == []
    assert log.get(whole("old", 1), now=130) == ["old"]
    assert not log.log.doubts
    assert log.get(whole("old", 1), now=200) == []


def test_electric_says_nothing_after_an_older_snapshot():
    """What follows the offset is nothing: so the snapshot's row is the last one."""
    log = Log(ELECTRIC)
    log.get(whole("new", 5))
    log.log.refetch()
    assert log.get(whole("old", 1), now=100, handle="h2") == []
    assert log.get(now=110, handle="h2") == []
    assert log.get(live=True, now=150, handle="h2") == []
    assert log.get(now=150, handle="h2") == ["old"]


def test_electric_says_nothing_after_a_stale_catch_up():
    """Its log goes on from the newer row, so that an old one was a cache's."""
    log = Log(ELECTRIC)
    log.get(whole("new", 5))
    assert log.get(whole("old", 1), now=100) == []
    assert log.get(now=150) == []
    assert not log.log.doubts
    assert log.told["a"] == NEW


@pytest.mark.parametrize("end", [NATIVE, ELECTRIC], ids=["native", "electric"])
def test_a_doubted_row_that_left_is_not_confirmed(end):
    """Another log, which lacks it, says nothing of it."""
    log = Log(end)
    log.get(whole("new", 5))
    log.log.refetch()
    log.get(whole("old", 1), now=0, handle="h2")
    log.log.refetch()
    log.get(now=10, handle="h3")
    assert log.get(now=100, handle="h3") == []
    assert not log.log.doubts


def test_a_doubted_row_that_is_deleted_is_not_confirmed():
    """It is gone."""
    log = Log(ELECTRIC)
    log.get(whole("new", 5))
    log.log.refetch()
    log.get(whole("old", 1), now=0, handle="h2")
    assert log.get(delete(), now=10, handle="h2", live=True) == []
    assert log.get(now=100, handle="h2") == []
    assert not log.log.doubts


def test_what_another_feed_told_is_what_counts():
    """A cached or single look may be ahead of this log's first snapshot."""
    log = Log()
    log.told["a"] = NEW
    assert log.get(whole("old", 1)) == ["new"]
    assert log.get(whole("old", 1), now=DOUBT_SECONDS) == ["old"]


def test_what_follows_an_old_snapshot_may_be_old_too():
    """A cache has both: the state is doubted until a live poll goes on from it, or it lasts."""
    log = Log(ELECTRIC)
    assert log.get(whole("third", 3), handle="h1") == ["third"]
    log.log.refetch()
    assert log.get(whole("first", 1), handle="h1", now=1.0) == []
    assert log.get(change(status="second", updatedAt=stamp(2)), handle="h1", now=2.0) == []
    live = change(status="fourth", updatedAt=stamp(2))
    assert log.get(live, handle="h1", live=True, now=3.0) == ["fourth"]


def test_what_follows_an_old_snapshot_is_told_if_it_lasts():
    """Nothing went on from it in the time that caches and replicas lag."""
    log = Log(ELECTRIC)
    log.get(whole("third", 3), handle="h1")
    log.log.refetch()
    log.get(whole("first", 1), handle="h1", now=1.0)
    log.get(change(status="second", updatedAt=stamp(2)), handle="h1", now=2.0)
    assert log.get(handle="h1", now=DOUBT_SECONDS + 1.9) == []
    assert log.get(handle="h1", now=DOUBT_SECONDS + 2.0) == ["second"]
