"""The command `watch`."""

from __future__ import annotations

import argparse
from typing import Any

from .. import RunsSubscription, RunSubscription
from ._exits import Exit, exit_of_run, exit_of_runs, usage_errors
from ._parser import (
    Commands,
    add_connection,
    add_created_at,
    add_output,
    add_timeout,
    warn_of_old,
)
from ._session import NOT_SHOWN, Session, choose_view, session


def add_to(commands: Commands) -> None:
    """Add `watch run`, `watch tag` and `watch batch`."""
    about = "show a run, or the runs of a tag or a batch, as they change"
    examples = (
        "trigger-realtime watch run run_1234",
        "trigger-realtime watch tag user:7 video --created-at 90m --timeout 1h",
        "trigger-realtime watch batch batch_1234 --json | jq .status",
    )
    kinds = Commands(commands.add("watch", about, None, *examples), "kind", "KIND")
    run = kinds.add("run", "follow a run, until it has finished", watch, examples[0])
    run.add_argument("id", metavar="RUN")
    about = "follow a tag, until Ctrl-C; with several tags, runs that have all of them"
    tag = kinds.add("tag", about, watch, examples[1])
    tag.add_argument("id", metavar="TAG", nargs="+")
    add_created_at(tag)
    about = "follow a batch, until all its runs have finished"
    batch = kinds.add("batch", about, watch, examples[2])
    batch.add_argument("id", metavar="BATCH")
    for kind in (run, tag, batch):
        add_timeout(kind)
        add_connection(kind)
        add_output(kind)


def watch(options: argparse.Namespace) -> int:
    """Run `watch run|tag|batch`."""
    subject = options.id if isinstance(options.id, str) else " ".join(options.id)
    title = f"{options.kind} {subject}"
    with session(options.token, options.base_url, options.throttle_ms) as here:
        subscription = _subscribe(here, options)
        view = choose_view(title, as_json=options.json)
        if not here.show(view, subscription, timeout=options.timeout):
            raise here.timed_out(f"{title} did not end", options.timeout)
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
        warn_of_old(options.created_at)
        return here.client.subscribe_to_runs_with_tag(
            options.id, created_at=options.created_at, **common
        )
