"""The parser that all commands share, and where each family of commands adds its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from ._exits import Exit
from ._output import warn, write_error
from ._values import UNITS, age, number, seconds

# Runs a command, and returns its exit code.
Handler = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviated options, and whose mistakes are no end of a run."""

    def __init__(self, **options: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(**{"allow_abbrev": False, "formatter_class": formatter, **options})

    def error(self, message: str) -> NoReturn:
        # argparse would exit with 2, which means here that a run was cancelled.
        write_error(self.format_usage())
        warn(message)
        self.exit(Exit.USAGE)


class Commands:
    """The commands of one level."""

    def __init__(
        self, parser: argparse.ArgumentParser, dest: str = "command", metavar: str = "COMMAND"
    ) -> None:
        self.parser = parser
        self._level = parser.add_subparsers(dest=dest, metavar=metavar, required=True)

    def add(
        self, name: str, about: str, handler: Handler | None, *examples: str, **options: Any
    ) -> argparse.ArgumentParser:
        """Add a command, and return its parser.

        Args:
            about: what it does: one clause, without a capital and without a full stop.
            handler: runs it; None if it has commands of its own.
            examples: command lines, shown by `--help`.
            options: those of `argparse.ArgumentParser`.
        """
        command = self._level.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog="\n  ".join(["examples:", *examples]) if examples else None,
            **options,
        )
        if handler is not None:
            command.set_defaults(handler=handler)
        return command


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options of the server and the token."""
    parser.add_argument("--base-url", metavar="URL", help="default: TRIGGER_API_URL")
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help="visible to other users of this machine: prefer TRIGGER_SECRET_KEY",
    )


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Add the longest time that the command may take."""
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=seconds,
        help="exit with 124 after this time: seconds, or such as 90s, 5m or 1h30m",
    )


def add_created_at(parser: argparse.ArgumentParser) -> None:
    """Add how far back runs with a tag are looked for."""
    parser.add_argument(
        "--created-at",
        metavar="AGE",
        type=age,
        help="only runs created within this time, such as 90m; default and maximum: 24h",
    )


def warn_of_old(created_at: str | None) -> None:
    """Warn that servers don't look back as far as this."""
    if created_at is not None and seconds(created_at) > UNITS["d"]:
        warn(f"--created-at {created_at}: servers look back 24h at most, older runs don't show")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is printed, and how often."""
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each update")
    parser.add_argument(
        "--throttle-ms",
        metavar="MS",
        type=number,
        default=0.0,
        help="at most one round of updates in this many milliseconds",
    )
