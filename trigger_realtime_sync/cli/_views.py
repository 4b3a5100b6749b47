"""What a command prints: plain lines, raw text, JSON lines, or the live table of `_table`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar

from .. import State
from ..jsonable import run_as_dict, to_json
from ..models import AnyRun
from ._text import duration, note_of, one_line, progress_of, safe, seconds_of

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

    def tick(self, states: Sequence[State]) -> None:
        """Show the states of the subscriptions. Called several times a second."""


class Lines(View):
    """Prints lines, and warns of lost connections on stderr."""

    def __init__(self) -> None:
        self._retrying = False

    def tick(self, states: Sequence[State]) -> None:
        retrying = State.RETRYING in states
        if retrying and not self._retrying:
            warn("no connection, trying again (Ctrl-C ends)")
        self._retrying = retrying


class RunLines(Lines):
    """A line for each change of a run, and one for each sentence of a stream."""

    def __init__(self) -> None:
        super().__init__()
        self._unfinished: dict[str, str] = {}

    def __exit__(self, exc_type: object, *details: object) -> None:
        if exc_type is None:
            for key, text in self._unfinished.items():
                self._write_text(key, text)

    def show_run(self, run: AnyRun) -> None:
        write(run_line(run) + "\n")

    def show_parts(self, key: str, parts: list[Any]) -> None:
        text = self._unfinished.get(key, "") + "".join(map(part_text, parts))
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

    def show_parts(self, key: str, parts: list[Any]) -> None:
        write("".join(map(part_text, parts)))


class JsonLines(Lines):
    """A JSON object for each change of a run, and a JSON value for each part."""

    def show_run(self, run: AnyRun) -> None:
        write(json_line(run_as_dict(run)))

    def show_parts(self, key: str, parts: list[Any]) -> None:
        write("".join(map(json_line, parts)))


def write(text: str) -> None:
    """Write to stdout, unbuffered."""
    sys.stdout.write(text)
    sys.stdout.flush()


def warn(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"trigger-realtime: {one_line(message)}\n")
    sys.stderr.flush()


def run_line(run: AnyRun) -> str:
    """Return time, id, task, status, progress, duration and note of a run."""
    at = run.updated_at or datetime.now(timezone.utc)
    share = progress_of(run)
    fields = [
        at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        one_line(run.id),
        one_line(run.task_identifier) or "-",
        f"{one_line(run.status.value):<9}",
        "   -" if share is None else f"{share:4.0%}",
        f"{duration(seconds_of(run, at)):>6}",
        note_of(run),
    ]
    return "  ".join(fields).rstrip()


def json_line(value: Any) -> str:
    """Return a value as a line of JSON that stdout can encode."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return to_json(value, ensure_ascii=encoding != "utf8") + "\n"


def part_text(part: Any) -> str:
    """Return text as it is, so that tokens join up, and any other part as a line of JSON."""
    if not isinstance(part, str):
        return json_line(part)
    return safe(part) if sys.stdout.isatty() else part
