"""`manage.py watch_run RUN_ID`: print each change of a run, and send the signals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ..... import Run, TriggerRealtimeError, WaitTimeout
from ....._terminal import one_line
from ...._events import run_for_browser, to_json
from ...watching import watch_run

# Seconds without a change after which the deadline is checked.
CHECK_SECONDS = 0.25


def _until(updates: Iterator[Run[Any, Any]], timeout: float | None) -> Iterator[Run[Any, Any]]:
    """Iterate over the updates. Raises their `WaitTimeout` once this many seconds have passed."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            yield next(updates)
        except StopIteration:
            return
        except WaitTimeout:
            if deadline is not None and time.monotonic() >= deadline:
                raise


class Command(BaseCommand):
    help = "Follow a run until it has finished: print each change, and send the signals."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run_id", help="the id of the run (run_…)")
        parser.add_argument("--timeout", type=float, help="how many seconds to wait in all")
        parser.add_argument("--json", action="store_true", help="one line of JSON per change")

    def handle(self, *arguments: Any, run_id: str, timeout: float | None, **options: Any) -> None:
        try:
            run = self._follow(run_id, timeout, options["json"])
        except WaitTimeout:
            message = one_line(f"{run_id} did not finish within {timeout} s")
            raise CommandError(message, returncode=124) from None
        except (TriggerRealtimeError, ValueError) as error:
            raise CommandError(one_line(f"{run_id}: {error}")) from None
        if not run.is_success:
            why = f": {run.error.message}" if run.error is not None else ""
            code = 2 if run.is_cancelled else 1
            message = one_line(f"{run.id} finished as {run.status}{why}")
            raise CommandError(message, returncode=code)

    def _follow(self, run_id: str, timeout: float | None, as_json: bool) -> Run[Any, Any]:
        with watch_run(run_id) as subscription:
            for run in _until(subscription.updates(timeout=CHECK_SECONDS), timeout):
                self._show(run, as_json)
            return subscription.wait_for_completion(CHECK_SECONDS)

    def _show(self, run: Run[Any, Any], as_json: bool) -> None:
        if as_json:
            self.stdout.write(to_json(run_for_browser(run)).decode())
        else:
            when = f"{run.updated_at:%H:%M:%S}" if run.updated_at is not None else "--:--:--"
            self.stdout.write(one_line(f"{when} {run.status}"))
