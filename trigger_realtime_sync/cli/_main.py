"""Run a command, and turn whatever ends it into an exit code."""

from __future__ import annotations

import argparse
import logging
import sys

from .. import TriggerRealtimeError
from ._arguments import parse
from ._exits import CommandError, Exit, explain
from ._output import flush, warn


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the arguments after the program's name. Default: those of the process.

    Returns:
        The exit code.
    """
    _prepare_output()
    try:
        return _run(_parse(arguments))
    except CommandError as error:
        if str(error):
            warn(str(error))
        return error.code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    try:
        return parse(arguments)
    except SystemExit:
        flush()
        raise


def _run(options: argparse.Namespace) -> int:
    try:
        return int(options.handler(options))
    except TriggerRealtimeError as error:
        raise explain(error, getattr(options, "token", None)) from error
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _prepare_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    # The commands report what the library logs themselves, on one line and without tracebacks.
    logging.getLogger("trigger_realtime_sync").addHandler(logging.NullHandler())
