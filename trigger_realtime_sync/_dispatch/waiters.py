"""What threads wait with, where a signal handler may raise at any moment: on the main thread.

`threading.Condition` does not survive that. Its `wait` is Python code that releases a lock and
takes it again, and an exception in between leaves the lock to nobody, or takes it from another
thread. Here nobody holds a lock while waiting: state is looked at before each wait, under its lock
for that moment alone.
"""

from __future__ import annotations

import queue
import weakref

from .._clock import at_a_time, monotonic


class Waiter:
    """What one thread waits with. What was notified since the last wait ends the next one at once.

    So nothing is missed by a thread that looks at the state after it has made this, and again
    after each wait.
    """

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """End the wait, or the next one. Takes no lock."""
        if self._rings.empty():
            self._rings.put(None)

    def wait(self, seconds: float | None) -> None:
        """Wait until there is a ring, for so many seconds at the most; None: without a bound.

        It may end earlier, and does on the main thread. Call it without a lock.
        """
        try:
            self._rings.get(timeout=at_a_time(seconds))
        except queue.Empty:
            pass


class Waiters:
    """The threads that wait for one thing. Takes no lock: each of its steps is atomic."""

    def __init__(self) -> None:
        # By reference: one that was interrupted leaves with its frame, however it was interrupted.
        self._waiting: set[weakref.ref[Waiter]] = set()

    def join(self) -> Waiter:
        """Return what this thread waits with, for as long as it is referenced."""
        waiter = Waiter()
        self._waiting.add(weakref.ref(waiter, self._waiting.discard))
        return waiter

    def notify(self) -> None:
        """Let all who wait look again. Call it after the state has changed."""
        if self._waiting:
            for reference in list(self._waiting):
                waiter = reference()
                if waiter is not None:
                    waiter.ring()


class Flag:
    """An event whose `set` may be interrupted: it is repeated then.

    Attributes:
        is_set: whether it was.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._waiters = Waiters()

    def set(self) -> None:
        """Let all who wait go on, now and later. Takes no lock."""
        self.is_set = True
        self._waiters.notify()

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, for so many seconds at the most. Return True if it is."""
        deadline = monotonic() + seconds
        waiter = self._waiters.join()
        while not self.is_set and (left := deadline - monotonic()) > 0:
            waiter.wait(left)
        return self.is_set
