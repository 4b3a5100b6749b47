"""The columns of the live table, at every width."""

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from trigger_realtime_sync import Run, RunError
from trigger_realtime_sync.cli._layout import GAP, layout
from trigger_realtime_sync.cli._table import LiveTable

START = datetime(2026, 1, 2, tzinfo=timezone.utc)
LENGTHS = st.integers(0, 60)


def table(width: int, *runs: Run, trouble: str | None = None) -> list[str]:
    """The lines that the table has at its end."""
    console = Console(file=io.StringIO(), width=width, height=30, force_terminal=False)
    with LiveTable("batch batch_1", console) as view:
        for run in runs:
            view.show_run(run)
        view.tick(trouble)
    return console.file.getvalue().splitlines()


@given(st.integers(9, 250), LENGTHS, LENGTHS, LENGTHS)
def test_columns_fill_no_more_than_the_terminal(width, run_id, task, status):
    """So that rich, which would shorten all of them alike, has nothing to shorten."""
    widths = layout(width, run_id=run_id, task=task, status=status)
    assert sum(widths.values()) + GAP * len(widths) <= width
    assert min(widths.values()) > 0
    assert widths.get("PROGRESS", 13) >= 13
    assert widths.get("DONE", 4) == 4
    assert {"PROGRESS", "DONE"} & set(widths)


@pytest.mark.parametrize("status", ["EXECUTING", "PENDING_VERSION", "SYSTEM_FAILURE"])
@pytest.mark.parametrize("percentage", [0, 7, 42, 100])
def test_a_percentage_is_never_cut(status, percentage):
    """From 20 columns on, whatever else has to go, and beside the longest of all else."""
    run = Run(
        id="run_" + "x" * 25,
        task_identifier="a-task-with-a-name-that-is-long",
        status=status,
        started_at=START,
        finished_at=START + timedelta(hours=99, minutes=59),
        metadata={"progress": {"percentage": percentage}},
        error=RunError("a message that is long, too, and would fill the line"),
    )
    for width in range(20, 160):
        lines = table(width, run)
        assert any(f"{percentage}%" in line.split() for line in lines), (width, lines)
        assert all(len(line) <= width for line in lines)


def test_a_time_is_never_cut():
    """Where there is room for one."""
    run = Run(id="run_1", status="COMPLETED", started_at=START)
    for hours, text in ((99.99, "99h59m"), (100, "4d04h"), (24 * 99 + 23, "99d23h")):
        done = attrs.evolve(run, finished_at=START + timedelta(hours=hours))
        assert all(any(text in line for line in table(width, done)) for width in (40, 60, 80, 120))


def test_a_status_is_cut_only_where_nothing_else_is_left():
    """The longest one is whole from 25 columns on."""
    run = Run(id="run_1", status="PENDING_VERSION")
    for width in range(25, 130):
        assert any("PENDING_VERSION" in line for line in table(width, run)), width


def test_wide_terminals_show_whole_ids_and_notes():
    """And narrow ones the end of an id, which tells runs apart."""
    run = Run(id="run_cm5387c588669d9c7879fda6", task_identifier="bill", tags=["user:7"])
    (line,) = [line for line in table(120, run) if "bill" in line]
    assert line.split()[:2] == [run.id, "bill"]
    assert "#user:7" in line
    (line,) = [line for line in table(60, run) if "bill" in line]
    assert line.startswith(f"…{run.id[-8:]}")


def test_what_is_tried_again_has_a_line_of_its_own():
    """With what the server said, beside the runs as they were."""
    lines = table(60, Run(id="run_1"), trouble="run run_1: HTTP 503: Down for\x9b maintenance")
    assert any("run_1" in line and "QUEUED" in line for line in lines)
    assert "trying again: run run_1: HTTP 503: Down for\ufffd maintenance" in map(str.rstrip, lines)
