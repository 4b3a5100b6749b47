"""Calls at their time: delays, lives that end, runs that leave the buffer."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from .._clock import monotonic

_log = logging.getLogger("trigger_realtime_sync.testing")


class Alarms:
    """Calls functions at their time, one after the other, on a thread that the first one starts."""

    def __init__(self) -> None:
        # Protects the attributes below.
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._thread: threading.Thread | None = None
        self._halted = False

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call the function in so many seconds; never, if the server stops before."""
        with self._changed:
            if self._halted:
                return
            heapq.heappush(self._calls, (monotonic() + seconds, next(self._numbers), call))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="realtime-server-alarms", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def halt(self) -> None:
        with self._changed:
            self._halted = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 (logged)
                _log.exception("the test server failed at a time that was set")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._halted:
                left = self._calls[0][0] - monotonic() if self._calls else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._calls)[2]
                self._changed.wait(left)
        return None
