"""What a command is given to send: JSON or text, from its arguments, a file or stdin."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import TriggerRealtimeError
from ._exits import CommandError, Exit
from ._output import warn

# Stands for stdin.
STDIN = "-"


def given_value(given: str | None, *, what: str, as_text: bool = False) -> tuple[Any, ...]:
    """Return the value of an argument, or nothing: JSON, `@FILE` or `-`.

    Args:
        what: it is, for errors: "the payload".
        as_text: whether it is taken as it is.

    Raises:
        CommandError: it can't be read, or is no JSON.
    """
    if given is None:
        return ()
    text = given
    if given == STDIN:
        text = read_text(given, what=what)
    elif given.startswith("@"):
        # Named like stdin, it is a file nevertheless.
        text = read_text(str(Path(given[1:]).absolute()), what=what)
    if as_text:
        return (text,)
    return (parse_json(text, f"{what} is no JSON (--text takes it as text)"),)


def read_text(file: str, *, what: str) -> str:
    """Return the text of a file, or of stdin.

    Raises:
        CommandError: it can't be read.
    """
    try:
        return sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{what} can't be read: {error}", Exit.USAGE) from None


def parse_json(text: str, problem: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        CommandError: the problem: it is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise CommandError(problem, Exit.USAGE) from None


@contextmanager
def doubts_told(advice: str) -> Iterator[None]:
    """Say on stderr where an error of the block leaves open whether it was done."""
    try:
        yield
    except TriggerRealtimeError as error:
        if error.may_have_happened:
            warn(advice)
        raise
