"""The fetches of stored packets that are under way: what ends the client ends them too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


class Fetch(Protocol):
    def stop(self) -> None:
        """Cut it off, whatever it is blocked on. Safe from any thread."""


# Of all clients: one that is read by may be garbage already, and the process ends.
_everywhere: list[Fetch] = []


def stop_all() -> None:
    """Cut off the fetches of all clients. Safe from any thread."""
    for fetch in list(_everywhere):
        fetch.stop()


class Fetches:
    """The fetches of one client, each on the thread of whoever reads a value.

    Attributes:
        stopped: whether the client was closed. What is read later is fetched all the same.
    """

    def __init__(self) -> None:
        self.stopped = False
        # Adding and removing are atomic: no lock is needed.
        self._running: list[Fetch] = []

    @contextmanager
    def running(self, fetch: Fetch) -> Iterator[None]:
        """Let `stop` cut off this fetch within the block."""
        for running in (self._running, _everywhere):
            running.append(fetch)
        try:
            yield
        finally:
            for running in (self._running, _everywhere):
                with suppress(ValueError):
                    running.remove(fetch)

    def stop(self) -> None:
        """Cut off all that are under way. Safe from any thread."""
        self.stopped = True
        for fetch in list(self._running):
            fetch.stop()
