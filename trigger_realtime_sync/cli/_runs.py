"""The commands `runs`, `reschedule` and `tag`, by the REST API."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from .. import RunDetails, RunStatus
from ..jsonable import RUN_FIELDS, run_as_dict
from ..models import AnyRun
from ._exits import CommandError, Exit, usage_errors
from ._listing import add_listing, listing_of, shown, statuses
from ._output import json_line, warn, write, write_made_safe
from ._parser import Commands, add_connection
from ._session import session
from ._views import run_line

# A list has no values for these.
_NOT_LISTED = ("payload", "output", "error")
_LISTED = tuple(name for name in RUN_FIELDS if name not in _NOT_LISTED)
_DETAILS = (
    *("version", "region", "batch_id", "attempt_count", "depth", "trigger_function", "schedule"),
)


def add_to(commands: Commands) -> None:
    """Add `runs`, `reschedule` and `tag`."""
    one = commands.add(
        "runs",
        "list runs, the newest first, or show some by their ids",
        runs,
        "trigger-realtime runs --status failed --since 1d",
        "trigger-realtime runs --task my-task --tag user:7 --limit 100 --json | jq .id",
        "trigger-realtime runs run_1234 --json | jq .output",
    )
    one.add_argument("runs", metavar="RUN", nargs="*", help="instead of a list, these")
    for name, about in (
        ("status", "of this status, such as failed; several times: any of them"),
        ("tag", "with this tag; several times: any of them"),
        ("task", "of this task; several times: any of them"),
    ):
        one.add_argument(f"--{name}", metavar=name.upper(), action="append", default=[], help=about)
    add_listing(one, since="7d")
    one.add_argument("--json", action="store_true", help="print each run as a line of JSON")
    add_connection(one)

    one = commands.add(
        "reschedule",
        "let a delayed run start at another time, and print when",
        reschedule,
        "trigger-realtime reschedule run_1234 1h30m",
        "trigger-realtime reschedule run_1234 2026-12-24T18:00:00Z",
    )
    one.add_argument("run", metavar="RUN")
    one.add_argument("delay", metavar="DELAY", help="from now on: 5m; or an ISO date")
    add_connection(one)

    about = "add tags to a run, which can have ten in all"
    one = commands.add("tag", about, tag, "trigger-realtime tag run_1234 user:7 checked")
    one.add_argument("run", metavar="RUN")
    one.add_argument("tags", metavar="TAG", nargs="+")
    add_connection(one)


def runs(options: argparse.Namespace) -> int:
    """Run `runs` or `runs RUN…`."""
    if options.runs:
        return _retrieve(options)
    with session(options.token, options.base_url) as here, usage_errors():
        page = here.client.runs.list(
            status=statuses(options.status, [one.value for one in RunStatus]),
            tag=options.tag or None,
            task=options.task or None,
            **listing_of(options),
        )
        found = shown(page, options.limit)
    for run in found:
        if options.json:
            write(json_line(run_as_dict(run, _LISTED)))
        else:
            write_made_safe(run_line(run) + "\n")
    if not found:
        warn("no such runs" if options.since else "no such runs in the last 7 days: see --since")
    return Exit.COMPLETED


def _retrieve(options: argparse.Namespace) -> int:
    if options.status or options.tag or options.task or options.since:
        raise CommandError("--status, --tag, --task and --since are for lists", Exit.USAGE)
    with session(options.token, options.base_url) as here:
        for run_id in options.runs:
            with usage_errors():
                run = here.client.runs.retrieve(run_id)
            if options.json:
                write(json_line(_details(run)))
            else:
                write_made_safe(run_line(run) + "\n")
    return Exit.COMPLETED


def _details(run: RunDetails) -> dict[str, Any]:
    related = {"parent": _id(run.parent), "root": _id(run.root)}
    children = [child.id for child in run.children]
    return {**run_as_dict(run, (*RUN_FIELDS, *_DETAILS)), **related, "children": children}


def _id(run: AnyRun | None) -> str | None:
    return None if run is None else run.id


def reschedule(options: argparse.Namespace) -> int:
    """Run `reschedule RUN DELAY`."""
    with session(options.token, options.base_url) as here, usage_errors(delay="DELAY"):
        run = here.client.runs.reschedule(options.run, options.delay)
    if run.delayed_until is not None:
        write(f"{_time(run.delayed_until)}\n")
    return Exit.COMPLETED


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def tag(options: argparse.Namespace) -> int:
    """Run `tag RUN TAG…`."""
    with session(options.token, options.base_url) as here, usage_errors():
        here.client.runs.add_tags(options.run, options.tags)
    return Exit.COMPLETED
