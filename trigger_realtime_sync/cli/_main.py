"""Parses, runs the command, and turns whatever ends it into an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable

from ..errors import TriggerRealtimeError
from . import _demo, _follow, _serve
from ._arguments import parse
from ._exits import CommandError, Exit, explain
from ._lines import warn

COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "watch": _follow.watch,
    "stream": _follow.stream,
    "wait": _follow.wait,
    "demo": _demo.demo,
    "serve": _serve.serve,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: those of the process by default.

    Returns:
        The exit code.
    """
    _prepare_output()
    options = parse(arguments)
    try:
        code = _run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        return _quiet_end()


def _run(options: argparse.Namespace) -> int:
    try:
        return COMMANDS[options.command](options)
    except CommandError as error:
        return _fail(error)
    except TriggerRealtimeError as error:
        return _fail(explain(error))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _fail(error: CommandError) -> int:
    warn(str(error))
    return error.code


def _quiet_end() -> int:
    # Whoever read this has gone; the interpreter's own last flush must not complain of it either.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.BROKEN_PIPE


def _prepare_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # What the library logs is told by the commands themselves, on one line and without tracebacks.
    logging.getLogger("trigger_realtime_sync").addHandler(logging.NullHandler())
