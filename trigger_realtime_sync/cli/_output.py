"""Where a command writes: nothing that it shows may control the terminal, and a stdout that can't
be written ends it with a sentence."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from .._terminal import one_line, safe, safe_json
from ..jsonable import to_json
from ._exits import CommandError, Exit

# SGR numbers of the colors of `painted`.
COLORS = {"red": 31, "green": 32, "yellow": 33, "magenta": 35, "cyan": 36}


class OutputError(CommandError):
    """Raised when stdout is closed or full, or its reader has gone."""


def is_terminal() -> bool:
    """Return True if stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def is_colored() -> bool:
    """Return True if stdout takes colors, by `NO_COLOR`, `FORCE_COLOR` and what it is."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced != "0"
    return is_terminal() and os.environ.get("TERM") != "dumb"


def painted(text: str, color: str | None) -> str:
    """Return text in a color of `COLORS`; None for the terminal's own."""
    return f"\x1b[{COLORS[color]}m{text}\x1b[0m" if color is not None else text


def write(text: str) -> None:
    """Write to stdout, unbuffered; on a terminal without what would control it.

    Raises:
        OutputError: it can't be written.
    """
    write_made_safe(safe(text) if is_terminal() else text)


def write_made_safe(text: str) -> None:
    """Write text whose every piece from elsewhere was made safe, so that it may hold colors; see
    `write`."""
    with output_errors():
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        sys.stdout.write(text)
        sys.stdout.flush()


def flush() -> None:
    """Write what argparse has left in the buffer of stdout; see `write`."""
    with output_errors():
        if sys.stdout is not None:
            sys.stdout.flush()


def json_line(value: Any) -> str:
    """Return a value as a line of JSON that stdout can encode, and that controls no terminal."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return safe_json(to_json(value, ensure_ascii=encoding != "utf8")) + "\n"


@contextmanager
def output_errors() -> Iterator[None]:
    """Turn an `OSError` of the block, which writes to stdout, into an `OutputError`."""
    try:
        yield
    except OSError as error:
        _discard(sys.stdout, 1)
        if isinstance(error, BrokenPipeError):
            raise OutputError("", Exit.BROKEN_PIPE) from error
        reason = error.strerror or str(error)
        raise OutputError(f"can't write to stdout: {reason}", Exit.OUTPUT_FAILED) from error


def warn(message: str) -> None:
    """Write one line to stderr, if that can be written."""
    write_error(f"trigger-realtime: {one_line(message)}\n")


def write_error(text: str) -> None:
    """Write text to stderr, if that can be written."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(safe(text))
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr, 2)


def _discard(stream: TextIO | None, descriptor: int) -> None:
    """Let what is in the buffer go nowhere: the interpreter would fail to write it at its exit."""
    with suppress(OSError, ValueError):
        if stream is not None and stream.fileno() == descriptor:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
