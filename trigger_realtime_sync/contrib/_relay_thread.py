"""The one thread that makes the chunks of all relays of a process for event loops."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger("trigger_realtime_sync")

# Seconds without a relay after which the thread ends.
IDLE_SECONDS = 2.0


class Looks(Protocol):
    """What wants to be looked at again at some time."""

    def look(self) -> None:
        """Look for news. On the thread of relays."""


class RelayThread:
    """A thread that is there while it has something to do. Its methods may be called on any thread.

    Nothing that it runs may wait: all relays of the process would wait with it.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin anew: in a child, where the thread is not."""
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        # Protects whether the thread is there.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # Of the thread alone: what is to be looked at, and when.
        self._looks: list[tuple[float, int, Looks]] = []
        self._numbers = itertools.count()

    def do(self, job: Callable[[], None]) -> None:
        """Have something done on the thread.

        Raises:
            RuntimeError: it can't be started.
        """
        self._jobs.put(job)
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._run, name="trigger-realtime relays", daemon=True
                )
                thread.start()
                self._thread = thread

    def look_at(self, at: float, what: Looks) -> None:
        """Look at something at a moment of `time.monotonic()`. On the thread alone."""
        heapq.heappush(self._looks, (at, next(self._numbers), what))

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self._seconds_to_wait())
            except queue.Empty:
                if self._may_end():
                    return
            else:
                _guarded(job)
            now = time.monotonic()
            while self._looks and self._looks[0][0] <= now:
                _guarded(heapq.heappop(self._looks)[2].look)

    def _seconds_to_wait(self) -> float:
        if not self._looks:
            return IDLE_SECONDS
        return max(0.0, self._looks[0][0] - time.monotonic())

    def _may_end(self) -> bool:
        with self._lock:
            if self._looks or not self._jobs.empty():
                return False
            self._thread = None
            return True


def _guarded(job: Callable[[], None]) -> None:
    try:
        job()
    except Exception:
        logger.exception("the thread of relays goes on after an error")


RELAY_THREAD = RelayThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RELAY_THREAD.begin)
