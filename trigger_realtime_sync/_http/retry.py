"""Error statuses become errors, and each error decides on the next attempt. Pure.

Source: docs/protocol.md, section 5.
"""

from __future__ import annotations

import email.utils
import math
import random
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import attrs

from .._wire import names as wire
from .._wire.json import loads
from ..config import RetryPolicy
from ..errors import (
    ApiConnectionError,
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    TriggerRealtimeError,
    UnprocessableEntityError,
)

ERROR_OF_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}

# The fields of an error's body that may hold its reason, best first.
REASONS = ("error", "message", "detail", "title")
# The headers by which a server may ask to wait, and its time, by which they are measured.
WAIT_HEADERS = ("date", "retry-after", wire.RATE_LIMIT_RESET)
RETRIED_STATUSES = frozenset({408, 425, 429})
# The proxy wants a user and a password, or another one.
PROXY_REFUSED = 407
# How long a 404 is retried if the server says so: a replica may not know a new batch or run yet.
NOT_FOUND_SECONDS = 5.0
# Seconds between two requests for what a server may not know yet, and the most of them.
ABSENT_SECONDS = 0.5
LONGEST_ABSENT_SECONDS = 2.0
# How many consecutive unreadable answers are taken for a passing fault; the last one is raised.
UNREADABLE_LIMIT = 5
# ... and for how many seconds at least, where answers could be read before.
UNREADABLE_SECONDS = 60.0
# Seconds; a header that asks for a longer wait is broken.
LONGEST_WAIT = 3600.0
# Seconds; the same for a point in time where the answer does not say what time it is there, so that
# only our own clock is left to measure it.
LONGEST_UNDATED_WAIT = 60.0
# A reset below this is in epoch seconds, any other in milliseconds.
LEAST_MILLISECONDS = 1e11
# Seconds before the first retry of a 429 that does not say how long to wait: the realtime endpoints
# send no such header.
RATE_LIMIT_FIRST_WAIT = 1.0
# Seconds; restarts closer together than this are a fault of the server, and are backed off from.
RESTART_SECONDS = 60.0
# Seconds between two requests for a snapshot, after a failure: each may cost the server a query.
SNAPSHOT_SECONDS = 2.0
# How often a cached answer is asked for again with the usual pauses. Then they are the longest.
CACHED_TRIES = 3
# Seconds without coming up to date after which that is told, and after which it is told again.
STALE_SECONDS = 60.0
STALE_AGAIN_SECONDS = 3600.0


class UnreadableAnswer(ProtocolError):
    """A 200 with an unexpected body: mostly an error page of a proxy."""


class ForeignAnswer(UnreadableAnswer):
    """An answer that the API never gives, of a proxy or a login page: terminal where no answer of
    the API has come before, else as any unreadable one."""


class Rotated(ProtocolError):
    """The feed starts again, mostly since the server dropped the shape. Normal now and then."""


def error_of(
    status: int, headers: Mapping[str, str], body: str, label: str, today: float | None = None
) -> ApiError:
    """Return the error for an answer whose status is not a success.

    Args:
        today: epoch seconds, for `retry_after`.
    """
    texts = {name: text for name, text in _document(body).items() if isinstance(text, str)}
    reason = next((texts[name][:300] for name in REASONS if name in texts), "")
    kind = ERROR_OF_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
    message = f"{label}: HTTP {status}" + (f": {reason}" if reason else "")
    error = kind(message, status=status, code=texts.get("code"), body=body, headers=headers)
    if today is not None:
        error.retry_after = asked_wait(headers, today)
    return error


def _document(body: str) -> dict[str, Any]:
    """Return the JSON object of an error's body, or an empty one if there is none."""
    try:
        document = loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def is_foreign(error: ApiError) -> bool:
    """Return True if something answered that is neither the API nor a proxy that wants a password:
    the API never redirects, has no success but 200 and 204, and its errors are no HTML."""
    kind = error.headers.get("content-type", "").split(";")[0].strip().lower()
    return error.status < 400 or (kind == "text/html" and error.status != PROXY_REFUSED)


def is_rotation(error: ApiError) -> bool:
    """Return True if the shape is gone and a new one must be requested.

    The server says so by a 409, or by Electric's 400 for an offset from before a restore.
    """
    if error.status != 400:
        return error.status == 409
    errors = _document(error.body).get("errors")
    return isinstance(errors, dict) and "offset" in errors


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that the server asks to wait, or None.

    Args:
        now: epoch seconds, used where an answer has no `Date`. By that a point in time is measured,
            so that our clock need not agree with the server's.
    """
    date = _epoch_of(headers.get("date", ""))
    longest = LONGEST_WAIT if date is not None else LONGEST_UNDATED_WAIT
    for read, most in ((_retry_after, LONGEST_WAIT), (_moment, longest)):
        seconds = read(headers, now if date is None else date)
        if seconds is not None and math.isfinite(seconds):
            return min(max(seconds, 0.0), most)
    return None


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None


def _moment(headers: Mapping[str, str], now: float) -> float | None:
    moment = _epoch_of(headers.get("retry-after", ""))
    if moment is None:
        try:
            reset = float(headers[wire.RATE_LIMIT_RESET])
        except (KeyError, ValueError):
            return None
        moment = reset if reset < LEAST_MILLISECONDS else reset / 1000
    return moment - now


def date_of(text: str) -> datetime | None:
    """Return the time that a header names (aware), or None."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)


def _epoch_of(text: str) -> float | None:
    date = date_of(text)
    return None if date is None else date.timestamp()


@attrs.define
class Standing:
    """What the requests of one channel share.

    Attributes:
        has_worked: whether one of its feeds was ever brought up to date. It is only ever set.
    """

    has_worked: bool = False


class Backoff:
    """Counts the consecutive failures of one feed, and decides how long to wait after each.

    Args:
        standing: shared with the other feeds of its channel.
        absent_until: a moment before which a 404 means "not yet", whatever its headers say.

    Attributes:
        failures: how many consecutive attempts failed.
        asked: how many seconds of the last wait the server asked for.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        rng: random.Random | None = None,
        standing: Standing | None = None,
        *,
        absent_until: float = -math.inf,
    ) -> None:
        self._policy = policy
        self._uniform = (rng or random).uniform
        self._standing = standing or Standing()
        self._absent_until = absent_until
        self._absent = 0
        self.failures = 0
        self.asked = 0.0
        self._unreadable = 0
        self._unreadable_since = 0.0
        self._not_found_since: float | None = None

    def succeeded(self) -> None:
        """Start counting again: data arrived."""
        self._standing.has_worked = True
        self.failures = 0
        self._unreadable = 0
        self._not_found_since = None

    def understood(self) -> None:
        """Start counting unreadable answers again: one could be read."""
        self._unreadable = 0

    def wait_after(self, error: TriggerRealtimeError, now: float, today: float) -> float:
        """Return the seconds to wait before the next attempt.

        Args:
            now: seconds of a clock that does not go back.
            today: epoch seconds.

        Raises:
            TriggerRealtimeError: `error` itself, if waiting can't help or `max_retries` is used up.
        """
        if isinstance(error, NotFoundError) and now < self._absent_until:
            self.asked, self._absent = 0.0, self._absent + 1
            return absent_wait(self._absent)
        if not self._is_retryable(error, now):
            raise error
        limit = self._policy.max_retries
        if limit is not None and self.failures >= limit:
            raise error
        delay = self._delay(error, today)
        self.failures += 1
        return delay

    def _is_retryable(self, error: TriggerRealtimeError, now: float) -> bool:
        if isinstance(error, (ApiConnectionError, ServerError, ConflictError, Rotated)):
            return True
        if isinstance(error, ForeignAnswer) and not self._standing.has_worked:
            return False
        if isinstance(error, UnreadableAnswer):
            return self._may_be_readable(now)
        if isinstance(error, NotFoundError) and self._may_appear(error, now):
            return True
        if not isinstance(error, ApiError):
            return False
        if error.status in RETRIED_STATUSES:
            return True
        return self._standing.has_worked and is_foreign(error) and self._may_be_readable(now)

    def _may_be_readable(self, now: float) -> bool:
        """Count an answer that is not the API's. Return True if the next one may be."""
        if not self._unreadable:
            self._unreadable_since = now
        self._unreadable += 1
        if self._unreadable < UNREADABLE_LIMIT:
            return True
        return self._standing.has_worked and now - self._unreadable_since < UNREADABLE_SECONDS

    def _may_appear(self, error: NotFoundError, now: float) -> bool:
        if error.headers.get(wire.SHOULD_RETRY, "").lower() != "true":
            return False
        if self._not_found_since is None:
            self._not_found_since = now
        return now - self._not_found_since < NOT_FOUND_SECONDS

    def _delay(self, error: TriggerRealtimeError, today: float) -> float:
        policy = self._policy
        first = policy.initial_delay
        floor = asked_wait(error.headers, today) if isinstance(error, ApiError) else None
        self.asked = floor or 0.0
        if isinstance(error, RateLimitError) and floor is None:
            first = floor = max(first, RATE_LIMIT_FIRST_WAIT)
        return self._uniform(0.0, _ceiling(policy, first, self.failures)) + (floor or 0.0)


def absent_wait(count: int) -> float:
    """Return the seconds to wait after the n-th 404 of what a server may not know yet."""
    return min(ABSENT_SECONDS * count, LONGEST_ABSENT_SECONDS)


def _ceiling(policy: RetryPolicy, first: float, failures: int) -> float:
    try:
        return min(policy.max_delay, first * policy.multiplier**failures)
    except OverflowError:
        return policy.max_delay


class Restarts:
    """Counts how often one feed starts again, and decides how long to wait before.

    What comes in between is no success: neither a snapshot that will be refused next nor an answer
    that is up to date. Source: docs/protocol.md, section 2, "409: the shape was rotated".
    """

    def __init__(self, policy: RetryPolicy, rng: random.Random | None = None) -> None:
        self._policy = policy
        self._uniform = (rng or random).uniform
        self._in_a_row = 0
        self._last = -math.inf
        self._cached = 0
        self._stale_since: float | None = None
        self._told_at = -math.inf

    @property
    def is_second(self) -> bool:
        """Whether this is the first restart that is waited for."""
        return self._in_a_row == 2

    @property
    def floor(self) -> float:
        """Seconds between two requests for a snapshot, after a failure."""
        return min(SNAPSHOT_SECONDS, self._policy.max_delay)

    def up_to_date(self) -> None:
        """Note that the log came up to date."""
        self._cached = 0
        self._stale_since = None
        self._told_at = -math.inf

    def got_nowhere(self, now: float) -> None:
        """Note an answer that brought the log no nearer to being up to date."""
        if self._stale_since is None:
            self._stale_since = now

    def wait(self, error: Rotated, now: float, *, cached: bool) -> float:
        """Return the seconds to wait before starting again, 0 for the first time in a minute.

        Args:
            cached: a cache answered for the server.

        Raises:
            Rotated: `error` itself, if `max_retries` is used up.
        """
        if now - self._last > RESTART_SECONDS:
            self._in_a_row = 0
        limit = self._policy.max_retries
        if limit is not None and self._in_a_row > limit:
            raise error
        self._cached += cached
        self.got_nowhere(now)
        delay = self._delay() if self._in_a_row else 0.0
        self._in_a_row += 1
        self._last = now + delay
        return delay

    def is_stale(self, now: float) -> bool:
        """Return True, once an hour, if the log did not come up to date for a minute."""
        since = self._stale_since
        stale = since is not None and now - since >= STALE_SECONDS
        if not stale or now - self._told_at < STALE_AGAIN_SECONDS:
            return False
        self._told_at = now
        return True

    def _delay(self) -> float:
        policy = self._policy
        if self._cached > CACHED_TRIES:
            return self._uniform(policy.max_delay / 2, policy.max_delay)
        ceiling = _ceiling(policy, policy.initial_delay, self._in_a_row)
        return max(self.floor, self._uniform(0.0, ceiling))


class DoublingPause:
    """The pause before the next request to a server that answers at once and without news.

    Args:
        first, longest: seconds.
        free: how many such answers come before the first pause.
    """

    def __init__(self, first: float, longest: float, *, free: int = 0) -> None:
        self._first = first
        self._longest = longest
        self._free = free
        self.reset()

    def reset(self) -> None:
        """Start again: an answer brought something, or was held."""
        self._free_left = self._free
        self._next = min(self._first, self._longest)

    def take(self) -> float:
        """Return the next pause in seconds, each twice as long as the one before."""
        if self._free_left:
            self._free_left -= 1
            return 0.0
        seconds, self._next = self._next, min(self._next * 2, self._longest)
        return seconds
