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
RETRIED_STATUSES = frozenset({408, 425, 429})
# How long a 404 is retried if the server says so: a replica may not know a new batch or run yet.
NOT_FOUND_SECONDS = 5.0
# How many consecutive unreadable answers are taken for a passing fault; the last one is raised.
UNREADABLE_LIMIT = 5
# Seconds; a header that asks for a longer wait is broken.
LONGEST_WAIT = 3600.0
# Seconds before the first retry of a 429 that does not say how long to wait: the realtime endpoints
# send no such header.
RATE_LIMIT_FIRST_WAIT = 1.0
# Seconds; rotations closer together than this are a fault of the server, and are backed off from.
ROTATION_SECONDS = 1.0


class UnreadableAnswer(ProtocolError):
    """A 200 with an unexpected body: mostly an error page of a proxy."""


class Rotated(ProtocolError):
    """The server dropped the shape, so the feed starts again. Normal now and then."""


def error_of(status: int, headers: Mapping[str, str], body: str, label: str) -> ApiError:
    """Return the error for an answer whose status is not a success."""
    texts = {name: text for name, text in _document(body).items() if isinstance(text, str)}
    reason = next((texts[name][:300] for name in REASONS if name in texts), "")
    kind = ERROR_OF_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
    message = f"{label}: HTTP {status}" + (f": {reason}" if reason else "")
    return kind(message, status=status, code=texts.get("code"), body=body, headers=headers)


def _document(body: str) -> dict[str, Any]:
    """Return the JSON object of an error's body, or an empty one if there is none."""
    try:
        document = loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def is_rotation(error: ApiError) -> bool:
    """Return True if the shape is gone and a new one must be requested.

    The server says so by a 409, or by Electric's 400 for an offset from before a restore.
    """
    if error.status != 400:
        return error.status == 409
    errors = _document(error.body).get("errors")
    return isinstance(errors, dict) and "offset" in errors


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that the server asks to wait from `now` (epoch seconds), or None."""
    for read in (_retry_after, _rate_limit_reset):
        seconds = read(headers, now)
        if seconds is not None and math.isfinite(seconds):
            return min(max(seconds, 0.0), LONGEST_WAIT)
    return None


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    text = headers.get("retry-after")
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    date = date_of(text)
    return None if date is None else date.timestamp() - now


def date_of(text: str) -> datetime | None:
    """Return the time that a header names (aware), or None."""
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)


def _rate_limit_reset(headers: Mapping[str, str], now: float) -> float | None:
    try:
        return float(headers[wire.RATE_LIMIT_RESET]) / 1000 - now
    except (KeyError, ValueError):
        return None


class Backoff:
    """Counts the consecutive failures of one feed, and decides how long to wait after each.

    Attributes:
        failures: how many consecutive attempts failed.
        asked: how many seconds of the last wait the server asked for.
    """

    def __init__(self, policy: RetryPolicy, rng: random.Random | None = None) -> None:
        self._policy = policy
        self._uniform = (rng or random).uniform
        self.failures = 0
        self.asked = 0.0
        self._unreadable = 0
        self._not_found_since: float | None = None
        self._rotated_at = -math.inf

    def succeeded(self) -> None:
        """Start counting again: data arrived."""
        self.failures = 0
        self._unreadable = 0
        self._not_found_since = None

    def wait_after(self, error: TriggerRealtimeError, now: float) -> float:
        """Return the seconds to wait before the next attempt, at `now` (epoch seconds).

        Raises:
            TriggerRealtimeError: `error` itself, if waiting can't help or `max_retries` is used up.
        """
        if isinstance(error, Rotated) and self._is_first_rotation(now):
            return 0.0
        if not self._is_retryable(error, now):
            raise error
        limit = self._policy.max_retries
        if limit is not None and self.failures >= limit:
            raise error
        delay = self._delay(error, now)
        self.failures += 1
        return delay

    def _is_first_rotation(self, now: float) -> bool:
        before, self._rotated_at = self._rotated_at, now
        return now - before > ROTATION_SECONDS

    def _is_retryable(self, error: TriggerRealtimeError, now: float) -> bool:
        if isinstance(error, (ApiConnectionError, ServerError, ConflictError, Rotated)):
            return True
        if isinstance(error, UnreadableAnswer):
            self._unreadable += 1
            return self._unreadable < UNREADABLE_LIMIT
        if isinstance(error, NotFoundError):
            return self._may_appear(error, now)
        if isinstance(error, ApiError):
            return error.status in RETRIED_STATUSES
        return False

    def _may_appear(self, error: NotFoundError, now: float) -> bool:
        if error.headers.get(wire.SHOULD_RETRY, "").lower() != "true":
            return False
        if self._not_found_since is None:
            self._not_found_since = now
        return now - self._not_found_since < NOT_FOUND_SECONDS

    def _delay(self, error: TriggerRealtimeError, now: float) -> float:
        policy = self._policy
        first = policy.initial_delay
        floor = asked_wait(error.headers, now) if isinstance(error, ApiError) else None
        self.asked = floor or 0.0
        if isinstance(error, RateLimitError) and floor is None:
            first = floor = max(first, RATE_LIMIT_FIRST_WAIT)
        try:
            ceiling = min(policy.max_delay, first * policy.multiplier**self.failures)
        except OverflowError:
            ceiling = policy.max_delay
        return self._uniform(0.0, ceiling) + (floor or 0.0)


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
