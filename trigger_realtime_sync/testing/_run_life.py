"""The life of a triggered run: delayed, queued, perhaps executed by a Python function."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from ._alarms import Alarms
from ._control import RunControl
from ._rows import EXECUTING
from ._run_book import RunBook
from ._store import now
from ._superjson import encode
from ._task_workers import TaskWorkers

TaskFunction = Callable[[Any], Any]
_WAITING = frozenset({"PENDING", "DELAYED", "PENDING_VERSION"})
FINISHED = frozenset(
    {"CANCELED", "COMPLETED_SUCCESSFULLY", "COMPLETED_WITH_ERRORS", "INTERRUPTED"}
    | {"CRASHED", "SYSTEM_FAILURE", "EXPIRED", "TIMED_OUT"}
)


class RunLife:
    """Moves runs from one status to the next, unless the test has moved them on itself.

    Args:
        runs: how runs are changed.
    """

    def __init__(self, runs: RunControl, book: RunBook) -> None:
        self._runs = runs
        self._store = runs._store
        self._book = book
        self._alarms = Alarms()
        self._stopping = threading.Event()
        self._workers = TaskWorkers()
        self._functions: dict[str, TaskFunction] = {}
        self._thread = threading.local()
        # Runs whose function has begun, and not returned.
        self._executed: set[str] = set()

    def register(self, task: str, function: TaskFunction) -> None:
        self._functions[task] = function

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        self._alarms.after(seconds, call)

    def pause(self, seconds: float) -> None:
        """Sleep, unless the server stops."""
        if seconds:
            self._stopping.wait(seconds)

    def stop_pauses(self) -> None:
        self._stopping.set()

    def halt(self) -> None:
        self._alarms.halt()
        self._workers.halt()

    @property
    def current(self) -> str:
        """The run whose function the calling thread executes."""
        return str(self._thread.run_id)

    # --- delayed and queued

    def begin(self, run_id: str) -> None:
        """Let a new run take its course."""
        until = self._book.facts(run_id).wanted.delay_until
        if until is None:
            self.enqueue(run_id)
        else:
            self._alarms.after(until - time.time(), partial(self._delay_is_over, run_id, until))

    def delay_until(self, run_id: str, until: float) -> None:
        """Move the end of the delay of a run that is delayed."""
        self._alarms.after(until - time.time(), partial(self._delay_is_over, run_id, until))

    def _delay_is_over(self, run_id: str, until: float) -> None:
        with self._store.lock:
            moved = self._book.facts(run_id).wanted.delay_until != until
            if moved or not self._is(run_id, "DELAYED"):
                return
            self._runs.update_run(run_id, status="PENDING", queued_at=now())
        self.enqueue(run_id)

    def enqueue(self, run_id: str) -> None:
        """Let a queued run expire in time, and be executed if there is a function for its task."""
        facts = self._book.facts(run_id)
        if facts.wanted.ttl_seconds is not None:
            self._alarms.after(facts.wanted.ttl_seconds, partial(self._expire, run_id))
        function = self._functions.get(facts.task)
        if function is not None:
            self._workers.run(partial(self._execute, run_id, function))

    def _expire(self, run_id: str) -> None:
        with self._store.lock:
            if self._is(run_id, *_WAITING):
                ttl = self._book.facts(run_id).wanted.ttl
                error = {
                    "type": "STRING_ERROR",
                    "raw": f"Run expired because the TTL ({ttl}) was reached",
                }
                moment = now()
                self._runs.update_run(
                    run_id, status="EXPIRED", error=error, expired_at=moment, completed_at=moment
                )

    def cancel(self, run_id: str) -> None:
        """Cancel a run, unless it is finished."""
        with self._store.lock:
            if self._is(run_id, *FINISHED):
                return
            if run_id in self._executed:
                # `completedAt` comes when its function has returned.
                self._runs.update_run(run_id, status="CANCELED")
            else:
                self._runs.cancel_run(run_id)

    # --- executed

    def _execute(self, run_id: str, function: TaskFunction) -> None:
        with self._store.lock:
            if not self._is(run_id, "PENDING"):
                return
            self._executed.add(run_id)
            self._runs.update_run(run_id, status="EXECUTING")
        self._thread.run_id = run_id
        try:
            output = function(self._book.payload(self._book.facts(run_id).packet))
            packet = (None, "application/json") if output is None else encode(output)
        except BaseException as error:  # noqa: BLE001 (it is the run's, as in the world)
            self._fail(run_id, error)
        else:
            self._end(run_id, partial(self._runs.complete_run, run_id, packet))

    def _fail(self, run_id: str, error: BaseException) -> None:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        call = partial(
            self._runs.fail_run,
            run_id,
            str(error),
            name=type(error).__name__,
            stack_trace=trace,
        )
        self._end(run_id, call)

    def _end(self, run_id: str, call: Callable[[], None]) -> None:
        with self._store.lock:
            self._executed.discard(run_id)
            if self._is(run_id, "CANCELED"):
                # Cancelled at once, but done only now: docs/protocol.md, section 4.
                self._runs.update_run(run_id, completed_at=now())
            elif self._is(run_id, *EXECUTING, "WAITING_TO_RESUME"):
                call()

    def _is(self, run_id: str, *statuses: str) -> bool:
        state = self._store.get(run_id)
        return state is not None and state.row["status"] in statuses
