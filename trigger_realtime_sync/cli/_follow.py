"""The commands that follow what is on a server: watch, stream and wait."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from ..client import RealtimeClient
from ..subscription import RunsSubscription, RunSubscription, Subscription
from ._exits import Exit, exit_of_run, exit_of_runs, usage_errors
from ._feed import Event, Feed, PartsCame, RunChanged, Trouble
from ._json import run_as_dict
from ._lines import JsonLines, Parts, View, as_json, run_line, warn, write
from ._screen import choose_view

# A table shows neither, and a large one need not be fetched.
UNSHOWN = ("payload", "output")


@attrs.frozen
class Session:
    """A client, and the way from its callbacks to the view."""

    client: RealtimeClient
    feed: Feed

    @property
    def callbacks(self) -> dict[str, Any]:
        return {"on_update": self.feed.on_update, "on_error": self.feed.on_error}

    def show(self, view: View, *subscriptions: Subscription) -> None:
        """Shows what happens until all of them have ended.

        Raises:
            TriggerRealtimeError: what ended one of them.
        """
        with view:
            for event in self.feed.events(subscriptions):
                view.tick([one.state for one in subscriptions])
                if event is not None:
                    _show_event(view, event)


@contextmanager
def session(
    token: str | None, base_url: str | None, throttle_in_ms: float = 0
) -> Iterator[Session]:
    """A session; at the end everything is cancelled."""
    client = RealtimeClient(token, base_url=base_url, throttle_in_ms=throttle_in_ms)
    feed = Feed()
    try:
        yield Session(client, feed)
    finally:
        feed.close()
        client.close()


def _show_event(view: View, event: Event) -> None:
    match event:
        case RunChanged(run):
            view.show_run(run)
        case PartsCame(key, parts):
            view.show_parts(key, parts)
        case Trouble(error):
            warn(str(error))


def watch(options: argparse.Namespace) -> int:
    """`watch run|tag|batch`."""
    with session(options.token, options.base_url, options.throttle_ms) as here:
        subscription = _subscribe(here, options)
        title = " ".join(
            [options.kind, *([options.id] if isinstance(options.id, str) else options.id)]
        )
        here.show(choose_view(title, as_json=options.json), subscription)
    if isinstance(subscription, RunsSubscription):
        return exit_of_runs(subscription.runs)
    return Exit.FAILED if subscription.run is None else exit_of_run(subscription.run)


def _subscribe(
    here: Session, options: argparse.Namespace
) -> RunSubscription[Any, Any] | RunsSubscription[Any, Any]:
    unshown = () if options.json else UNSHOWN
    with usage_errors():
        if options.kind == "run":
            return here.client.subscribe_to_run(options.id, skip_columns=unshown, **here.callbacks)
        if options.kind == "batch":
            return here.client.subscribe_to_batch(
                options.id, skip_columns=unshown, **here.callbacks
            )
        return here.client.subscribe_to_runs_with_tag(
            options.id, created_at=options.created_at, skip_columns=unshown, **here.callbacks
        )


def stream(options: argparse.Namespace) -> int:
    """`stream RUN [KEY]`."""
    with session(options.token, options.base_url, options.throttle_ms) as here:
        with usage_errors():
            subscription = here.client.subscribe_to_stream(
                options.run,
                options.key,
                max_parts=1,
                on_stream=here.feed.on_stream,
                on_error=here.feed.on_error,
            )
        here.show(JsonLines() if options.json else Parts(), subscription)
    return Exit.COMPLETED


def wait(options: argparse.Namespace) -> int:
    """`wait RUN`."""
    with session(options.token, options.base_url) as here:
        unshown = () if options.json else UNSHOWN
        with usage_errors():
            subscription = here.client.subscribe_to_run(options.run, skip_columns=unshown)
        run = subscription.wait_for_completion(options.timeout)
        if options.json:
            write(as_json(run_as_dict(run)) + "\n")
        else:
            write(run_line(run) + "\n")
    return exit_of_run(run)
