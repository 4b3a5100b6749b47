"""The arguments of the command line."""

from __future__ import annotations

import argparse
import math
import sys
from typing import NoReturn

from .. import __version__
from ._exits import Exit

_EPILOG = """\
environment:
  TRIGGER_SECRET_KEY, or else TRIGGER_ACCESS_TOKEN   the token; no personal one (tr_pat_…)
  TRIGGER_API_URL                                    default: https://api.trigger.dev
  TRIGGER_PREVIEW_BRANCH                             the preview branch, if any

exit codes of watch and wait:
  0 completed   1 failed   2 cancelled   124 timed out   130 interrupted
  64 wrong usage   66 not found   69 server or network failed   77 token refused
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would exit with 2, which means here that a run was cancelled.
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the checked arguments. Exits the process for `--help` and after a mistake."""
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="trigger-realtime",
        description="Follow Trigger.dev runs live.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, about, add_to in _COMMANDS:
        description = f"{about[0].upper()}{about[1:]}."
        add_to(commands.add_parser(name, help=about, description=description))
    return parser


def _add_watch(watch: argparse.ArgumentParser) -> None:
    kinds = watch.add_subparsers(dest="kind", metavar="KIND", required=True)
    for kind, metavar, end in (
        ("run", "RUN", "until it has finished"),
        ("tag", "TAG", "until Ctrl-C; with several tags, runs that have all of them"),
        ("batch", "BATCH", "until all its runs have finished"),
    ):
        one = kinds.add_parser(kind, help=end, description=f"Follow a {kind}, {end}.")
        one.add_argument("id", metavar=metavar, nargs="+" if kind == "tag" else None)
        if kind == "tag":
            one.add_argument(
                "--created-at",
                metavar="AGE",
                help="only runs created within this time, such as 90m; default and maximum: 24h",
            )
        _add_connection(one)
        _add_output(one)


def _add_stream(stream: argparse.ArgumentParser) -> None:
    stream.add_argument("run", metavar="RUN")
    stream.add_argument("key", metavar="KEY", nargs="?", default="default")
    _add_connection(stream)
    _add_output(stream)


def _add_wait(wait: argparse.ArgumentParser) -> None:
    wait.add_argument("run", metavar="RUN")
    wait.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, help="exit with 124 after this time"
    )
    wait.add_argument("--json", action="store_true", help="print the run as JSON")
    _add_connection(wait)


def _add_speed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--speed", type=_factor, default=1.0, metavar="N", help="play N times as fast"
    )


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--port", type=_port, default=3040, help="default: 3040; 0: any free port")
    serve.add_argument("--backend", choices=("native", "electric"), default="native")
    _add_speed(serve)


_COMMANDS = (
    ("watch", "show a run, or the runs of a tag or a batch, as they change", _add_watch),
    (
        "stream",
        "print a stream of a run as it arrives: text as it is, anything else as JSON lines",
        _add_stream,
    ),
    ("wait", "wait until a run has finished; the exit code shows how", _add_wait),
    ("demo", "watch runs on a server in this process: no account or token needed", _add_speed),
    ("serve", "run the demo's server for other clients; its runs play again and again", _add_serve),
)


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-url", metavar="URL", help="default: TRIGGER_API_URL")
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help="visible to other users of this machine: prefer TRIGGER_SECRET_KEY",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each update")
    parser.add_argument(
        "--throttle-ms",
        metavar="MS",
        type=float,
        default=0.0,
        help="at most one round of updates in this many milliseconds",
    )


def _seconds(text: str) -> float:
    value = _number(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"must be at least 0 seconds, not {text}")
    return value


def _factor(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1000, not {text}")
    return value


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, not {text}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None
