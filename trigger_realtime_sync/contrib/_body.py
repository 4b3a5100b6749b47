"""The body of one relay, chunk by chunk."""

from __future__ import annotations

import itertools
import random
import time

from ._browser_feeds import BrowserFeed
from ._events import COMMENT, PREAMBLE, RETRY, RunToDict, event_of, last_event
from ._open_relays import RELAYS, OpenRelay

# The part of its greatest age by which a relay may end sooner: browsers that came together, after a
# deploy say, do not all come back together.
SPREAD = 0.1


class KeepAlive:
    """When to send a comment: after a time of silence, and once more soon after.

    The first write to a browser that is gone still succeeds. The second fails, because of the
    answer to the first; without it, the browser would be missed only after another full silence.

    Args:
        seconds: of silence before the first comment.
        soon: seconds from the first comment to the second.
    """

    def __init__(self, seconds: float, soon: float) -> None:
        self._seconds = seconds
        self._soon = soon
        self.restart(time.monotonic())

    def restart(self, now: float) -> None:
        """Begin a new silence: an event was sent."""
        self._waits = itertools.cycle((self._seconds, self._soon))
        self._due = now + next(self._waits)

    def is_due(self, now: float) -> bool:
        """Return True if a comment must be sent now. The wait for the next one begins then."""
        if now < self._due:
            return False
        self._due = now + next(self._waits)
        return True


class Body:
    """What a browser is sent. For one thread at a time.

    Args:
        relay: the relay, which is open.
        feed: its news.
        keep_alive: when to send a comment.
        run_to_dict: returns what the browser sees of a run.
        max_age: seconds after which it ends, so that the browser comes again; None for no bound.
    """

    def __init__(
        self,
        relay: OpenRelay,
        feed: BrowserFeed,
        keep_alive: KeepAlive,
        run_to_dict: RunToDict,
        max_age: float | None,
    ) -> None:
        self._relay = relay
        self._feed = feed
        self._keep_alive = keep_alive
        self._run_to_dict = run_to_dict
        # Spread by chance; no secret.
        spread = 1.0 - SPREAD * random.random()
        self._ends_at = None if max_age is None else time.monotonic() + max_age * spread
        self._is_begun = False
        self._is_over = False

    def step(self, seconds: float) -> bytes | None:
        """Return the next chunk, nothing (`b""`) at the end, or None if there is none yet.

        Args:
            seconds: how long to wait for one.
        """
        if not self._is_begun:
            self._is_begun = True
            self._keep_alive.restart(time.monotonic())
            return PREAMBLE
        if self._is_over or RELAYS.is_ending or self._relay not in RELAYS:
            return b""
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            self._is_over = True
            return RETRY
        return self._news(seconds)

    def _news(self, seconds: float) -> bytes | None:
        # Read before the news: all news is there once the subscription has ended.
        state = self._feed.state
        news = self._feed.take(seconds)
        if news:
            self._keep_alive.restart(time.monotonic())
            return b"".join(event_of(one, self._run_to_dict) for one in news)
        if state.is_ended:
            self._is_over = True
            return last_event(state, self._feed.error)
        return COMMENT if self._keep_alive.is_due(time.monotonic()) else None

    def close(self) -> None:
        """End it: nothing more is written."""
        if self._relay.connection is not None and not self._relay.is_over:
            self._relay.connection.give_back()
        self._relay.is_over = True
        RELAYS.close(self._relay)
