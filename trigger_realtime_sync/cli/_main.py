"""Run a command, and turn whatever ends it into an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable

from .. import TriggerRealtimeError
from . import _demo, _follow
from ._arguments import parse
from ._exits import CommandError, Exit, explain
from ._views import warn

COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "watch": _follow.watch,
    "stream": _follow.stream,
    "wait": _follow.wait,
    "demo": _demo.demo,
    "serve": _demo.serve,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the arguments after the program's name. Default: those of the process.

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
        return _end_quietly()


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


def _end_quietly() -> int:
    # Nobody reads stdout any more: the flush at the interpreter's exit must not fail either.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.BROKEN_PIPE


def _prepare_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # The commands report what the library logs themselves, on one line and without tracebacks.
    logging.getLogger("trigger_realtime_sync").addHandler(logging.NullHandler())
