"""What a command prints: plain lines, raw text, JSON lines, or the live table of `_table`."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import datetime, timezone
from typing import Any, TypeVar

from .._terminal import one_line
from ..jsonable import run_as_dict
from ..models import AnyRun
from ._look import look_of
from ._output import is_colored, json_line, painted, warn, write, write_made_safe
from ._stream_text import StreamText
from ._text import duration, note_of, percentage, progress_of, seconds_of

Self = TypeVar("Self", bound="View")

# Characters after which streamed text is cut into lines even inside a sentence.
MAX_SENTENCE = 200
_END_OF_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")


class View:
    """Shows what happens, from entering it as a context manager until its exit."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, exc_type: object, *details: object) -> None:
        pass

    def show_run(self, run: AnyRun) -> None:
        """Show the new state of a run."""

    def show_parts(self, key: str, parts: list[Any]) -> None:
        """Show new parts of a stream."""

    def tick(self, trouble: str | None) -> None:
        """Show what keeps runs from being followed, if anything. Called several times a second."""


class Lines(View):
    """Prints lines, and warns of lost connections on stderr."""

    def __init__(self) -> None:
        self._in_trouble = False

    def tick(self, trouble: str | None) -> None:
        if trouble is not None and not self._in_trouble:
            warn(f"{trouble}; trying again (Ctrl-C ends)")
        self._in_trouble = trouble is not None


class RunLines(Lines):
    """A line for each change of a run, and one for each sentence of a stream."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: defaultdict[str, StreamText] = defaultdict(StreamText)
        self._unfinished: dict[str, str] = {}

    def __exit__(self, exc_type: object, *details: object) -> None:
        if exc_type is None:
            for key, text in self._unfinished.items():
                self._write_text(key, text + self._streams[key].end())

    def show_run(self, run: AnyRun) -> None:
        write_made_safe(run_line(run) + "\n")

    def show_parts(self, key: str, parts: list[Any]) -> None:
        text = self._unfinished.get(key, "") + self._streams[key].feed(parts)
        *sentences, rest = _END_OF_SENTENCE.split(text)
        if len(rest) > MAX_SENTENCE:
            sentences, rest = [*sentences, rest], ""
        for sentence in sentences:
            self._write_text(key, sentence)
        self._unfinished[key] = rest

    def _write_text(self, key: str, text: str) -> None:
        if text.strip():
            write(f"{one_line(key)}: {one_line(text)}\n")


class RawText(Lines):
    """A stream with nothing added: text joins up, any other part is a line of JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._stream = StreamText()

    def __exit__(self, exc_type: object, *details: object) -> None:
        if exc_type is None and (rest := self._stream.end()):
            write(rest)

    def show_parts(self, key: str, parts: list[Any]) -> None:
        write(self._stream.feed(parts))


class JsonLines(Lines):
    """A JSON object for each change of a run, and a JSON value for each part."""

    def show_run(self, run: AnyRun) -> None:
        write(json_line(run_as_dict(run)))

    def show_parts(self, key: str, parts: list[Any]) -> None:
        write("".join(map(json_line, parts)))


def run_line(run: AnyRun) -> str:
    """Return time, id, task, status, progress, duration and note of a run, made safe for terminals
    and colored where stdout is."""
    at = run.updated_at or datetime.now(timezone.utc)
    share = progress_of(run)
    color = look_of(run).color if is_colored() else None
    fields = [
        at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        one_line(run.id),
        one_line(run.task_identifier) or "-",
        painted(f"{one_line(run.status.value):<9}", color),
        "   -" if share is None else f"{percentage(share):>4}",
        f"{duration(seconds_of(run, at)):>6}",
        note_of(run),
    ]
    return "  ".join(fields).rstrip()
