"""The open relays of this process: how many there may be, and how they are ended."""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import attrs

from ._browser_feeds import BrowserFeed
from ._connections import Connection

logger = logging.getLogger("trigger_realtime_sync")

# Seconds after which a browser that was refused may ask again.
RETRY_AFTER = 10
# Seconds that a relay which was ended has to come back from writing. Then its browser has stalled.
LAST_WRITE_SECONDS = 1.0


class TooManyRelays(Exception):
    """A relay was refused, by a bound of `RelayLimits`: answer 429, with `Retry-After`.

    Attributes:
        retry_after: whole seconds.
    """

    def __init__(self, message: str, retry_after: int = RETRY_AFTER) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def _check_bound(instance: Any, attribute: Any, value: Any) -> None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value is not None and not is_count:
        raise ValueError(f"{attribute.name} must be a whole number from 1, or None, not {value!r}")


@attrs.frozen
class RelayLimits:
    """How many relays may be open at a time, in one process.

    Attributes:
        per_process: in all; None for no bound.
        per_owner: with the same owner; None for no bound.

    Raises:
        ValueError: a bound is not a whole number from 1.
    """

    per_process: int | None = attrs.field(default=1_000, validator=_check_bound)
    per_owner: int | None = attrs.field(default=20, validator=_check_bound)


@attrs.frozen
class RelayCounts:
    """What an operator wants to know of the relays of one process, see `relay_counts`.

    Attributes:
        open: how many browsers are connected.
        upstream: how many subscriptions of the client they look at.
        oldest: seconds for which the oldest of them is open; 0 without any.
        refused: how many were refused by `RelayLimits`, since the process began.
        cut: how many were cut off because 2,000 parts waited for their browser, since then.
    """

    open: int
    upstream: int
    oldest: float
    refused: int
    cut: int


@attrs.define(eq=False)
class OpenRelay:
    """One relay, as long as it is open.

    Attributes:
        owner: whose it is, as text; None for nobody's.
        connection: what its server writes to, where that is known.
        feed: its news. None until it has subscribed.
        is_over: whether its server has come back from its last write.
    """

    owner: str | None = None
    connection: Connection | None = None
    feed: BrowserFeed | None = None
    since: float = attrs.field(factory=time.monotonic)
    is_over: bool = False

    def begin(self, feed: BrowserFeed, connection: Connection | None) -> None:
        """Begin to be written."""
        self.connection = connection
        self.feed = feed

    def stop(self) -> None:
        """Give the subscription back, and wake who waits for news."""
        feed = self.feed
        if feed is not None:
            feed.close()
            feed.wake()


class OpenRelays:
    """All relays of this process."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin anew: in a child, which has no part in its parent's relays."""
        self._open: set[OpenRelay] = set()
        # So that of two browsers that come at once only one takes the last place.
        self._lock = threading.Lock()
        # Read and written without the lock: a signal handler sets it.
        self.is_ending = False
        self._refused = 0
        self._cut = 0

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, relay: OpenRelay) -> bool:
        return relay in self._open

    def enter(self, relay: OpenRelay, limits: RelayLimits) -> None:
        """Add a relay.

        Raises:
            TooManyRelays: it has no place.
        """
        with self._lock:
            refusal = self._refusal(relay, limits)
            if refusal is None:
                self._open.add(relay)
                return
            self._refused += 1
        logger.warning("a relay was refused: %s", refusal)
        raise TooManyRelays(refusal)

    def _refusal(self, relay: OpenRelay, limits: RelayLimits) -> str | None:
        if limits.per_process is not None and len(self._open) >= limits.per_process:
            return f"{limits.per_process} are open in this process"
        if limits.per_owner is None or relay.owner is None:
            return None
        if sum(one.owner == relay.owner for one in list(self._open)) >= limits.per_owner:
            return f"{limits.per_owner} are open of {relay.owner!r} in this process"
        return None

    def close(self, relay: OpenRelay) -> None:
        """End a relay, whoever is blocked. Idempotent."""
        # One step, so that of two threads only one stops it.
        try:
            self._open.remove(relay)
        except KeyError:
            return
        relay.stop()

    def close_elsewhere(self, relay: OpenRelay) -> None:
        """Close on another thread: while garbage is collected, this one may hold any lock."""
        if relay in self._open:
            start_thread(self.close, relay)

    def end(self) -> None:
        """End all relays, and each that is opened from now on. Takes no lock."""
        self.is_ending = True
        # Closing takes locks, which the code that a signal interrupted may hold: on another thread.
        # If that can't be started, the relays still look twice a second.
        start_thread(self._end_now, lambda relay: True)

    def end_of(self, owner: str) -> None:
        """End the relays of one owner. Takes no lock."""
        start_thread(self._end_now, lambda relay: relay.owner == owner)

    def _end_now(self, is_meant: Callable[[OpenRelay], bool]) -> None:
        ended = [relay for relay in list(self._open) if is_meant(relay)]
        for relay in ended:
            try:
                self.close(relay)
            except Exception:
                logger.exception("a relay could not be ended")
        if any(relay.connection is not None for relay in ended):
            time.sleep(LAST_WRITE_SECONDS)
            for relay in ended:
                if relay.connection is not None and not relay.is_over:
                    relay.connection.cut()

    def count_cut(self) -> None:
        """Count a relay that was cut off because its browser was too slow."""
        with self._lock:
            self._cut += 1

    def counts(self) -> RelayCounts:
        """Return what there is now."""
        relays = list(self._open)
        feeds = [relay.feed for relay in relays if relay.feed is not None]
        oldest = min((relay.since for relay in relays), default=None)
        return RelayCounts(
            open=len(relays),
            upstream=len({feed.upstream for feed in feeds}),
            oldest=0.0 if oldest is None else time.monotonic() - oldest,
            refused=self._refused,
            cut=self._cut,
        )


def start_thread(function: Callable[..., None], *arguments: Any) -> None:
    """Start a thread, if that is possible."""
    # Not `threading`, whose `start` takes locks: this may run inside a signal handler.
    with contextlib.suppress(RuntimeError):
        _thread.start_new_thread(function, arguments)


RELAYS = OpenRelays()
if hasattr(os, "register_at_fork"):
    # A thread of the parent may have held their locks at the fork.
    os.register_at_fork(after_in_child=RELAYS.begin)


class EndsRelays:
    """A signal handler that ends the relays of this process, and then does what was done before.

    Args:
        before: the handler that was there, as `signal.getsignal` returns it.
    """

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        RELAYS.end()
        if callable(self._before):
            self._before(number, frame)
        elif self._before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
