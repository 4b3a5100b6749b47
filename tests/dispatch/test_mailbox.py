"""Order, throttle and coalescing, with a pool that the test drives by hand."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from trigger_realtime_sync._dispatch import mailbox as mailbox_module
from trigger_realtime_sync._dispatch.mailbox import Deliver, Mailbox


class HandPool:
    """Runs jobs when the test advances its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.jobs: list[tuple[float, Any]] = []

    def submit(self, job: Any) -> None:
        self.jobs.append((self.now, job))

    def submit_at(self, due: float, job: Any) -> None:
        self.jobs.append((due, job))

    def advance(self, seconds: float = 0.0) -> None:
        end = self.now + seconds
        while due := [one for one in self.jobs if one[0] <= end]:
            first = min(due, key=lambda one: one[0])
            self.jobs.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = end


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> HandPool:
    pool = HandPool()

    monkeypatch.setattr(mailbox_module, "monotonic", lambda: pool.now)
    return pool


class Recorder:
    """A mailbox and its deliveries, with the time of each."""

    def __init__(self, pool: Any, throttle: float = 0.0) -> None:
        self.items: list[tuple[float, Any, Any]] = []
        self.pool = pool
        self.on_delivery: Deliver = self.deliver
        self.box = Mailbox(pool, lambda key, item: self.on_delivery(key, item), throttle)

    def deliver(self, key: Any, item: Any) -> None:
        self.items.append((self.pool.now, key, item))

    @property
    def news(self) -> list[Any]:
        return [(key, item) for _, key, item in self.items]


def test_news_are_delivered_in_the_order_first_posted(pool):
    """A newer item replaces the one that still waits under its key."""
    recorder = Recorder(pool)
    for key, item in [("b", 1), ("a", 1), ("b", 2)]:
        recorder.box.post(key, item)
    pool.advance()
    assert recorder.news == [("b", 2), ("a", 1)]


def test_at_most_one_turn_each_interval(pool):
    """The first item is delivered at once, the last is never lost."""
    recorder = Recorder(pool, throttle=1.0)
    for step in range(25):
        recorder.box.post("a", step)
        pool.advance(0.1)
    pool.advance(5)
    assert [round(at - 100, 1) for at, _, _ in recorder.items] == [0.0, 1.0, 2.0, 3.0]
    assert [item for _, _, item in recorder.items] == [0, 10, 20, 24]


def test_a_silence_longer_than_the_interval_costs_nothing(pool):
    """The next item is delivered at once again."""
    recorder = Recorder(pool, throttle=1.0)
    recorder.box.post("a", 1)
    pool.advance(10)
    recorder.box.post("a", 2)
    pool.advance(0)
    assert [at for at, _, _ in recorder.items] == [100, 110]


def test_an_urgent_item_does_not_wait(pool):
    """Other items wait for the end of the interval."""
    recorder = Recorder(pool, throttle=1.0)
    recorder.box.post("a", 1)
    pool.advance(0.1)
    recorder.box.post("b", 1)
    recorder.box.post("c", 1, urgent=True)
    recorder.box.post("d", 1, urgent=True)
    pool.advance(0.1)
    assert recorder.news == [("a", 1), ("c", 1), ("d", 1)]
    pool.advance(2)
    assert [(round(at - 100, 1), key) for at, key, _ in recorder.items][3:] == [(1.0, "b")]


def test_finishing_delivers_everything_at_once(pool):
    """It ignores the throttle, then calls back; later news are dropped."""
    recorder = Recorder(pool, throttle=60.0)
    recorder.box.post("a", 1)
    pool.advance(1)
    recorder.box.post("a", 2)
    recorder.box.finish(lambda: recorder.items.append((pool.now, "then", None)))
    recorder.box.post("a", 3)
    pool.advance(120)
    assert recorder.news == [("a", 1), ("a", 2), ("then", None)]


def test_finishing_with_nothing_to_deliver(pool):
    """It calls back on the calling thread, once."""
    recorder = Recorder(pool)
    done: list[int] = []
    recorder.box.finish(lambda: done.append(1))
    recorder.box.finish(lambda: done.append(2))
    assert done == [1]


def test_finishing_from_inside_a_delivery(pool):
    """News posted before are delivered first."""
    recorder = Recorder(pool)

    def deliver(key: Any, item: Any) -> None:
        recorder.deliver(key, item)
        if item == 1:
            recorder.box.post("b", 2)
            recorder.box.finish(lambda: recorder.deliver("then", None))

    recorder.on_delivery = deliver
    recorder.box.post("a", 1)
    pool.advance()
    assert recorder.news == [("a", 1), ("b", 2), ("then", None)]


def test_nothing_is_delivered_after_close(pool):
    """Neither waiting nor later news are delivered, and `then` is never called."""
    recorder = Recorder(pool, throttle=1.0)
    recorder.box.post("a", 1)
    pool.advance(0.1)
    recorder.box.post("a", 2)
    recorder.box.close()
    recorder.box.post("a", 3)
    recorder.box.finish(lambda: recorder.deliver("then", None))
    pool.advance(10)
    assert recorder.news == [("a", 1)]


def test_closing_in_the_middle_of_a_turn(pool):
    """The rest of the turn is dropped."""
    recorder = Recorder(pool)

    def deliver(key: Any, item: Any) -> None:
        recorder.deliver(key, item)
        recorder.box.close()

    recorder.on_delivery = deliver
    recorder.box.post("a", 1)
    recorder.box.post("b", 1)
    pool.advance()
    assert recorder.news == [("a", 1)]


def test_dropping_waiting_news(pool):
    """Later news are delivered: the mailbox stays open."""
    recorder = Recorder(pool, throttle=1.0)
    recorder.box.post("a", 1)
    pool.advance(0.1)
    recorder.box.post("a", 2)
    recorder.box.drop()
    pool.advance(10)
    recorder.box.post("a", 3)
    pool.advance(0)
    assert recorder.news == [("a", 1), ("a", 3)]


def test_news_are_coalesced_during_a_slow_delivery(pool):
    """Even without a throttle the next turn delivers only the latest."""
    recorder = Recorder(pool)

    def deliver(key: Any, item: Any) -> None:
        recorder.deliver(key, item)
        if item == 0:
            for step in range(1, 1000):
                recorder.box.post("a", step)
            assert len(recorder.box._waiting) == 1

    recorder.on_delivery = deliver
    recorder.box.post("a", 0)
    pool.advance()
    assert recorder.news == [("a", 0), ("a", 999)]


def test_deliveries_never_overlap(pool):
    """The number of jobs in the pool, and their threads, make no difference."""
    recorder = Recorder(pool)
    inside, release = threading.Event(), threading.Event()
    running: list[int] = []
    most: list[int] = []

    def deliver(key: Any, item: Any) -> None:
        running.append(1)
        most.append(len(running))
        inside.set()
        release.wait(5)
        running.pop()

    recorder.on_delivery = deliver
    recorder.box.post("a", 1)
    first = threading.Thread(target=pool.advance)
    first.start()
    assert inside.wait(5)
    recorder.box.post("b", 1, urgent=True)
    recorder.box._turn()
    release.set()
    first.join(5)
    pool.advance()
    assert most == [1, 1]


def test_waiting_for_a_running_delivery_is_bounded(pool):
    """A stuck callback delays the thread that cancels for a moment only."""
    recorder = Recorder(pool)
    inside, release = threading.Event(), threading.Event()

    def deliver(key: Any, item: Any) -> None:
        inside.set()
        release.wait(5)

    recorder.on_delivery = deliver
    recorder.box.post("a", 1)
    runner = threading.Thread(target=pool.advance)
    runner.start()
    assert inside.wait(5)
    recorder.box.close()
    started = time.perf_counter()
    pool.now += 1  # the deadline below has passed by the mailbox's clock
    recorder.box.wait_for_turn_to_end(pool.now - 0.5)
    assert time.perf_counter() - started < 1
    release.set()
    runner.join(5)


def test_a_mailbox_knows_its_own_thread(pool):
    """Waiting inside a callback can then be rejected; other threads may wait."""
    recorder = Recorder(pool)
    seen: list[bool] = []
    recorder.on_delivery = lambda key, item: seen.append(recorder.box.on_own_thread)
    recorder.box.post("a", 1)
    pool.advance()
    assert seen == [True]
    assert not recorder.box.on_own_thread
