"""The calls that a client is making, which its end ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


class Stoppable(Protocol):
    """A call that is being made."""

    def stop(self) -> None:
        """End it at once. Called from any thread."""


class OpenCalls:
    """All calls of one client, each on the thread of whoever makes it, or some of them, as one of
    its calls. Safe from any thread.

    Args:
        when_over: called at the end of each call that `close` has stopped, on its thread.
    """

    def __init__(self, when_over: Callable[[], None] = lambda: None) -> None:
        self._when_over = when_over
        self._closed = False
        # Adding and removing are atomic: no lock is needed, which a signal handler could not take.
        self._calls: list[Stoppable] = []

    @contextmanager
    def making(self, call: Stoppable) -> Iterator[None]:
        """Stop the call if `close` is called, or was called before."""
        try:
            self._calls.append(call)
            if self._closed:
                call.stop()
            yield
        finally:
            with suppress(ValueError):
                self._calls.remove(call)
            if self._closed:
                self._when_over()

    def close(self) -> None:
        """Stop all calls, and those that are still to be made. Takes no lock."""
        self._closed = True
        for call in list(self._calls):
            call.stop()

    def stop(self) -> None:
        """As `close`."""
        self.close()
