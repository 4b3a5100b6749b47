"""The threads that Python functions run on as tasks."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Callable

from .._clock import monotonic

_log = logging.getLogger("trigger_realtime_sync.testing")

# Bounds the threads: tasks beyond them wait their turn, as in a queue with a concurrency limit.
_MOST_THREADS = 64
# Bounds `halt`: a task that does not end is left to its daemon thread.
_STOP_SECONDS = 2.0


class TaskWorkers:
    """Runs calls on daemon threads, as many at once as there are threads."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        # Protects the attributes below.
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        # Calls that wait or are made.
        self._busy = 0
        self._halted = False

    def run(self, call: Callable[[], None]) -> None:
        """Make the call soon; never, if the server stops before."""
        with self._lock:
            if self._halted:
                return
            self._busy += 1
            if self._busy > len(self._threads) < _MOST_THREADS:
                name = f"realtime-server-task-{next(self._numbers)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
            self._calls.put(call)

    def halt(self) -> None:
        """Begin no call any more, and wait a moment for those that are made."""
        with self._lock:
            self._halted = True
            threads = list(self._threads)
        for _ in threads:
            self._calls.put(None)
        deadline = monotonic() + _STOP_SECONDS
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - monotonic()))

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if self._halted:
                return
            try:
                call()
            except Exception:  # noqa: BLE001 (logged)
                _log.exception("the test server failed to run a task")
            finally:
                with self._lock:
                    self._busy -= 1
