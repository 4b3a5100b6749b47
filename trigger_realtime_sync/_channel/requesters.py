"""The requesters of one channel: made for its threads, and stopped all together."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .._clock import monotonic
from .._http.requester import Origin, Requester
from ..errors import ConnectionUntrusted

# Seconds after which it is told again that the server's certificate is not trusted.
UNTRUSTED_AGAIN_SECONDS = 3600.0


class Requesters:
    """Makes requesters, on any thread.

    Args:
        origin: where to ask, and with which token.
        label: names the channel in errors and logs.
        report: called with the first refusal of a certificate in an hour, on any thread.

    Attributes:
        contact: when the server last answered anything (epoch seconds), or None. A plain attribute:
            a forked child reads it, whatever lock its parent held.
    """

    def __init__(
        self,
        origin: Origin,
        label: str,
        report: Callable[[ConnectionUntrusted], None] = lambda error: None,
    ) -> None:
        self.origin = origin
        self.contact: float | None = None
        self._label = label
        self._report = report
        # Protects the moment from which on a refusal is reported again.
        self._untrusted_lock = threading.Lock()
        self._report_from = -math.inf
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
        requester = Requester(
            self.origin, self._label, on_trouble, self.on_contact, patience, self.on_untrusted
        )
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

    def on_untrusted(self, error: ConnectionUntrusted) -> None:
        """Report that the server's certificate is not trusted, once for all requesters."""
        now = monotonic()
        with self._untrusted_lock:
            if now < self._report_from:
                return
            self._report_from = now + UNTRUSTED_AGAIN_SECONDS
        self._report(error)
