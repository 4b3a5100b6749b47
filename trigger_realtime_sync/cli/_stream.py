"""The command `stream`."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from .. import StreamSubscription
from ._exits import Exit
from ._output import warn
from ._parser import Commands, add_connection, add_output, add_timeout
from ._reading import Reading
from ._session import session
from ._values import index


def add_to(commands: Commands) -> None:
    """Add `stream`."""
    command = commands.add(
        "stream",
        "print a stream of a run as it arrives: text as it is, anything else as JSON lines",
        stream,
        "trigger-realtime stream run_1234 openai",
        "trigger-realtime stream run_1234 openai --from-latest --timeout 10m",
        "trigger-realtime stream run_1234 rows --json --last-event-id 41 >> rows.jsonl",
    )
    command.add_argument("run", metavar="RUN")
    command.add_argument("key", metavar="KEY", nargs="?", default="default")
    start = command.add_mutually_exclusive_group()
    start.add_argument(
        "--last-event-id",
        metavar="ID",
        help="go on behind this place: an interrupted stream says its own on stderr",
    )
    start.add_argument(
        "--start-index", metavar="N", type=index, help="begin at this part, from 0 on"
    )
    start.add_argument(
        "--from-latest", action="store_true", help="only what is written from now on"
    )
    add_timeout(command)
    add_connection(command)
    add_output(command)


def stream(options: argparse.Namespace) -> int:
    """Run `stream RUN [KEY]`."""
    with session(options.token, options.base_url, options.throttle_ms) as here:

        def subscribe(**callbacks: Any) -> StreamSubscription[Any]:
            return here.client.subscribe_to_stream(
                options.run,
                options.key,
                start_index=options.start_index,
                last_event_id=options.last_event_id,
                from_latest=options.from_latest,
                **callbacks,
            )

        reading = Reading(here, options.run, options.key, subscribe)
        try:
            reading.show(as_json=options.json, timeout=options.timeout)
        except BaseException as error:
            if (place := reading.place_after(error)) is not None:
                warn(f"to go on from here: --last-event-id {shlex.quote(place)}")
            raise
    if options.last_event_id is None:
        reading.check_that_it_exists()
    return Exit.COMPLETED
