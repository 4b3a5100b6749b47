"""The arguments of the command line."""

from __future__ import annotations

import argparse

from .. import __version__
from . import (
    _batch,
    _calls,
    _completion,
    _demo,
    _gateway,
    _public_tokens,
    _runs,
    _stream,
    _trigger,
    _wait,
    _wait_tokens,
    _watch,
)
from ._parser import Commands, Parser

# Each adds its commands by `add_to(commands)`, in the order in which `--help` lists them.
FAMILIES = (
    *(_watch, _stream, _wait),
    *(_trigger, _batch, _calls, _runs, _wait_tokens, _public_tokens),
    *(_gateway, _demo, _completion),
)

_EPILOG = """\
environment:
  TRIGGER_SECRET_KEY, or else TRIGGER_ACCESS_TOKEN   the token; no personal one (tr_pat_…)
  TRIGGER_API_URL                                    default: https://api.trigger.dev
  TRIGGER_PREVIEW_BRANCH                             the preview branch, if any
  NO_COLOR, FORCE_COLOR                              no colors; colors in a pipe as well

exit codes of watch, wait, trigger --wait and batch --wait, the first that applies:
  124 timed out   1 a run failed   2 one was cancelled   0 all completed
exit codes of all commands:
  64 wrong usage   66 not found   69 server or network failed   74 can't write the output
  77 token refused   130 interrupted

examples:
  trigger-realtime demo
  trigger-realtime watch run run_1234
  trigger-realtime COMMAND --help
"""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Return the checked arguments. Exits the process for `--help` and after a mistake."""
    return _parser().parse_args(arguments)


def _parser() -> Parser:
    parser = Parser(
        prog="trigger-realtime",
        description="Trigger Trigger.dev runs, and follow them live.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = Commands(parser)
    for family in FAMILIES:
        family.add_to(commands)
    return parser
