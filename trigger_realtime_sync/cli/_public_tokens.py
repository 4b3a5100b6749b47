"""The command `public-token`."""

from __future__ import annotations

import argparse
from typing import Any

from ._exits import Exit, usage_errors
from ._output import write
from ._parser import Commands, add_connection
from ._session import session

# What may be read, and as what `client.create_public_token` knows it.
_READ = {"run": "runs", "task": "tasks", "tag": "tags", "batch": "batches"}


def add_to(commands: Commands) -> None:
    """Add `public-token`."""
    one = commands.add(
        "public-token",
        "print a token that may do only what is named, for browsers",
        public_token,
        "trigger-realtime public-token --read-run run_1234 --expires 1h",
        "trigger-realtime public-token --trigger my-task          # good for one trigger",
        "trigger-realtime public-token --scope write:waitpoints:waitpoint_1234",
    )
    for kind, name in _READ.items():
        _add(one, f"--read-{kind}", kind.upper(), f"{name} that it may follow")
    _add(one, "--trigger", "TASK", "tasks that it may trigger")
    _add(one, "--batch-trigger", "TASK", "tasks that it may trigger in batches")
    _add(one, "--scope", "SCOPE", "anything else, as the server spells it")
    one.add_argument(
        "--expires", metavar="TIME", default="15m", help="how long it lives; default: 15m"
    )
    add_connection(one)


def _add(parser: argparse.ArgumentParser, option: str, metavar: str, about: str) -> None:
    parser.add_argument(option, metavar=metavar, nargs="+", action="extend", default=[], help=about)


def public_token(options: argparse.Namespace) -> int:
    """Run `public-token`."""
    given = {name: getattr(options, f"read_{kind}") for kind, name in _READ.items()}
    read: dict[str, Any] = {name: ids for name, ids in given.items() if ids}
    with session(options.token, options.base_url) as here, usage_errors():
        token = here.client.create_public_token(
            read=read or None,
            trigger=options.trigger,
            batch_trigger=options.batch_trigger,
            scopes=options.scope,
            expires_in=options.expires,
        )
    write(f"{token}\n")
    return Exit.COMPLETED
