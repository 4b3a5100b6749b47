"""The threads that callbacks run on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.waiting import eventually
from trigger_realtime_sync._dispatch import pool as pool_module
from trigger_realtime_sync._dispatch.pool import THREAD_NAME, WorkerPool


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool()
    pool.keep(True)
    yield pool
    pool.keep(False)
    assert pool.join(time.monotonic() + 5) == []


def names() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith(THREAD_NAME)]


def run_a_job(pool: WorkerPool) -> None:
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(5)


def test_a_blocking_job_delays_no_other(pool):
    """The pool grows by one thread for each job that blocks."""
    release = threading.Event()
    started = threading.Barrier(21)

    def block() -> None:
        started.wait(5)
        release.wait(5)

    for _ in range(20):
        pool.submit(block)
    started.wait(5)
    run_a_job(pool)
    release.set()


def test_a_timed_job_runs_when_it_is_due_though_others_block(pool):
    """One thread always waits for the next timed job."""
    release, done = threading.Event(), threading.Event()
    due = time.monotonic() + 0.05
    pool.submit_at(due, done.set)

    def block() -> None:
        release.wait(5)

    for _ in range(3):
        pool.submit(block)
    assert done.wait(5)
    assert time.monotonic() >= due
    release.set()


def test_timed_jobs_run_in_the_order_in_which_they_are_due(pool):
    """The order of submission does not matter."""
    ran: list[int] = []
    done = threading.Event()
    now = time.monotonic()
    pool.submit_at(now + 0.06, done.set)
    pool.submit_at(now + 0.05, lambda: ran.append(3))
    pool.submit_at(now + 0.02, lambda: ran.append(1))
    pool.submit_at(now + 0.04, lambda: ran.append(2))
    assert done.wait(5)
    assert ran == [1, 2, 3]


def test_idle_threads_leave_after_a_while(monkeypatch):
    """New ones are started when there is work again."""
    monkeypatch.setattr(pool_module, "LINGER_SECONDS", 0.01)
    pool = WorkerPool()
    pool.keep(True)
    for _ in range(3):
        run_a_job(pool)
        assert pool.join(time.monotonic() + 5) == []
    assert names() == []


def test_no_thread_lingers_when_there_is_no_subscription():
    """Idle threads leave at once, and timed jobs are dropped."""
    pool = WorkerPool()
    pool.keep(True)
    ran: list[int] = []
    pool.submit_at(time.monotonic() + 3600, lambda: ran.append(1))
    pool.keep(False)
    assert pool.join(time.monotonic() + 5) == []
    assert ran == []


def test_one_thread_is_enough_for_short_jobs(pool):
    """Jobs submitted one after the other run on the thread that ran the last one."""
    for _ in range(200):
        run_a_job(pool)
    assert len(names()) <= 2


def test_a_job_that_raises_does_not_end_its_thread(pool, caplog):
    """Its error is logged with a traceback."""

    def fail() -> None:
        threads.append(threading.current_thread())
        raise LookupError("oops")

    threads: list[threading.Thread] = []
    done = threading.Event()
    caplog.set_level(logging.ERROR, "trigger_realtime_sync")
    pool.submit(fail)
    eventually(lambda: "LookupError: oops" in caplog.text, "the error is not logged")
    pool.submit(lambda: (threads.append(threading.current_thread()), done.set())[1])
    assert done.wait(5)
    assert threads[0].is_alive()


def test_joining_is_bounded(pool):
    """A stuck job's thread is returned."""
    release = threading.Event()
    inside = threading.Event()

    def block() -> None:
        inside.set()
        release.wait(10)

    pool.submit(block)
    assert inside.wait(5)
    started = time.monotonic()
    stuck = pool.join(time.monotonic() + 0.05)
    assert time.monotonic() - started < 2
    assert len(stuck) == 1
    assert stuck[0].daemon
    release.set()
