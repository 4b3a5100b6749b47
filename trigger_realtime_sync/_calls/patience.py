"""When a failed attempt of a call is followed by another one. Pure.

Source: docs/protocol.md, sections R1 and 5.
"""

from __future__ import annotations

import random

from .._http.retry import (
    RATE_LIMIT_FIRST_WAIT,
    RETRIED_STATUSES,
    UNREADABLE_LIMIT,
    UnreadableAnswer,
    absent_wait,
)
from .._wire.names import SHOULD_RETRY
from ..config import RetryPolicy
from ..errors import (
    ApiConnectionError,
    ApiError,
    ConflictError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    ServerError,
    TriggerRealtimeError,
)
from .request import Repeat

# A server remembers the id of a request once it has done the work: seconds from the sending until
# it surely has.
LATER_SECONDS = 10.0


def may_have_been_done(error: TriggerRealtimeError, *, sent: bool) -> bool:
    """Return True if the server may have done what the failed attempt asked for.

    Args:
        sent: whether the request may have come to the server.
    """
    if isinstance(error, ServerError):
        return not _is_turned_away(error)
    return isinstance(error, (ApiConnectionError, ProtocolError)) and sent


def _is_turned_away(error: ApiError) -> bool:
    """Return True if the server did not begin with it: it says when to come again."""
    return error.status == 429 or (error.status == 503 and "retry-after" in error.headers)


class Patience:
    """Decides on the next attempt of one call.

    Args:
        policy: how long to wait, and how often to try.
        repeat: what may be done about a lost answer.
        absent_until: a moment before which a 404 means "not yet".

    Attributes:
        failures: how many attempts were counted.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        repeat: Repeat,
        absent_until: float,
        rng: random.Random | None = None,
    ) -> None:
        self._policy = policy
        self._repeat = repeat
        self._absent_until = absent_until
        self._uniform = (rng or random).uniform
        self._absent = 0
        self._unreadable = 0
        self.failures = 0

    def wait_after(
        self, error: TriggerRealtimeError, *, sent: bool, sent_at: float, now: float
    ) -> float | None:
        """Return the seconds until the next attempt, or None for none.

        Args:
            sent: whether the request may have come to the server.
            sent_at, now: moments of one clock.
        """
        if isinstance(error, NotFoundError) and now < self._absent_until:
            self._absent += 1
            return max(absent_wait(self._absent), error.retry_after or 0.0)
        limit = self._policy.max_retries
        if not self._is_retried(error, sent=sent) or (limit is not None and self.failures >= limit):
            return None
        wait = self._backoff(error)
        if self._repeat is Repeat.LATER and may_have_been_done(error, sent=sent):
            wait = max(wait, sent_at + LATER_SECONDS - now)
        self.failures += 1
        return wait

    def _is_retried(self, error: TriggerRealtimeError, *, sent: bool) -> bool:
        should = ""
        if isinstance(error, ApiError):
            should = error.headers.get(SHOULD_RETRY, "").lower()
        if should == "false":
            return False
        if self._repeat is Repeat.NEVER:
            if isinstance(error, ApiError):
                return _is_turned_away(error)
            return isinstance(error, ApiConnectionError) and not sent
        return should == "true" or self._helps(error)

    def _helps(self, error: TriggerRealtimeError) -> bool:
        """Return True if the same request may fare better later."""
        if isinstance(error, (ApiConnectionError, ServerError, ConflictError)):
            return True
        if isinstance(error, UnreadableAnswer):
            self._unreadable += 1
            return self._unreadable < UNREADABLE_LIMIT
        return isinstance(error, ApiError) and error.status in RETRIED_STATUSES

    def _backoff(self, error: TriggerRealtimeError) -> float:
        policy = self._policy
        asked = error.retry_after if isinstance(error, ApiError) else None
        first = policy.initial_delay
        if isinstance(error, RateLimitError) and asked is None:
            first = asked = max(first, RATE_LIMIT_FIRST_WAIT)
        try:
            ceiling = min(policy.max_delay, first * policy.multiplier**self.failures)
        except OverflowError:
            ceiling = policy.max_delay
        return self._uniform(0.0, ceiling) + (asked or 0.0)
