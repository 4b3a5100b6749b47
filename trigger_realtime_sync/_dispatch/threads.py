"""Threads that are started, again if they can't be at first, and joined in the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial

from .._clock import monotonic
from .janitor import AGAIN_SECONDS, Janitor, may_be_interrupted

logger = logging.getLogger("trigger_realtime_sync")

# How many threads that have ended may be remembered, beyond as many as those that run.
SLACK = 64
# Seconds between two attempts to join a thread that is being started.
STARTING_SECONDS = 0.001


class Threads:
    """The reading threads of one client.

    Args:
        janitor: starts again what could not be started: a process may be at its limit of threads
            for a moment.
    """

    def __init__(self, janitor: Janitor) -> None:
        self._janitor = janitor
        # Protects the threads.
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._most = SLACK
        self._is_short = False

    def start(self, work: Callable[[], None], name: str) -> None:
        """Start a thread, now or as soon as it can be."""
        if may_be_interrupted():
            self._janitor.put(partial(self._start, work, name))
        else:
            self._start(work, name)

    def _start(self, work: Callable[[], None], name: str) -> None:
        # In an empty context: whoever subscribed may be a request that is traced, and ends long
        # before this thread.
        thread = threading.Thread(
            target=Context().run, args=(work,), name=f"trigger-realtime {name}", daemon=True
        )
        self._remember(thread)
        if not self._starts(thread):
            self._janitor.put_later(AGAIN_SECONDS, partial(self._start, work, name))

    def join(self, deadline: float) -> list[threading.Thread]:
        """Wait for all threads, up to a time of `time.monotonic()`.

        Takes no lock. Returns the threads that are still alive.
        """
        return join_all(list(self._threads), deadline)

    def _starts(self, thread: threading.Thread) -> bool:
        """Start a thread. Return False, and log it once, if that is impossible now."""
        try:
            thread.start()
        except RuntimeError as error:
            with self._lock:
                self._threads.remove(thread)
            if not self._is_short:
                self._is_short = True
                logger.error("%s: %s; it is tried again", thread.name, error)
            return False
        self._is_short = False
        return True

    def _remember(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.append(thread)
            if len(self._threads) > self._most:
                # Only once their number has doubled: each start would walk over all otherwise.
                self._threads = [
                    one for one in self._threads if one.is_alive() or one.ident is None
                ]
                self._most = 2 * len(self._threads) + SLACK


def join_all(threads: Iterable[threading.Thread], deadline: float) -> list[threading.Thread]:
    """Wait for threads but this one, up to a time of `time.monotonic()`.

    Returns:
        Those that are still alive.
    """
    others = [thread for thread in threads if thread is not threading.current_thread()]
    for thread in others:
        _join(thread, deadline)
    return [thread for thread in others if thread.is_alive()]


def _join(thread: threading.Thread, deadline: float) -> None:
    while thread.ident is not None:
        left = deadline - monotonic()
        try:
            thread.join(max(0.0, left))
            return
        except RuntimeError:
            # It is being started at this moment.
            if left <= 0:
                return
            time.sleep(min(left, STARTING_SECONDS))
