"""What waits to be told to one subscriber: in order, one at a time, at most so often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from .pool import THREAD_NAME, WorkerPool

Deliver = Callable[[Any, Any], None]
Then = Callable[[], None]


class Mailbox:
    """The queue of one subscriber's news, and the turns in which it is delivered.

    News are kept by key: a newer item takes the place of the one that still waits under its key. A
    turn delivers all that waits, in the order in which the keys were first touched, on a thread of
    the pool. Turns begin at least `throttle` seconds apart, but for urgent items.

    Args:
        pool: lends the threads.
        deliver: called with key and item. It must not raise.
        throttle: seconds.
        name: of the thread, while it delivers.
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
        # Protects everything below; notified when a turn ends, or all is over.
        self._changed = threading.Condition(threading.Lock())
        self._waiting: dict[Any, Any] = {}
        self._urgent: set[Any] = set()
        self._next_turn = 0.0
        self._scheduled_for: float | None = None
        self._owner: int | None = None
        # Whether the rest of what this turn has taken was dropped.
        self._dropped = False
        self._closed = False
        self._then: Then | None = None

    @property
    def on_own_thread(self) -> bool:
        """Whether this is called from inside a delivery."""
        return self._owner == threading.get_ident()

    def post(self, key: Any, item: Any, *, urgent: bool = False) -> None:
        """Replaces what waits under the key. Never blocks."""
        self.post_all({key: item}, urgent={key} if urgent else ())

    def post_all(self, items: Mapping[Any, Any], urgent: Collection[Any]) -> None:
        """The same for many items by key, and the keys of the urgent ones: told in one turn."""
        with self._changed:
            if self._closed or self._then is not None or not items:
                return
            self._waiting.update(items)
            self._urgent.update(urgent)
            self._have_a_turn(now=bool(urgent))

    def finish(self, then: Then) -> None:
        """Delivers everything now, throttled or not, then calls `then` on the same thread.

        With nothing to deliver, it is called right here. Later news are dropped.
        """
        with self._changed:
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
        return self._closed

    def drop(self) -> None:
        """Drops what waits, in a turn under way too. Later news are delivered."""
        with self._changed:
            self._waiting.clear()
            self._urgent.clear()
            self._scheduled_for = None
            self._dropped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Drops everything. No delivery begins after this returned; one may be running."""
        with self._changed:
            self._closed = True
        self.drop()

    def wait_for_turn_to_end(self, deadline: float) -> None:
        """Waits, up to a time of `time.monotonic()`, while a delivery is running elsewhere."""
        if self.on_own_thread:
            return
        with self._changed:
            while self._owner is not None:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return

    def abandon(self) -> None:
        """In a forked child: everything is dropped, whatever state the locks were in."""
        self._changed = threading.Condition(threading.Lock())
        self._owner = None
        self.close()

    def _have_a_turn(self, *, now: bool) -> None:
        if self._owner is not None:
            return
        clock = time.monotonic()
        due = clock if now else max(clock, self._next_turn)
        if self._scheduled_for is not None and self._scheduled_for <= due:
            return
        self._scheduled_for = due
        if due <= clock:
            self._pool.submit(self._turn)
        else:
            self._pool.submit_at(due, self._turn)

    def _turn(self) -> None:
        with self._changed:
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
        """What this round delivers. None: the turn is over, and the next one arranged."""
        with self._changed:
            items = {} if self._closed else self._due_items()
            self._dropped = False
            self._changed.notify_all()
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
        now = time.monotonic()
        if now < self._next_turn and self._then is None:
            keys = [key for key in self._waiting if key in self._urgent]
            self._urgent.clear()
            return {key: self._waiting.pop(key) for key in keys}
        items, self._waiting = self._waiting, {}
        self._urgent.clear()
        if items:
            self._next_turn = now + self._throttle
        return items
