"""Waiting without a lock, so that an exception out of a signal handler leaves nothing behind."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from tests.support.waiting import eventually
from trigger_realtime_sync._dispatch.waiters import Flag, Waiters
from trigger_realtime_sync._http.bell import Bell


class Raised(Exception):
    """What a signal handler raises."""


@pytest.fixture
def waiters() -> Waiters:
    return Waiters()


def test_a_notification_ends_the_waits_of_all(waiters):
    """Of every thread that waits at this moment."""
    woken: list[int] = []
    looking = [threading.Event() for _ in range(3)]

    def wait(number: int) -> None:
        waiter = waiters.join()
        looking[number].set()
        waiter.wait(None)
        woken.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    assert all(event.wait(5) for event in looking)
    assert woken == []
    waiters.notify()
    for thread in threads:
        thread.join(5)
    assert sorted(woken) == [0, 1, 2]


def test_what_was_notified_before_the_wait_ends_it(waiters):
    """Whoever joins, looks, and then waits misses nothing."""
    waiter = waiters.join()
    waiters.notify()
    waiters.notify()
    started = time.monotonic()
    waiter.wait(10)
    assert time.monotonic() - started < 5
    # But two that came in between are one.
    started = time.monotonic()
    waiter.wait(0.05)
    assert time.monotonic() - started >= 0.05


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_is_left(waiters, seconds):
    """A wait whose time is up does not block, nor fail."""
    waiters.join().wait(seconds)


def test_who_waits_no_more_is_forgotten(waiters):
    """However it left."""
    waiter = waiters.join()
    assert waiters._waiting
    del waiter
    assert not waiters._waiting
    waiters.notify()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_an_exception_out_of_a_handler_ends_a_wait(waiters):
    """And leaves nothing: neither a lock nor one that waits."""

    def fail(*_: object) -> None:
        raise Raised

    before = signal.signal(signal.SIGALRM, fail)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Raised):
            waiters.join().wait(10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    eventually(lambda: not waiters._waiting)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals of threads")
@pytest.mark.parametrize(
    "wait",
    [lambda seconds: Flag().wait(seconds), lambda seconds: Bell().wait(seconds)],
    ids=["flag", "bell"],
)
def test_a_signal_that_ends_no_wait_is_handled_soon(wait):
    """One that another thread receives, or that comes just before the wait begins: nothing wakes
    the main thread, on which its handler runs."""

    def fail(*_: object) -> None:
        raise Raised

    waiting = threading.Event()

    def receive() -> None:
        assert waiting.wait(10)
        # Sooner it would show nothing.
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

    def wait_long() -> None:
        waiting.set()
        wait(8)

    receiver = threading.Thread(target=receive)
    receiver.start()
    before = signal.signal(signal.SIGUSR1, fail)
    try:
        started = time.monotonic()
        with pytest.raises(Raised):
            wait_long()
        assert time.monotonic() - started < 6
    finally:
        receiver.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_flag():
    """Who waits for it goes on once it is set, and whoever waits later."""
    flag = Flag()
    assert not flag.wait(0.01)
    threading.Timer(0.02, flag.set).start()
    assert flag.wait(10)
    assert flag.wait(0)
