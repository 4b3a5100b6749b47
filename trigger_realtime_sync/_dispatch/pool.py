"""The threads that callbacks run on: one for each running callback, none when none runs."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import deque
from contextvars import Context
from functools import partial

from .._clock import monotonic
from .janitor import AGAIN_SECONDS, Janitor, Job, may_be_interrupted
from .threads import join_all

logger = logging.getLogger("trigger_realtime_sync")


THREAD_NAME = "trigger-realtime-callbacks"
# How many seconds a thread without work stays, so that the next callback need not start one.
LINGER_SECONDS = 2.0


class WorkerPool:
    """Runs jobs now or later. A blocking job delays no other: the pool grows.

    As long as jobs are queued, a thread waits for them: a thread that takes a job while others are
    queued and no other thread waits starts a successor first.

    Args:
        janitor: starts the threads that can't be started where they are needed.
    """

    def __init__(self, janitor: Janitor | None = None) -> None:
        self._janitor = janitor
        # Protects everything below. Held for moments only, never while a job runs.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ready: deque[Job] = deque()
        self._timed: list[tuple[float, int, Job]] = []
        self._sequence = itertools.count()
        self._threads: set[threading.Thread] = set()
        self._names = itertools.count(1)
        self._waiting = 0
        self._starting: set[threading.Thread] = set()
        self._resident = False
        self._is_short = False

    def submit(self, job: Job) -> None:
        """Run the job as soon as possible."""
        if self._janitor is not None and may_be_interrupted():
            # `Condition.notify` does not survive an exception either.
            self._janitor.put(partial(self._submit, job))
        else:
            self._submit(job)

    def _submit(self, job: Job) -> None:
        with self._lock:
            self._ready.append(job)
            self._have_someone_take_it()

    def submit_at(self, due: float, job: Job) -> None:
        """Run the job when it is due (by `time.monotonic()`), or soon after."""
        if self._janitor is not None and may_be_interrupted():
            self._janitor.put(partial(self._submit_at, due, job))
        else:
            self._submit_at(due, job)

    def _submit_at(self, due: float, job: Job) -> None:
        with self._lock:
            heapq.heappush(self._timed, (due, next(self._sequence), job))
            self._have_someone_take_it()

    def keep(self, resident: bool) -> None:
        """Let idle threads stay for a while, or end them now.

        Ending them drops the timed jobs, which belong to subscribers that are gone.
        """
        with self._lock:
            self._resident = resident
            if not resident:
                self._timed.clear()
                self._changed.notify_all()

    def join(self, deadline: float) -> list[threading.Thread]:
        """Wait until the threads have ended, or until the deadline (by `time.monotonic()`).

        The calling thread is not waited for. Takes no lock.

        Returns:
            The threads that are still in a callback.
        """
        return join_all(self._threads | self._starting, deadline)

    def abandon(self) -> None:
        """Drop all jobs in a forked child, where a missing thread may hold the lock.

        If the thread that forked is one of the pool's, it ends after its callback.
        """
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ready.clear()
        self.keep(False)

    def _have_someone_take_it(self) -> None:
        if self._waiting:
            self._changed.notify()
        elif not self._starting:
            self._start_thread()

    def _start_thread(self) -> None:
        name = f"{THREAD_NAME}-{next(self._names)}"
        # In an empty context: callbacks of all subscriptions run on it, not only of this caller's.
        thread = threading.Thread(target=Context().run, args=(self._work,), name=name, daemon=True)
        self._starting.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            self._starting.discard(thread)
            if not self._is_short:
                self._is_short = True
                logger.error("no thread for callbacks: %s; it is tried again", error)
            if self._janitor is not None:
                self._janitor.put_later(AGAIN_SECONDS, self._have_a_thread)
        else:
            self._is_short = False

    def _have_a_thread(self) -> None:
        with self._lock:
            if self._ready or self._timed:
                self._have_someone_take_it()

    def _work(self) -> None:
        with self._lock:
            self._starting.discard(threading.current_thread())
            self._threads.add(threading.current_thread())
        try:
            while (job := self._next_job()) is not None:
                _run(job)
                del job
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _next_job(self) -> Job | None:
        """Wait for the next job and return it, or None when the thread should end."""
        leave_at = monotonic() + LINGER_SECONDS
        with self._lock:
            while True:
                job = self._take()
                if job is not None:
                    if (self._ready or self._timed) and not self._waiting and not self._starting:
                        self._start_thread()
                    return job
                now = monotonic()
                idle = not self._resident or now >= leave_at
                if idle and (not self._timed or self._waiting):
                    # The notification of a timed job may have reached this thread: pass it on.
                    if self._timed:
                        self._changed.notify()
                    return None
                until = self._timed[0][0] if self._timed else leave_at
                self._waiting += 1
                try:
                    self._changed.wait(max(0.0, until - now))
                finally:
                    self._waiting -= 1

    def _take(self) -> Job | None:
        if self._timed and self._timed[0][0] <= monotonic():
            return heapq.heappop(self._timed)[2]
        return self._ready.popleft() if self._ready else None


def _run(job: Job) -> None:
    try:
        job()
    except Exception:
        logger.exception("a job of the callback threads failed")
