"""The command `wait`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from .. import RunsSubscription, WaitTimeout
from ..jsonable import run_as_dict
from ..models import AnyRun
from ._exits import CommandError, Exit, exit_of_runs, usage_errors
from ._output import json_line, write, write_made_safe
from ._parser import Commands, add_connection, add_created_at, add_timeout, warn_of_old
from ._session import NOT_SHOWN, Session, session
from ._values import count
from ._views import View, run_line

_USAGE = """\
%(prog)s [options] RUN…
       %(prog)s [options] tag TAG… --expected N
       %(prog)s [options] batch BATCH"""

_KINDS = ("run", "tag", "batch")


def add_to(commands: Commands) -> None:
    """Add `wait`."""
    command = commands.add(
        "wait",
        "wait until runs have finished; the exit code shows how",
        wait,
        "trigger-realtime wait run_1234 && echo completed",
        "trigger-realtime wait run_1234 run_5678 --timeout 5m --json | jq .output",
        "trigger-realtime wait tag nightly --expected 12 --timeout 1h30m",
        "trigger-realtime wait batch batch_1234",
        usage=_USAGE,
    )
    command.add_argument(
        "words",
        metavar="RUN",
        nargs="+",
        help="the runs; or `tag` and tags that a run must all have; or `batch` and a batch",
    )
    command.add_argument(
        "--expected", metavar="N", type=count, help="how many runs with the tags to wait for"
    )
    add_created_at(command)
    add_timeout(command)
    command.add_argument("--json", action="store_true", help="print each run as a line of JSON")
    add_connection(command)


def wait(options: argparse.Namespace) -> int:
    """Run `wait RUN…`, `wait tag TAG…` or `wait batch BATCH`."""
    kind, names = _subject(options)
    with session(options.token, options.base_url) as here:
        if kind == "run":
            return _wait_for_runs(here, names, options)
        return wait_for_all(
            here,
            _subscribe(here, kind, names, options),
            what=" ".join(options.words),
            timeout=options.timeout,
            expected=options.expected,
            as_json=options.json,
        )


def _subject(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Return what to wait for: the kind, and the ids or tags.

    Raises:
        CommandError: this can't be waited for.
    """
    first, *rest = options.words
    kind, names = (first, rest) if first in _KINDS else ("run", options.words)
    if not names:
        raise CommandError(f"wait {kind}: {kind.upper()} is missing", Exit.USAGE)
    if kind == "batch" and len(names) > 1:
        raise CommandError("wait batch: one batch at a time", Exit.USAGE)
    if kind == "tag" and options.expected is None:
        raise CommandError("wait tag: --expected is missing: a tag has no end", Exit.USAGE)
    if kind != "tag" and (options.expected is not None or options.created_at is not None):
        raise CommandError("--expected and --created-at are for `wait tag`", Exit.USAGE)
    return kind, list(dict.fromkeys(names))


def _wait_for_runs(here: Session, run_ids: list[str], options: argparse.Namespace) -> int:
    view = _Finished(as_json=options.json)
    with usage_errors():
        subscriptions = [
            here.client.subscribe_to_run(
                run_id, skip_columns=_skipped(options), on_complete=here.queue.on_update
            )
            for run_id in run_ids
        ]
    if not here.show(view, *subscriptions, timeout=options.timeout):
        shown = {run.id for run in view.runs}
        missing = [one for one in run_ids if one not in shown]
        noun = "run" if len(missing) == 1 else "runs"
        raise here.timed_out(f"{noun} {', '.join(missing)} did not finish", options.timeout)
    return exit_of_runs(view.runs)


def _subscribe(
    here: Session, kind: str, names: list[str], options: argparse.Namespace
) -> RunsSubscription[Any, Any]:
    skipped = _skipped(options)
    with usage_errors():
        if kind == "batch":
            return here.client.subscribe_to_batch(names[0], skip_columns=skipped)
        warn_of_old(options.created_at)
        return here.client.subscribe_to_runs_with_tag(
            names, created_at=options.created_at, skip_columns=skipped
        )


def wait_for_all(
    here: Session,
    subscription: RunsSubscription[Any, Any],
    *,
    what: str,
    timeout: float | None,
    expected: int | None = None,
    as_json: bool,
) -> int:
    """Print runs once all have finished, and return the exit code.

    Args:
        what: is waited for, for the error.
        timeout: seconds.
        expected: how many runs; None for all of a batch.

    Raises:
        CommandError: it took longer; those that have finished were printed.
    """
    try:
        runs = subscription.wait_for_completion(timeout, expected=expected)
    except WaitTimeout:
        runs = [run for run in subscription.runs if run.is_finished]
        _print(runs, as_json=as_json)
        known = expected or f"{len(subscription.runs)} known"
        message = f"{what}: {len(runs)} of {known} runs finished"
        raise here.timed_out(message, timeout or 0.0) from None
    _print(runs, as_json=as_json)
    return exit_of_runs(runs)


def _skipped(options: argparse.Namespace) -> tuple[str, ...]:
    return () if options.json else NOT_SHOWN


def _print(runs: Iterable[AnyRun], *, as_json: bool) -> None:
    for run in runs:
        if as_json:
            write(json_line(run_as_dict(run)))
        else:
            write_made_safe(run_line(run) + "\n")


class _Finished(View):
    """Prints each run once, when it has finished."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.runs: list[AnyRun] = []

    def show_run(self, run: AnyRun) -> None:
        self.runs.append(run)
        _print([run], as_json=self._as_json)
