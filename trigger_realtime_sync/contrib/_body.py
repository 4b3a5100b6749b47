"""The body of one relay, chunk by chunk."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from ._browser_feeds import LOOK_SECONDS, BrowserFeed, Position, feed_of
from ._connections import connection_of
from ._events import (
    COMMENT,
    PREAMBLE,
    RETRY,
    RunToDict,
    event_of,
    last_event,
    run_event,
    run_for_browser,
)
from ._open_relays import RELAYS, OpenRelay, RelayLimits
from ._source import Source

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent. Only writing shows that a browser is gone."""

MAX_AGE = 3600.0
"""Seconds after which a relay ends: the browser comes again, and permission is asked again."""

NO_LIMITS: Final = RelayLimits(per_process=None, per_owner=None)

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

    def seconds_left(self, now: float) -> float:
        """Return the seconds until a comment must be sent."""
        return max(0.0, self._due - now)


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
        self.relay = relay
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
        if self._is_over or RELAYS.is_ending or self.relay not in RELAYS:
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

    def seconds_to_look(self) -> float:
        """Return the seconds after which `step` may have a chunk without any news."""
        return min(self._feed.seconds_to_look(), self._keep_alive.seconds_left(time.monotonic()))

    def call_on_news(self, function: Callable[[], None]) -> None:
        """Have a function called, on any thread, whenever there is news, or the end."""
        self._feed.on_news = function

    def close(self) -> None:
        """End it: nothing more is written."""
        if self.relay.connection is not None and not self.relay.is_over:
            self.relay.connection.give_back()
        self.relay.is_over = True
        RELAYS.close(self.relay)


def open_body(
    source: Source,
    *,
    last_event_id: str | None = None,
    keep_alive: float = KEEP_ALIVE,
    run_to_dict: RunToDict = run_for_browser,
    max_age: float | None = MAX_AGE,
    owner: object = None,
    limits: RelayLimits | None = None,
    environ: Mapping[str, Any] | None = None,
    is_prepared: bool = False,
) -> Body:
    """Subscribe, and return the body of a relay that is open; for arguments and errors see `Relay`.

    Args:
        is_prepared: whether `step` must never wait: states of a run are encoded by the callback.
    """
    if not keep_alive > 0:
        raise ValueError(f"keep_alive must be more than 0 seconds, not {keep_alive!r}")
    if max_age is not None and not max_age > 0:
        raise ValueError(f"max_age must be more than 0 seconds, or None, not {max_age!r}")
    patience = min(LOOK_SECONDS, keep_alive)
    relay = OpenRelay(owner_text(owner))
    RELAYS.enter(relay, limits or NO_LIMITS)
    try:
        prepare = (lambda run: run_event(run, run_to_dict)) if is_prepared else None
        feed = feed_of(
            source,
            Position(last_event_id),
            0.0 if is_prepared else patience,
            on_cut=RELAYS.count_cut,
            prepare=prepare,
        )
        relay.begin(feed, connection_of(environ))
        body = Body(relay, feed, KeepAlive(keep_alive, patience), run_to_dict, max_age)
    except BaseException:
        RELAYS.close(relay)
        raise
    if relay not in RELAYS:
        # It was ended before it had subscribed.
        relay.stop()
    return body


def owner_text(owner: object) -> str | None:
    """Return an owner as it is compared: a user's key is a number here and a text there."""
    return None if owner is None else str(owner)
