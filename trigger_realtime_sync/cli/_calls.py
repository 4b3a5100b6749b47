"""The commands that call the server once: `cancel`, `replay` and `send`."""

from __future__ import annotations

import argparse
import json

from ._exits import CommandError, Exit, usage_errors
from ._output import write
from ._parser import Commands, add_connection
from ._session import session


def add_to(commands: Commands) -> None:
    """Add `cancel`, `replay` and `send`."""
    one = commands.add("cancel", "cancel runs", cancel, "trigger-realtime cancel run_1234 run_5678")
    one.add_argument("runs", metavar="RUN", nargs="+")
    add_connection(one)
    about = "run a run once more, and print the id of the new one"
    one = commands.add("replay", about, replay, "trigger-realtime replay run_1234")
    one.add_argument("run", metavar="RUN")
    add_connection(one)
    about = "send to an input stream of a run, once"
    example = """trigger-realtime send run_1234 approval '{"approved": true}'"""
    one = commands.add("send", about, send, example)
    one.add_argument("run", metavar="RUN")
    one.add_argument("stream", metavar="STREAM")
    one.add_argument("data", metavar="DATA", help="JSON")
    add_connection(one)


def cancel(options: argparse.Namespace) -> int:
    """Run `cancel RUN…`."""
    with session(options.token, options.base_url) as here, usage_errors():
        for run_id in options.runs:
            here.client.runs.cancel(run_id)
    return Exit.COMPLETED


def replay(options: argparse.Namespace) -> int:
    """Run `replay RUN`."""
    with session(options.token, options.base_url) as here:
        with usage_errors():
            handle = here.client.runs.replay(options.run)
        write(f"{handle.id}\n")
    return Exit.COMPLETED


def send(options: argparse.Namespace) -> int:
    """Run `send RUN STREAM DATA`."""
    try:
        data = json.loads(options.data)
    except (ValueError, RecursionError):
        raise CommandError("the data is no JSON", Exit.USAGE) from None
    with session(options.token, options.base_url) as here, usage_errors():
        here.client.send(options.run, options.stream, data)
    return Exit.COMPLETED
