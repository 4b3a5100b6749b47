"""A feed that the server refuses a live poll, because the plan's places are taken.

Whoever holds a place asks again within milliseconds, so that one who only backs off never gets one.
Requests that are not live are never limited: they bring the same, seconds later. Source:
docs/protocol.md, section 5 (429).
"""

from __future__ import annotations

import random
import time

from .._clock import monotonic
from .._http.requester import Requester
from .._http.retry import asked_wait
from ..errors import RateLimitError

# Seconds between two requests of a feed without a place, drawn at random: for each at most one
# request in two seconds.
LEAST_PAUSE = 2.0
MOST_PAUSE = 5.0
# How many times as long as its last answer took a feed waits at least.
PAUSE_TIMES = 10
# Every so many requests one tries for a place.
TRY_EVERY = 10


class Unplaced:
    """Whether one feed is without a place, and when it asks. True while it is."""

    def __init__(self, requester: Requester) -> None:
        self._requester = requester
        self._places = requester.rations.places
        self._is_refused = False
        self._asked = 0
        self._tried = False
        self._took = 0.0
        self._at_least = 0.0

    def __bool__(self) -> bool:
        return self._is_refused

    def refused(self, error: RateLimitError) -> None:
        """Note that a live poll was refused."""
        self._at_least = asked_wait(error.headers, time.time()) or 0.0
        if not self._is_refused:
            self._is_refused = True
            self._asked = 0
            self._tried = False
            self._places.refused(self._requester.label)

    def granted(self) -> None:
        """Note that a live poll was answered."""
        self.end()

    def answered(self, took: float) -> None:
        """Note how many seconds an answer took that was not live."""
        self._took = took

    def wait(self) -> bool:
        """Wait for the next turn. Return whether it is for a live poll.

        Raises:
            Interrupted: the requester was stopped.
        """
        # A try that was refused brought nothing: what it put off must not wait for long.
        most = LEAST_PAUSE if self._tried else MOST_PAUSE
        pause = max(random.uniform(LEAST_PAUSE, most), PAUSE_TIMES * self._took)
        self._requester.pause(max(pause, self._at_least), self._at_least)
        self._requester.pause(self._places.turns.reserve(monotonic()))
        self._at_least = 0.0
        self._asked += 1
        self._tried = self._asked % TRY_EVERY == 0
        return self._tried

    def end(self) -> None:
        """Note that the feed has a place, or needs none any more."""
        if self._is_refused:
            self._is_refused = False
            self._places.granted(self._requester.label)
