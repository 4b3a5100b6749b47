"""What must not be done where it is asked for, is done on a thread that already runs.

A signal handler, and a `__del__` that the collector calls, may have interrupted a thread that holds
any lock, of ours or of `threading` itself. They hand over what takes locks: `SimpleQueue.put` may
interrupt itself.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable

from .._clock import monotonic

logger = logging.getLogger("trigger_realtime_sync")

Job = Callable[[], None]

THREAD_NAME = "trigger-realtime janitor"
# Seconds after which one that waits for a job looks whether the thread has ended.
SLICE_SECONDS = 0.05
# Seconds until another thread that could not be started is tried again.
AGAIN_SECONDS = 0.25
# Seconds for which it is tried to start the thread.
START_SECONDS = 1.0


def may_be_interrupted() -> bool:
    """Return True on the main thread, where an exception may come out of a signal handler.

    `Thread.start` does not survive one: it may say that it failed when the thread runs.
    """
    return threading.current_thread() is threading.main_thread()


class Janitor:
    """Runs jobs in order, on a thread of its own.

    Args:
        lock: held while the thread is started, and while it decides to end.
        is_needed: whether the thread must stay. Called with the lock, and before that without.
    """

    def __init__(self, lock: threading.RLock, is_needed: Callable[[], bool]) -> None:
        self._lock = lock
        self._is_needed = is_needed
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        # What is due later (by `time.monotonic()`).
        self._later: list[tuple[float, int, Job]] = []
        self._sequence = itertools.count()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Have the thread running. Call it with the lock.

        Raises:
            RuntimeError: it can't be started, for a second.
        """
        give_up_at = monotonic() + START_SECONDS
        while self.thread is None:
            try:
                self._start()
            except RuntimeError:
                # The process may be at its limit of threads, for a moment.
                if monotonic() > give_up_at:
                    raise
                time.sleep(SLICE_SECONDS)

    def _start(self) -> None:
        self.thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
        try:
            self.thread.start()
        except BaseException as error:
            # An exception out of a signal handler: the thread may run all the same, and must end.
            self.thread = None
            self.wake()
            if isinstance(error, KeyError) and error.__context__ is not None:
                # What `start` trips over when it cleans up.
                raise error.__context__ from None
            raise

    def put(self, job: Job) -> None:
        """Have a job done soon, if the thread runs. Takes no lock, and never waits."""
        self._jobs.put(job)

    def put_later(self, seconds: float, job: Job) -> None:
        """Have a job done after some time, unless the thread has ended by then."""
        due = monotonic() + seconds
        self.put(lambda: heapq.heappush(self._later, (due, next(self._sequence), job)))

    def do(self, job: Job, seconds: float) -> None:
        """Have a job done, and wait until it is, for so long at the most.

        Does nothing where the thread has ended: then nothing is left to be done.
        """
        if self.thread is None:
            return
        done = threading.Lock()
        done.acquire()
        self.put(lambda: _release_after(job, done))
        deadline = monotonic() + seconds
        while self.thread is not None and (left := deadline - monotonic()) > 0:
            if done.acquire(timeout=min(left, SLICE_SECONDS)):
                return

    def wake(self) -> None:
        """Let the thread see whether it is still needed."""
        self.put(_nothing)

    def _work(self) -> None:
        while True:
            _run(self._next())
            if self._jobs.empty() and self._may_end():
                break
        # What came while it decided.
        with contextlib.suppress(queue.Empty):
            while True:
                _run(self._jobs.get_nowait())
        self.wake()

    def _next(self) -> Job:
        while True:
            left = self._later[0][0] - monotonic() if self._later else None
            if left is not None and left <= 0:
                return heapq.heappop(self._later)[2]
            try:
                return self._jobs.get(timeout=left)
            except queue.Empty:
                pass

    def _may_end(self) -> bool:
        if self.thread is not threading.current_thread():
            # The start of this one was taken for a failure, and there is another.
            return True
        if self._is_needed():
            return False
        with self._lock:
            if self._is_needed():
                return False
            self.thread = None
            self._later.clear()
            return True


def _nothing() -> None:
    pass


def _run(job: Job) -> None:
    try:
        job()
    except Exception:
        logger.exception("a job of the janitor failed")


def _release_after(job: Job, done: threading.Lock) -> None:
    try:
        job()
    finally:
        done.release()
