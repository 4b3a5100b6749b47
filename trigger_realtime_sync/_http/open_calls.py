"""The calls that a client is making, which its end ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Stoppable(Protocol):
    """A call that is being made."""

    def stop(self) -> None:
        """End it at once. Called from any thread."""


class OpenCalls:
    """All calls of one client. Safe from any thread."""

    def __init__(self, *, closed: bool = False) -> None:
        # Protects everything below.
        self._lock = threading.Lock()
        self._calls: set[Stoppable] = set()
        self._closed = closed

    @contextmanager
    def making(self, call: Stoppable) -> Iterator[None]:
        """Stop the call if `close` is called, or was called before."""
        with self._lock:
            self._calls.add(call)
            closed = self._closed
        if closed:
            call.stop()
        try:
            yield
        finally:
            with self._lock:
                self._calls.discard(call)

    def close(self) -> None:
        """Stop all calls, and those that are still to be made."""
        with self._lock:
            self._closed = True
            calls = list(self._calls)
        for call in calls:
            call.stop()
