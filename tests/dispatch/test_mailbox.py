"""Order, throttle and coalescing, with a pool that the test drives by hand."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from trigger_realtime_sync._dispatch import mailbox as mailbox_module
from trigger_realtime_sync._dispatch.mailbox import Mailbox


class HandPool:
    """Runs jobs when told to, at a time that the test sets."""

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

    class Clock:
        monotonic = staticmethod(lambda: pool.now)

    monkeypatch.setattr(mailbox_module, "time", Clock)
    return pool


class Told:
    """A mailbox and what it delivered, with the time of each delivery."""

    def __init__(self, pool: HandPool, throttle: float = 0.0) -> None:
        self.items: list[tuple[float, Any, Any]] = []
        self.pool = pool
        self.box = Mailbox(pool, self.deliver, throttle)  # type: ignore[arg-type]

    def deliver(self, key: Any, item: Any) -> None:
        self.items.append((self.pool.now, key, item))

    @property
    def plain(self) -> list[Any]:
        return [(key, item) for _, key, item in self.items]


def test_news_are_delivered_in_the_order_first_touched(pool: HandPool) -> None:
    """A newer item takes the place of the one that still waits under its key."""
    told = Told(pool)
    for key, item in [("b", 1), ("a", 1), ("b", 2)]:
        told.box.post(key, item)
    pool.advance()
    assert told.plain == [("b", 2), ("a", 1)]


def test_at_most_one_round_each_interval(pool: HandPool) -> None:
    """The first at once, the last never lost."""
    told = Told(pool, throttle=1.0)
    for step in range(25):
        told.box.post("a", step)
        pool.advance(0.1)
    pool.advance(5)
    assert [round(at - 100, 1) for at, _, _ in told.items] == [0.0, 1.0, 2.0, 3.0]
    assert [item for _, _, item in told.items] == [0, 10, 20, 24]


def test_a_silence_longer_than_the_interval_costs_nothing(pool: HandPool) -> None:
    """The next item is delivered at once again."""
    told = Told(pool, throttle=1.0)
    told.box.post("a", 1)
    pool.advance(10)
    told.box.post("a", 2)
    pool.advance(0)
    assert [at for at, _, _ in told.items] == [100, 110]


def test_an_urgent_item_does_not_wait(pool: HandPool) -> None:
    """What is not urgent waits on, and the interval is kept for it."""
    told = Told(pool, throttle=1.0)
    told.box.post("a", 1)
    pool.advance(0.1)
    told.box.post("b", 1)
    told.box.post("c", 1, urgent=True)
    told.box.post("d", 1, urgent=True)
    pool.advance(0.1)
    assert told.plain == [("a", 1), ("c", 1), ("d", 1)]
    pool.advance(2)
    assert [(round(at - 100, 1), key) for at, key, _ in told.items][3:] == [(1.0, "b")]


def test_finishing_delivers_everything_at_once(pool: HandPool) -> None:
    """Throttled or not, and then calls back; later news are dropped."""
    told = Told(pool, throttle=60.0)
    told.box.post("a", 1)
    pool.advance(1)
    told.box.post("a", 2)
    told.box.finish(lambda: told.items.append((pool.now, "then", None)))
    told.box.post("a", 3)
    pool.advance(120)
    assert told.plain == [("a", 1), ("a", 2), ("then", None)]


def test_finishing_with_nothing_to_deliver(pool: HandPool) -> None:
    """Calls back right there, once."""
    told = Told(pool)
    done: list[int] = []
    told.box.finish(lambda: done.append(1))
    told.box.finish(lambda: done.append(2))
    assert done == [1]


def test_finishing_from_inside_a_delivery(pool: HandPool) -> None:
    """What was posted before is delivered first."""
    told = Told(pool)

    def deliver(key: Any, item: Any) -> None:
        told.deliver(key, item)
        if item == 1:
            told.box.post("b", 2)
            told.box.finish(lambda: told.deliver("then", None))

    told.box._deliver = deliver
    told.box.post("a", 1)
    pool.advance()
    assert told.plain == [("a", 1), ("b", 2), ("then", None)]


def test_nothing_is_delivered_after_close(pool: HandPool) -> None:
    """Not what waits, not what is posted, and `then` is never called."""
    told = Told(pool, throttle=1.0)
    told.box.post("a", 1)
    pool.advance(0.1)
    told.box.post("a", 2)
    told.box.close()
    told.box.post("a", 3)
    told.box.finish(lambda: told.deliver("then", None))
    pool.advance(10)
    assert told.plain == [("a", 1)]


def test_closing_in_the_middle_of_a_round(pool: HandPool) -> None:
    """The rest of the round is dropped."""
    told = Told(pool)

    def deliver(key: Any, item: Any) -> None:
        told.deliver(key, item)
        told.box.close()

    told.box._deliver = deliver
    told.box.post("a", 1)
    told.box.post("b", 1)
    pool.advance()
    assert told.plain == [("a", 1)]


def test_dropping_what_waits(pool: HandPool) -> None:
    """Later news are delivered: a pause is no end."""
    told = Told(pool, throttle=1.0)
    told.box.post("a", 1)
    pool.advance(0.1)
    told.box.post("a", 2)
    told.box.drop()
    pool.advance(10)
    told.box.post("a", 3)
    pool.advance(0)
    assert told.plain == [("a", 1), ("a", 3)]


def test_a_slow_delivery_coalesces_what_comes_meanwhile(pool: HandPool) -> None:
    """With no throttle too: one round is under way, the next has the latest."""
    told = Told(pool)

    def deliver(key: Any, item: Any) -> None:
        told.deliver(key, item)
        if item == 0:
            for step in range(1, 1000):
                told.box.post("a", step)
            assert len(told.box._waiting) == 1

    told.box._deliver = deliver
    told.box.post("a", 0)
    pool.advance()
    assert told.plain == [("a", 0), ("a", 999)]


def test_deliveries_never_overlap(pool: HandPool) -> None:
    """However many jobs the pool has for it, and on whatever threads."""
    told = Told(pool)
    inside, release = threading.Event(), threading.Event()
    running: list[int] = []
    most: list[int] = []

    def deliver(key: Any, item: Any) -> None:
        running.append(1)
        most.append(len(running))
        inside.set()
        release.wait(5)
        running.pop()

    told.box._deliver = deliver
    told.box.post("a", 1)
    first = threading.Thread(target=pool.advance)
    first.start()
    assert inside.wait(5)
    told.box.post("b", 1, urgent=True)
    told.box._turn()
    release.set()
    first.join(5)
    pool.advance()
    assert most == [1, 1]


def test_waiting_for_a_running_delivery_is_bounded(pool: HandPool) -> None:
    """A stuck callback holds the one that cancels up for a moment only."""
    told = Told(pool)
    inside, release = threading.Event(), threading.Event()

    def deliver(key: Any, item: Any) -> None:
        inside.set()
        release.wait(5)

    told.box._deliver = deliver
    told.box.post("a", 1)
    runner = threading.Thread(target=pool.advance)
    runner.start()
    assert inside.wait(5)
    told.box.close()
    started = time.perf_counter()
    pool.now += 1  # the deadline below has passed by the mailbox's clock
    told.box.wait_for_turn_to_end(pool.now - 0.5)
    assert time.perf_counter() - started < 1
    release.set()
    runner.join(5)


def test_a_delivery_knows_that_it_is_one(pool: HandPool) -> None:
    """So that waiting inside a callback can be refused; other threads may wait."""
    told = Told(pool)
    seen: list[bool] = []
    told.box._deliver = lambda key, item: seen.append(told.box.on_own_thread)
    told.box.post("a", 1)
    pool.advance()
    assert seen == [True]
    assert not told.box.on_own_thread
