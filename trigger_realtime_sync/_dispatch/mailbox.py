"""The news for one subscriber: delivered in order, one at a time, at a limited rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from .._clock import monotonic
from .pool import THREAD_NAME, WorkerPool

# Seconds between two looks at a delivery that is waited for.
LOOK_SECONDS = 0.001

Deliver = Callable[[Any, Any], None]
Then = Callable[[], None]


class Mailbox:
    """A queue of one subscriber's news, delivered in turns.

    News are kept by key: a newer item replaces the one that still waits under its key. A turn
    delivers everything that waits, in the order in which the keys were first posted, on a thread of
    the pool. Turns begin at least `throttle` seconds apart, except for urgent items.

    Args:
        pool: the threads that deliver.
        deliver: called with key and item. It must not raise.
        throttle: seconds.
        name: returns the name that a thread has while it delivers.
    """

    def __init__(
        self,
        pool: WorkerPool,
        deliver: Deliver,
        throttle: float,
        name: Callable[[], str] = lambda: THREAD_NAME,
    ) -> None:
        self._name = name
        self._pool = pool
        self._deliver = deliver
        self._throttle = throttle
        # Protects everything below. But `_owner` and `_closed` are read without it, and `_closed`,
        # which never becomes False again, is set without it.
        self._lock = threading.Lock()
        self._waiting: dict[Any, Any] = {}
        self._urgent: set[Any] = set()
        self._next_turn = 0.0
        self._scheduled_for: float | None = None
        self._owner: int | None = None
        # Whether the items that this turn has taken but not delivered yet were dropped.
        self._dropped = False
        self._closed = False
        self._then: Then | None = None

    @property
    def on_own_thread(self) -> bool:
        """Whether the calling thread is inside a delivery of this mailbox."""
        return self._owner == threading.get_ident()

    def post(self, key: Any, item: Any, *, urgent: bool = False) -> None:
        """Post an item, replacing the one that waits under the key. Never block."""
        self.post_all({key: item}, urgent={key} if urgent else ())

    def post_all(self, items: Mapping[Any, Any], urgent: Collection[Any]) -> None:
        """Post items by key, to be delivered in one turn. `urgent`: the keys of urgent ones."""
        with self._lock:
            if self._closed or self._then is not None or not items:
                return
            self._waiting.update(items)
            self._urgent.update(urgent)
            self._have_a_turn(now=bool(urgent))

    def finish(self, then: Then) -> None:
        """Deliver everything now, throttled or not, then call `then` on the same thread.

        With nothing to deliver, call `then` on the calling thread. Later news are dropped.
        """
        with self._lock:
            if self._closed or self._then is not None:
                return
            self._then = then
            if self._waiting or self._owner is not None:
                self._have_a_turn(now=True)
                return
            self._closed = True
        then()

    @property
    def closed(self) -> bool:
        """Whether no further delivery begins."""
        return self._closed

    def drop(self) -> None:
        """Drop what waits, also in a turn under way. Later news are delivered."""
        with self._lock:
            self._waiting.clear()
            self._urgent.clear()
            self._scheduled_for = None
            self._dropped = True

    def stop(self) -> None:
        """Deliver nothing more. Takes no lock. One delivery may be running."""
        self._closed = True

    def close(self) -> None:
        """Drop everything. No delivery begins after this returned; one may be running."""
        self.stop()
        self.drop()

    def wait_for_turn_to_end(self, deadline: float) -> None:
        """Wait until no other thread delivers, or until the deadline (by `time.monotonic()`).

        Takes no lock.
        """
        while self._owner is not None and not self.on_own_thread:
            left = deadline - monotonic()
            if left <= 0:
                return
            time.sleep(min(left, LOOK_SECONDS))

    def abandon(self) -> None:
        """Drop everything in a forked child, whatever state the lock was in."""
        self._lock = threading.Lock()
        self._owner = None
        self.close()

    def _have_a_turn(self, *, now: bool) -> None:
        if self._owner is not None:
            return
        clock = monotonic()
        due = clock if now else max(clock, self._next_turn)
        if self._scheduled_for is not None and self._scheduled_for <= due:
            return
        if due <= clock:
            self._pool.submit(self._turn)
        else:
            self._pool.submit_at(due, self._turn)
        # Not before: whoever is interrupted in between leaves no mailbox that counts on a turn.
        self._scheduled_for = due

    def _turn(self) -> None:
        with self._lock:
            if self._owner is not None or self._closed:
                return
            self._owner = threading.get_ident()
            self._scheduled_for = None
        thread = threading.current_thread()
        before, thread.name = thread.name, self._name()
        try:
            self._deliver_all()
        finally:
            thread.name = before

    def _deliver_all(self) -> None:
        while (items := self._take()) is not None:
            for key, item in items.items():
                if self._closed or self._dropped:
                    break
                self._deliver(key, item)

    def _take(self) -> dict[Any, Any] | None:
        """Return the items to deliver next. End the turn and return None if there are none."""
        with self._lock:
            items = {} if self._closed else self._due_items()
            self._dropped = False
            if items:
                return items
            self._owner = None
            if self._closed:
                return None
            if self._then is None:
                if self._waiting:
                    self._have_a_turn(now=False)
                return None
            self._closed = True
        self._then()
        return None

    def _due_items(self) -> dict[Any, Any]:
        now = monotonic()
        if now < self._next_turn and self._then is None:
            keys = [key for key in self._waiting if key in self._urgent]
            self._urgent.clear()
            return {key: self._waiting.pop(key) for key in keys}
        items, self._waiting = self._waiting, {}
        self._urgent.clear()
        if items:
            self._next_turn = now + self._throttle
        return items
