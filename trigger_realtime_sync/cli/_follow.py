"""The commands that follow runs: `watch`, `stream` and `wait`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from .. import RealtimeClient, RunsSubscription, RunSubscription, Subscription
from ..jsonable import run_as_dict
from ._event_queue import EventQueue
from ._exits import Exit, exit_of_run, exit_of_runs, usage_errors
from ._views import JsonLines, RawText, RunLines, View, json_line, run_line, warn, write

# Columns that only JSON shows, and that may be large.
NOT_SHOWN = ("payload", "output")


@attrs.frozen
class Session:
    """A client, and the queue that its callbacks fill."""

    client: RealtimeClient
    queue: EventQueue

    @property
    def run_callbacks(self) -> dict[str, Any]:
        return {"on_update": self.queue.on_update, "on_error": self.queue.on_error}

    @property
    def stream_callbacks(self) -> dict[str, Any]:
        return {"on_stream": self.queue.on_stream, "on_error": self.queue.on_error}

    def show(self, view: View, *subscriptions: Subscription) -> None:
        """Show what happens until all subscriptions have ended.

        Raises:
            TriggerRealtimeError: the error that ended one of them.
        """
        with view:
            for event in self.queue.events(subscriptions):
                view.tick([one.state for one in subscriptions])
                if event is not None:
                    event(view)


@contextmanager
def session(
    token: str | None, base_url: str | None, throttle_in_ms: float = 0
) -> Iterator[Session]:
    """Open a session. Everything is cancelled at the end."""
    client = RealtimeClient(token, base_url=base_url, throttle_in_ms=throttle_in_ms)
    queue = EventQueue()
    try:
        yield Session(client, queue)
    finally:
        queue.close()
        client.close()


NO_RICH = "for a live table: pip install 'trigger-realtime-sync[cli]'"


def choose_view(title: str, *, as_json: bool = False) -> View:
    """Return a view: JSON lines if wanted, a live table on a terminal, or plain lines."""
    if as_json:
        return JsonLines()
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return RunLines()
    try:
        from ._table import LiveTable
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        warn(NO_RICH)
        return RunLines()
    return LiveTable(title)


def watch(options: argparse.Namespace) -> int:
    """Run `watch run|tag|batch`."""
    subject = options.id if isinstance(options.id, str) else " ".join(options.id)
    with session(options.token, options.base_url, options.throttle_ms) as here:
        subscription = _subscribe(here, options)
        view = choose_view(f"{options.kind} {subject}", as_json=options.json)
        here.show(view, subscription)
    if isinstance(subscription, RunsSubscription):
        return exit_of_runs(subscription.runs)
    return Exit.FAILED if subscription.run is None else exit_of_run(subscription.run)


def _subscribe(
    here: Session, options: argparse.Namespace
) -> RunSubscription[Any, Any] | RunsSubscription[Any, Any]:
    common = {"skip_columns": () if options.json else NOT_SHOWN, **here.run_callbacks}
    with usage_errors():
        if options.kind == "run":
            return here.client.subscribe_to_run(options.id, **common)
        if options.kind == "batch":
            return here.client.subscribe_to_batch(options.id, **common)
        return here.client.subscribe_to_runs_with_tag(
            options.id, created_at=options.created_at, **common
        )


def stream(options: argparse.Namespace) -> int:
    """Run `stream RUN [KEY]`."""
    with session(options.token, options.base_url, options.throttle_ms) as here:
        with usage_errors():
            subscription = here.client.subscribe_to_stream(
                options.run, options.key, max_parts=1, **here.stream_callbacks
            )
        here.show(JsonLines() if options.json else RawText(), subscription)
    return Exit.COMPLETED


def wait(options: argparse.Namespace) -> int:
    """Run `wait RUN`."""
    with session(options.token, options.base_url) as here:
        skipped = () if options.json else NOT_SHOWN
        with usage_errors():
            subscription = here.client.subscribe_to_run(options.run, skip_columns=skipped)
        run = subscription.wait_for_completion(options.timeout)
        write(json_line(run_as_dict(run)) if options.json else run_line(run) + "\n")
    return exit_of_run(run)
