"""Waiting for another thread that is getting a new token: bounded, and ended by whoever ends the
request."""

from __future__ import annotations

import threading

import attrs

from .._clock import monotonic
from ..errors import ApiConnectionError
from .bell import Bell
from .call import Interrupted

# Seconds after which a waiting thread looks again, though nobody rang: a signal handler's exception
# may have ended the thread that should have.
UNTOLD_SECONDS = 1.0


class Waiter:
    """One thread that may wait for a renewal.

    Args:
        ends_at: a moment of `time.monotonic()` until which it waits; None for no bound.
    """

    def __init__(self, ends_at: float | None = None) -> None:
        self._ends_at = ends_at
        self._bell = Bell()
        self._stopped = False

    def stop(self) -> None:
        """End the wait, and refuse all later ones. Safe from any thread, and in a signal
        handler."""
        self._stopped = True
        self._bell.ring()

    def wake(self) -> None:
        """Let it look whether there is a token now. Safe from any thread."""
        self._bell.ring()

    def wait_for(self, renewal: Renewal) -> None:
        """Return when a renewal is over.

        Raises:
            ApiConnectionError: the time is up.
            Interrupted: `stop` was called.
        """
        renewal.waiters.append(self)
        while not renewal.is_over:
            left = UNTOLD_SECONDS
            if self._ends_at is not None:
                left = min(left, self._ends_at - monotonic())
            if self._stopped:
                raise Interrupted
            if left <= 0:
                raise ApiConnectionError("another thread still waits for access_token")
            self._bell.wait(left)
            self._bell.clear()


@attrs.define(eq=False)
class Renewal:
    """One thread's question for a token in place of a refused one.

    Attributes:
        thread: its identity.
        waiters: the threads that were refused the same token.
        is_over: whether the function has returned, or raised.
    """

    thread: int = attrs.field(factory=threading.get_ident)
    waiters: list[Waiter] = attrs.field(factory=list)
    is_over: bool = False

    def end(self) -> None:
        """Wake all who wait."""
        self.is_over = True
        for waiter in self.waiters:
            waiter.wake()
