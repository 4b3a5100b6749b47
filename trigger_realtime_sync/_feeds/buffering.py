"""Whether something between a client and its server holds answers back until they end.

A proxy that buffers does that (docs/protocol.md, section 4). Long answers bring nothing then, and
must be replaced by short ones.
"""

from __future__ import annotations

import threading

from .._clock import monotonic

# Seconds between two tries of a long answer: the proxy may be gone.
TRY_SECONDS = 600.0


class Buffering:
    """What the streams of one server showed. Shared by all of them; safe from any thread.

    Attributes:
        is_certain: whether answers are held back.
        is_mostly_v1: whether a stream of unknown format is more probably one of v1.
    """

    def __init__(self) -> None:
        # Protects everything below.
        self._lock = threading.Lock()
        self.is_certain = False
        self.is_mostly_v1 = False
        self._next_try = 0.0
        self._was_said = False

    def learn(self) -> None:
        """Take answers to be held back from now on."""
        with self._lock:
            self.is_certain = True
            self._next_try = monotonic() + TRY_SECONDS

    def unlearn(self) -> None:
        """Take answers to arrive as they are sent: one did."""
        with self._lock:
            self.is_certain = self.is_mostly_v1 = False

    def takes_try(self) -> bool:
        """Return True if the caller should try a long answer: one stream does, now and then."""
        with self._lock:
            now = monotonic()
            if now < self._next_try:
                return False
            self._next_try = now + TRY_SECONDS
            return True

    def says_it(self) -> bool:
        """Return True once: the caller should tell the user what does not work here."""
        with self._lock:
            was_said, self._was_said = self._was_said, True
            return not was_said
