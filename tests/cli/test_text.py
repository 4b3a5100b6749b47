"""Progress, notes and durations, whatever tasks write."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone

import pytest

from trigger_realtime_sync import Run, RunError
from trigger_realtime_sync._terminal import one_line
from trigger_realtime_sync.cli._text import duration, note_of, progress_of, seconds_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("progress", "share"),
    [
        ({"percentage": 40}, 0.4), ({"percentage": 40, "current": 1, "total": 2}, 0.4),
        ({"current": 1, "total": 4}, 0.25), ({"current": 9, "total": 4}, 1.0),
        ({"percentage": -3}, 0.0), (0.5, 0.5), (1, 1.0), (40, 0.4),
        ({"current": 1, "total": 0}, None), ({"current": 1}, None), ({"percentage": "40"}, None),
        ({"percentage": math.nan}, None), ({"percentage": 10**400}, None),
        ({"current": 1e308, "total": 1e-308}, 1.0), (True, None), ("half", None), (None, None),
        ([1], None),
    ],
)  # fmt: skip
def test_progress_is_read_where_it_makes_sense(progress, share):
    """Both common shapes and numbers are understood, anything else is ignored."""
    assert progress_of(Run(id="r", metadata={"progress": progress})) == share


@pytest.mark.parametrize("metadata", [None, [], "text", 7, {}])
def test_metadata_need_not_be_an_object(metadata):
    """Other metadata has no progress."""
    assert progress_of(Run(id="r", metadata=metadata)) is None


def test_the_note_is_the_most_telling_thing():
    """The error comes before the task's status, and that before the tags."""
    metadata = {"status": "page 3"}
    error = RunError("out of\tpaper")
    assert note_of(Run(id="r", tags=["a", "b"])) == "#a #b"
    assert note_of(Run(id="r", tags=["a"], metadata=metadata)) == "page 3"
    assert note_of(Run(id="r", tags=["a"], metadata=metadata, status="COMPLETED")) == "#a"
    assert note_of(Run(id="r", metadata=metadata, error=error)) == "out of paper"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0.0s"), (59.94, "59.9s"), (61, "1m01s"), (3600 * 30 + 120, "30h02m")],
)
def test_durations_are_short(seconds, text):
    """Tenths of a second at first, then coarser units."""
    assert duration(seconds) == text


def test_time_runs_until_the_end():
    """It stops when the run has finished, even without `finished_at`."""
    start = NOW - timedelta(seconds=10)
    middle = NOW - timedelta(seconds=4)
    assert seconds_of(Run(id="r", status="QUEUED"), NOW) is None
    assert seconds_of(Run(id="r", status="EXECUTING", started_at=start), NOW) == 10
    finished = Run(id="r", status="COMPLETED", started_at=start, finished_at=middle)
    assert seconds_of(finished, NOW) == 6
    cancelled = Run(id="r", status="CANCELED", started_at=start, updated_at=middle)
    assert seconds_of(cancelled, NOW) == 6
    assert seconds_of(Run(id="r", status="EXECUTING", started_at=NOW), start) == 0


def test_one_line_has_no_control_characters():
    """Neither ASCII's, nor Unicode's line ends and changes of direction."""
    text = one_line("a\r\nb\x00\x1b\x7f\x85\u2028\u202e\u2066c")
    assert re.fullmatch(r"a b\ufffd{3} \ufffd{2}c", text)
