"""The requesters of one channel: made for its threads, and stopped all together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .._http.requester import Origin, Requester


class Requesters:
    """Makes requesters, on any thread.

    Args:
        origin: where to ask, and with which token.
        label: names the channel in errors and logs.

    Attributes:
        contact: when the server last answered anything (epoch seconds), or None. A plain attribute:
            a forked child reads it, whatever lock its parent held.
    """

    def __init__(self, origin: Origin, label: str) -> None:
        self.origin = origin
        self.contact: float | None = None
        self._label = label
        self._stopped = False
        # Adding and removing are atomic: no lock is needed.
        self._made: list[Requester] = []

    def make(
        self, on_trouble: Callable[[], None] = lambda: None, patience: float | None = None
    ) -> Requester:
        """Return a new requester, which is stopped at once if the others were.

        Args:
            on_trouble: called before each wait for another attempt.
            patience: seconds of silence in an answer, if fewer than `Timeouts.read`.
        """
        requester = Requester(self.origin, self._label, on_trouble, self.on_contact, patience)
        self._made.append(requester)
        if self._stopped:
            requester.stop()
        return requester

    def release(self, requester: Requester) -> None:
        """Forget a requester that is not needed any more."""
        with suppress(ValueError):
            self._made.remove(requester)

    @contextmanager
    def lend(self, patience: float | None = None) -> Iterator[Requester]:
        """Lend this thread a requester of its own for the block; for the argument see `make`."""
        requester = self.make(patience=patience)
        try:
            yield requester
        finally:
            self.release(requester)

    def stop(self) -> None:
        """Stop all requesters, and those that are still to be made."""
        self._stopped = True
        for requester in list(self._made):
            requester.stop()

    def on_contact(self) -> None:
        """Note that the server answered something."""
        self.contact = time.time()
