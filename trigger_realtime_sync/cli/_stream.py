"""The command `stream`."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from .. import PayloadError, StreamSubscription
from ..models import AnyRun
from ._exits import CommandError, Exit, usage_errors
from ._interrupts import Uninterrupted
from ._output import OutputError, warn
from ._parser import Commands, add_connection, add_output, add_timeout
from ._session import Session, session
from ._values import index
from ._views import JsonLines, RawText, View


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
        reading = _Reading(here, options)
        view = JsonLines() if options.json else RawText()
        try:
            if not here.show(view, reading.subscription, timeout=options.timeout):
                message = f"stream {options.key} of run {options.run} did not end"
                raise here.timed_out(message, options.timeout)
        except BaseException as error:
            reading.say_where_to_go_on(error)
            raise
    reading.check_that_it_exists()
    return Exit.COMPLETED


class _Reading:
    """One reading of a stream, and the place of what was printed last."""

    def __init__(self, here: Session, options: argparse.Namespace) -> None:
        self._queue = here.queue
        self._options = options
        self._printed: str | None = None
        with usage_errors():
            # Enabled below: the first parts ask `subscription` for their place.
            self.subscription: StreamSubscription[Any] = here.client.subscribe_to_stream(
                options.run,
                options.key,
                start_index=options.start_index,
                last_event_id=options.last_event_id,
                from_latest=options.from_latest,
                max_parts=1,
                enabled=False,
                on_stream=self._on_stream,
                on_error=here.queue.on_error,
            )
        self.subscription.enable()

    def say_where_to_go_on(self, error: BaseException) -> None:
        """Name the place behind the last part that was printed, if stdout may get more."""
        if self._printed is not None and not isinstance(error, OutputError):
            warn(f"to go on from here: --last-event-id {shlex.quote(self._printed)}")

    def check_that_it_exists(self) -> None:
        """Check that the run, which has finished, had a stream of this key.

        Raises:
            CommandError: it had none.
        """
        options, run = self._options, self.subscription.run
        asked_for_all = options.last_event_id is None
        if self._printed is None and asked_for_all and run is not None and run.is_finished:
            keys = _streams_of(run)
            if options.key not in keys:
                named = ", ".join(keys) or "none"
                raise CommandError(
                    f"run {run.id} never had a stream {options.key!r}; its streams: {named}",
                    Exit.NOT_FOUND,
                )

    def _on_stream(self, key: str, parts: list[Any]) -> None:
        place = self.subscription.last_event_id

        def show(view: View) -> None:
            with Uninterrupted():
                view.show_parts(key, parts)
                self._printed = place

        self._queue.put(show)


def _streams_of(run: AnyRun) -> list[str]:
    """Return the keys that a run names, in either place."""
    try:
        named = (run.metadata or {}).get("$$streams")
    except (AttributeError, PayloadError):
        named = None
    texts = [key for key in named if isinstance(key, str)] if isinstance(named, list) else []
    return list(dict.fromkeys([*texts, *run.realtime_streams]))
