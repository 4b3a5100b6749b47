"""The live table. It needs rich, from the extra `cli`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .. import State
from ..models import AnyRun
from ._text import duration, note_of, one_line, progress_of, safe, seconds_of
from ._views import View, part_text

FRAME_SECONDS = 0.1
# Columns from which a terminal is wide: it has room for whole ids, and for longer bars.
WIDE_TERMINAL = 110
WIDE_BAR, NARROW_BAR = 16, 8
SHORT_ID = 9
# Characters of a stream that are kept: more than fits on any screen.
TAIL_CHARACTERS = 20_000
# Lines of a stream, and of failure messages, that are shown beside the table.
PANEL_LINES = 6
MAX_FAILURES = 3

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class LiveTable(View):
    """Runs as a table that changes in place, and streamed text below it."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._console = console or Console(highlight=False)
        self._runs: dict[str, AnyRun] = {}
        self._streams: dict[str, str] = {}
        self._states: Sequence[State] = ()
        self._next_frame = 0.0
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            get_renderable=self._draw,
            # Shows warnings above the table, unless they go to a file.
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, exc_type: object, *details: object) -> None:
        self._live.refresh()
        self._live.stop()

    def show_run(self, run: AnyRun) -> None:
        self._runs[run.id] = run

    def show_parts(self, key: str, parts: list[Any]) -> None:
        text = self._streams.get(key, "") + "".join(part_text(part) for part in parts)
        self._streams[key] = text[-TAIL_CHARACTERS:]

    def tick(self, states: Sequence[State]) -> None:
        self._states = states
        now = time.monotonic()
        if now >= self._next_frame:
            self._next_frame = now + FRAME_SECONDS
            self._live.refresh()

    def _draw(self) -> RenderableType:
        wide = self._console.width >= WIDE_TERMINAL
        panels = [self._panel(key, text) for key, text in self._streams.items()]
        ordered = sorted(self._runs.values(), key=_age)
        failures = _failures(ordered)
        room = self._console.height - 5 - len(failures) - len(panels) * (PANEL_LINES + 2)
        shown = _most_interesting(ordered, max(3, room))
        table = _table(wide)
        now = datetime.now(timezone.utc)
        for run in shown:
            table.add_row(*self._cells(run, now, wide))
        hidden = len(ordered) - len(shown)
        more = [Text(f"  … and {hidden} more", style="dim")] if hidden else []
        # Keeps the cursor on an empty line: at the end of a full one, the "^C" that the terminal
        # echoes would wrap, and the next frame would be drawn one line off.
        return Group(self._headline(), table, *more, *failures, *panels, Text(" "))

    def _headline(self) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(one_line(self._title), style="bold")
        groups = [_look(run)[2] for run in self._runs.values()]
        for _, _, group in (*_LOOKS.values(), _OTHER):
            if group in groups:
                line.append(f"  {groups.count(group)} {group}", style="dim")
        if not self._runs:
            line.append("  no runs yet", style="dim")
        if State.RETRYING in self._states:
            line.append("  no connection, trying again", style="yellow")
        return line

    def _cells(self, run: AnyRun, now: datetime, wide: bool) -> list[Text]:
        symbol, style, _ = _look(run)
        if run.is_executing and self._unicode:
            symbol = SPINNER[int(time.monotonic() * 10) % len(SPINNER)]
        status = Text(f"{symbol if self._unicode else '*'} {one_line(run.status.value)}", style)
        run_id = one_line(run.id)
        if not wide and len(run_id) > SHORT_ID:
            run_id = f"…{run_id[1 - SHORT_ID :]}"
        return [
            Text(run_id, "dim"),
            Text(one_line(run.task_identifier)),
            status,
            self._bar(progress_of(run), style, _bar_width(wide)),
            Text(duration(seconds_of(run, now)), justify="right"),
            Text(note_of(run), "dim"),
        ]

    def _bar(self, share: float | None, style: str, width: int) -> Text:
        if share is None:
            return Text()
        done = int(share * width)
        full, empty = "━─" if self._unicode else "#-"
        bar = Text(full * done, style)
        bar.append(empty * (width - done), style="dim")
        bar.append(f"{int(share * 100):4}%", style="default")
        return bar

    def _panel(self, key: str, text: str) -> Panel:
        width = max(10, self._console.width - 4)
        # Wrapping all of a long text in every frame would be slow.
        tail = Text(safe(text[-width * PANEL_LINES * 2 :]))
        lines = tail.wrap(self._console, width)[-PANEL_LINES:]
        body = Text("\n").join(line for line in lines)
        return Panel(body, title=Text(one_line(key)), title_align="left", border_style="dim")

    @property
    def _unicode(self) -> bool:
        return self._console.encoding.startswith("utf")


# For the runs with each property: symbol, style, and the group that the headline counts.
_LOOKS = {
    "is_success": ("✓", "green", "completed"),
    "is_failed": ("✗", "red", "failed"),
    "is_cancelled": ("■", "yellow", "cancelled"),
    "is_executing": ("▶", "cyan", "executing"),
    "is_waiting": ("◷", "magenta", "waiting"),
    "is_queued": ("○", "default", "queued"),
}
_OTHER = ("?", "default", "other")


def _bar_width(wide: bool) -> int:
    return WIDE_BAR if wide else NARROW_BAR


def _look(run: AnyRun) -> tuple[str, str, str]:
    return next((look for name, look in _LOOKS.items() if getattr(run, name)), _OTHER)


def _table(wide: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="bold dim")
    table.add_column("RUN", no_wrap=True, min_width=SHORT_ID)
    table.add_column("TASK", no_wrap=True, overflow="ellipsis", min_width=8)
    table.add_column("STATUS", no_wrap=True, min_width=11)
    table.add_column("PROGRESS", no_wrap=True, width=_bar_width(wide) + 5)
    table.add_column("TIME", no_wrap=True, justify="right", min_width=6)
    table.add_column("NOTE", no_wrap=True, overflow="ellipsis", ratio=1)
    return table


def _failures(runs: list[AnyRun]) -> list[Text]:
    """Return why the newest failed runs failed: the table has no room for long messages."""
    failed = [run for run in runs if run.is_failed and run.error is not None]
    return [
        Text(
            f"{run.task_identifier or run.id}: {note_of(run)}",
            "red",
            no_wrap=True,
            overflow="ellipsis",
        )
        for run in failed[-MAX_FAILURES:]
    ]


def _age(run: AnyRun) -> tuple[float, str]:
    return (run.created_at.timestamp() if run.created_at else 0.0, run.id)


def _most_interesting(runs: list[AnyRun], room: int) -> list[AnyRun]:
    """Return as many runs as there is room for, in order: unfinished runs, then the newest."""
    if len(runs) <= room:
        return runs
    ranked = sorted(runs, key=lambda run: (not run.is_finished, _age(run)), reverse=True)
    return sorted(ranked[:room], key=_age)
