"""When a feed that is up to date asks without waiting for a change. Pure.

Live polls do not tell everything: an answer that was lost never comes again, and native withholds
what carries no later `updatedAt`. Source: docs/protocol.md, section 2, items 5 and 6.
"""

from __future__ import annotations

import math

# Seconds without a changed row or an answer that was not live, after which one run is looked at.
LOOK_AT_RUN_SECONDS = 60.0
# Seconds after the last answer that was not live, after which the runs of a tag or batch are, ...
LOOK_AT_RUNS_SECONDS = 300.0
# ... and how many times as long as that answer took to come.
LOOK_AT_RUNS_TIMES = 100
# Seconds after which a state that is in doubt is looked at again.
LOOK_AT_DOUBT_SECONDS = 30.0
# How many times as long as the last one took a catch-up after a lost answer waits for.
CATCH_UP_TIMES = 10


class PollTimes:
    """The times of one feed. All are seconds of any clock that does not go back.

    Args:
        single: whether the feed is that of one run.
    """

    def __init__(self, *, single: bool) -> None:
        self._single = single
        self._row_at = -math.inf
        self._asked_at = -math.inf
        self._took = 0.0

    def row_came(self, now: float) -> None:
        """Note an answer with a changed row."""
        self._row_at = now

    def answered(self, now: float, took: float) -> None:
        """Note an answer that was not live."""
        self._asked_at = now
        self._took = took

    def until_catch_up(self, now: float) -> float:
        """Return the seconds until the next request that is not live may be sent."""
        return max(0.0, self._asked_at + CATCH_UP_TIMES * self._took - now)

    def is_look_due(self, now: float, *, doubts: bool) -> bool:
        """Return True if unfinished runs are to be asked for without waiting for a change.

        Args:
            doubts: whether a state is in doubt that the answer may confirm.
        """
        since = now - self._asked_at
        patience = LOOK_AT_RUNS_TIMES * self._took
        if doubts and since >= max(LOOK_AT_DOUBT_SECONDS, patience):
            return True
        if self._single:
            return min(since, now - self._row_at) >= LOOK_AT_RUN_SECONDS
        return since >= max(LOOK_AT_RUNS_SECONDS, patience)
