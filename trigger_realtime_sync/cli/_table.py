"""The live table. It needs rich, from the extra `cli`."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .._terminal import one_line, safe
from ..models import AnyRun
from ._layout import GAP, PERCENTAGE, SHORT_ID, layout
from ._look import GROUPS, look_of
from ._output import is_colored, output_errors
from ._stream_text import StreamText
from ._text import duration, note_of, percentage, progress_of, seconds_of
from ._views import View

FRAME_SECONDS = 0.1
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
        # Whoever chose this view has looked at stdout, and at the environment's wishes for colors.
        self._console = console or Console(
            highlight=False, force_terminal=True, no_color=not is_colored()
        )
        self._runs: dict[str, AnyRun] = {}
        self._streams: dict[str, str] = {}
        self._stream_texts: defaultdict[str, StreamText] = defaultdict(StreamText)
        self._trouble: str | None = None
        self._next_frame = 0.0
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            get_renderable=self._draw,
            # Shows warnings above the table, unless they go to a file.
            redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
        )

    def __enter__(self) -> LiveTable:
        with output_errors():
            self._live.start()
        return self

    def __exit__(self, exc_type: object, *details: object) -> None:
        for key, text in self._stream_texts.items():
            self._add_text(key, text.end())
        with output_errors():
            self._live.refresh()
            self._live.stop()

    def show_run(self, run: AnyRun) -> None:
        self._runs[run.id] = run

    def show_parts(self, key: str, parts: list[Any]) -> None:
        self._add_text(key, self._stream_texts[key].feed(parts))

    def tick(self, trouble: str | None) -> None:
        self._trouble = trouble
        now = time.monotonic()
        if now >= self._next_frame:
            self._next_frame = now + FRAME_SECONDS
            with output_errors():
                self._live.refresh()

    def _add_text(self, key: str, text: str) -> None:
        self._streams[key] = (self._streams.get(key, "") + text)[-TAIL_CHARACTERS:]

    def _draw(self) -> RenderableType:
        panels = [self._panel(key, text) for key, text in self._streams.items()]
        ordered = sorted(self._runs.values(), key=_age)
        messages = [*self._troubles(), *_failures(ordered)]
        room = self._console.height - 5 - len(messages) - len(panels) * (PANEL_LINES + 2)
        shown = _most_interesting(ordered, max(3, room))
        widths = layout(
            self._console.width,
            run_id=_longest(one_line(run.id) for run in shown),
            task=_longest(one_line(run.task_identifier) for run in shown),
            status=2 + _longest(one_line(run.status.value) for run in shown),
        )
        table = _table(widths)
        now = datetime.now(timezone.utc)
        for run in shown:
            cells = self._cells(run, now, widths)
            table.add_row(*(cells[name] for name in widths))
        hidden = len(ordered) - len(shown)
        more = [Text(f"  … and {hidden} more", style="dim")] if hidden else []
        # Keeps the cursor on an empty line: at the end of a full one, the "^C" that the terminal
        # echoes would wrap, and the next frame would be drawn one line off.
        return Group(self._headline(), table, *more, *messages, *panels, Text(" "))

    def _headline(self) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(one_line(self._title), style="bold")
        groups = [look_of(run).group for run in self._runs.values()]
        for group in GROUPS:
            if group in groups:
                line.append(f"  {groups.count(group)} {group}", style="dim")
        if not self._runs:
            line.append("  no runs yet", style="dim")
        return line

    def _troubles(self) -> list[Text]:
        if self._trouble is None:
            return []
        return [_message(f"trying again: {one_line(self._trouble)}", "yellow")]

    def _cells(self, run: AnyRun, now: datetime, widths: dict[str, int]) -> dict[str, Text]:
        """Return what each column that there may be says of a run."""
        look = look_of(run)
        style = look.color or "default"
        symbol = look.symbol
        if run.is_executing:
            symbol = SPINNER[int(time.monotonic() * 10) % len(SPINNER)]
        status = f"{symbol if self._unicode else '*'} {one_line(run.status.value)}"
        run_id, room = one_line(run.id), widths.get("RUN", SHORT_ID)
        if cell_len(run_id) > room:
            run_id = f"…{run_id[1 - room :]}"
        share = progress_of(run)
        return {
            "RUN": Text(run_id, "dim"),
            "TASK": Text(one_line(run.task_identifier)),
            "STATUS": Text(status, style),
            "PROGRESS": self._bar(share, style, widths.get("PROGRESS", 0) - PERCENTAGE),
            "DONE": Text("" if share is None else percentage(share)),
            "TIME": Text(duration(seconds_of(run, now))),
            "NOTE": Text(note_of(run), "dim"),
        }

    def _bar(self, share: float | None, style: str, width: int) -> Text:
        if share is None:
            return Text()
        done = int(share * width)
        full, empty = "━─" if self._unicode else "#-"
        bar = Text(full * done, style)
        bar.append(empty * (width - done), style="dim")
        bar.append(f"{percentage(share):>{PERCENTAGE}}", style="default")
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


def _table(widths: dict[str, int]) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="bold dim")
    for name, width in widths.items():
        justify: JustifyMethod = "right" if name in ("TIME", "DONE") else "left"
        table.add_column(name, width=width, no_wrap=True, overflow="ellipsis", justify=justify)
    return table


def _longest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _message(text: str, style: str) -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _failures(runs: list[AnyRun]) -> list[Text]:
    """Return why the newest failed runs failed: the table has no room for long messages."""
    failed = [run for run in runs if run.is_failed and run.error is not None]
    return [
        _message(f"{one_line(run.task_identifier or run.id)}: {note_of(run)}", "red")
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
