"""Views for pipes and logs: plain lines and JSON lines."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Protocol, TypeVar

from .. import State
from ..models import AnyRun
from ._json import dumps, run_as_dict
from ._text import duration, note_of, one_line, progress_of, safe, seconds_of

Self = TypeVar("Self", bound="Lines")

# A text without an end of a sentence is shown in pieces of about this length.
MAX_SENTENCE = 200
_END_OF_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")


class View(Protocol):
    """Where a command shows what happens."""

    def __enter__(self) -> View: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show_run(self, run: AnyRun) -> None:
        """A run changed."""

    def show_parts(self, key: str, parts: list[Any]) -> None:
        """Parts of a stream came."""

    def tick(self, states: Sequence[State]) -> None:
        """Called several times a second, with where the subscriptions stand."""


def write(text: str) -> None:
    """To stdout, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def warn(message: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"trigger-realtime: {one_line(message)}\n")
    sys.stderr.flush()


class Lines:
    """What the views that print lines share: they tell of lost connections on stderr."""

    def __init__(self) -> None:
        self._retrying = False

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

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

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            for key, text in self._unfinished.items():
                self._write_text(key, text)

    def show_run(self, run: AnyRun) -> None:
        write(run_line(run) + "\n")

    def show_parts(self, key: str, parts: list[Any]) -> None:
        text = self._unfinished.get(key, "") + "".join(part_text(part) for part in parts)
        *sentences, rest = _END_OF_SENTENCE.split(text)
        if len(rest) > MAX_SENTENCE:
            sentences, rest = [*sentences, rest], ""
        for sentence in sentences:
            self._write_text(key, sentence)
        self._unfinished[key] = rest

    def _write_text(self, key: str, text: str) -> None:
        if text.strip():
            write(f"{one_line(key)}: {one_line(text)}\n")


class Parts(Lines):
    """A stream as it comes, with nothing added: texts join up, the rest is JSON lines."""

    def show_run(self, run: AnyRun) -> None:
        pass

    def show_parts(self, key: str, parts: list[Any]) -> None:
        write("".join(part_text(part) for part in parts))


class JsonLines(Lines):
    """One JSON object for each change of a run, one JSON value for each part."""

    def show_run(self, run: AnyRun) -> None:
        write(as_json(run_as_dict(run)) + "\n")

    def show_parts(self, key: str, parts: list[Any]) -> None:
        write("".join(as_json(part) + "\n" for part in parts))


def run_line(run: AnyRun) -> str:
    """When, which run, of what task, how it stands, how far, for how long, and a note."""
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


def as_json(value: Any) -> str:
    """JSON in what stdout can encode."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return dumps(value, ascii_only=encoding != "utf8")


def part_text(part: Any) -> str:
    """A text as it is, so that tokens join up; anything else as a line of JSON."""
    if not isinstance(part, str):
        return as_json(part) + "\n"
    return safe(part) if sys.stdout.isatty() else part
