"""What all feeds of a client share, so that together they stay polite.

Source: docs/protocol.md, section 5 (429) and section 2, item 7.
"""

from __future__ import annotations

import logging
import math
import threading

logger = logging.getLogger("trigger_realtime_sync")

# Requests a second of all feeds that the server refuses a live poll.
REFUSED_PER_SECOND = 20.0
# REST requests a second for a second opinion: they share a rate limit with the user's triggers.
OPINIONS_PER_SECOND = 2.0
# The same for the silent runs of tags and batches, of which there may be thousands.
SILENT_RUNS_PER_SECOND = 0.1
# Seconds without a second opinion after the REST API refused a request for its rate.
SECONDS_AFTER_REFUSAL = 60.0


class Ration:
    """Requests at most so often. Thread-safe. Times are seconds of one clock."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1 / per_second
        self._lock = threading.Lock()
        self._next = -math.inf

    def reserve(self, now: float) -> float:
        """Take the next turn.

        Returns:
            How many seconds to wait for it.
        """
        with self._lock:
            turn = max(now, self._next)
            self._next = turn + self._interval
            return turn - now

    def reserve_within(self, now: float, seconds: float) -> float | None:
        """Take the next turn if it comes within so many seconds.

        Returns:
            How many seconds to wait for it; None if it is not taken.
        """
        with self._lock:
            turn = max(now, self._next)
            if turn - now > seconds:
                return None
            self._next = turn + self._interval
            return turn - now

    def try_take(self, now: float) -> bool:
        """Take a turn if one is free now. Return whether it was."""
        return self.reserve_within(now, 0.0) is not None

    def close_until(self, moment: float) -> None:
        """Give no turn before this moment."""
        with self._lock:
            self._next = max(self._next, moment)


class Places:
    """The live polls that the server's plan grants, as far as the feeds of a client notice."""

    def __init__(self) -> None:
        self.turns = Ration(REFUSED_PER_SECOND)
        self._lock = threading.Lock()
        self._refused = 0
        self._warned = False

    def refused(self, label: str) -> None:
        """Note that a feed was refused a live poll, for the first time since it had one."""
        with self._lock:
            self._refused += 1
            level = logging.INFO if self._warned else logging.WARNING
            self._warned = True
        logger.log(
            level,
            "%s: the server holds no more polls at a time for this environment, which is the limit"
            " of its plan; until it does, changes are asked for every few seconds, and told late",
            label,
        )

    def granted(self, label: str) -> None:
        """Note that it has a place again, or needs none any more."""
        with self._lock:
            self._refused -= 1
            none_left = self._refused == 0
        if none_left:
            logger.info("%s: no subscription is without a held poll any more", label)


class Rations:
    """Everything that the feeds of one client share."""

    def __init__(self) -> None:
        self.places = Places()
        self.opinions = Ration(OPINIONS_PER_SECOND)
        self.silent_runs = Ration(SILENT_RUNS_PER_SECOND)

    def api_refused(self, now: float) -> None:
        """Note that the REST API answered 429."""
        self.opinions.close_until(now + SECONDS_AFTER_REFUSAL)

    def api_asked_to_wait(self, seconds: float, now: float) -> None:
        """Note that the REST API failed, and named a time to wait."""
        self.opinions.close_until(now + seconds)
