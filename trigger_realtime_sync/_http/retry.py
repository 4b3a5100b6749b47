"""An error status → an error; and what each error means for the next attempt. Pure.

Source: PROTOCOL, section 5.
"""

from __future__ import annotations

import email.utils
import math
import random
from collections.abc import Mapping

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

RETRIED_STATUSES = frozenset({408, 425, 429})
# A batch or run that was made a moment ago may be unknown to a replica for this long.
NOT_FOUND_SECONDS = 5.0
# Answers that can't be read, in a row, before they are taken for what the server really says.
UNREADABLE_LIMIT = 5
# No server means a longer wait than this; a header that says so is broken.
LONGEST_WAIT = 3600.0
RATE_LIMIT_FIRST_WAIT = 1.0
# Rotations closer together than this are a fault, and are backed off from.
ROTATION_SECONDS = 1.0


class UnreadableAnswer(ProtocolError):
    """A 200 that is not what was asked for: an error page of a proxy, mostly."""


class Rotated(ProtocolError):
    """The server dropped the shape: the feed starts again, and normally that is that."""


def error_of(status: int, headers: Mapping[str, str], body: str, source: str) -> ApiError:
    """The error that stands for an answer."""
    reason, code = _reason(body)
    kind = ERROR_OF_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
    message = f"{source}: HTTP {status}" + (f": {reason}" if reason else "")
    return kind(message, status=status, code=code, body=body, headers=headers)


def _reason(body: str) -> tuple[str, str | None]:
    try:
        document = loads(body)
    except ValueError:
        return "", None
    if not isinstance(document, dict):
        return "", None
    code = document.get("code")
    for name in ("error", "message", "detail", "title"):
        if isinstance(document.get(name), str):
            return document[name][:300], code if isinstance(code, str) else None
    return "", code if isinstance(code, str) else None


def is_rotation(error: ApiError) -> bool:
    """Whether the shape is gone, and a new one to be asked for: a 409, or Electric's 400 of an
    offset from before a restore."""
    if error.status == 409:
        return True
    if error.status != 400:
        return False
    try:
        document = loads(error.body)
    except ValueError:
        return False
    errors = document.get("errors") if isinstance(document, dict) else None
    return isinstance(errors, dict) and "offset" in errors


def asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the server asks to wait, at `now` (epoch seconds), or None."""
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
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None


def _rate_limit_reset(headers: Mapping[str, str], now: float) -> float | None:
    try:
        return float(headers[wire.RATE_LIMIT_RESET]) / 1000 - now
    except (KeyError, ValueError):
        return None


class Backoff:
    """Counts the failures in a row of one feed, and says how long to wait after each.

    Raises the error instead where waiting can't help, or `max_retries` are used up.
    """

    def __init__(self, policy: RetryPolicy, rng: random.Random | None = None) -> None:
        self._policy = policy
        self._uniform = (rng or random).uniform
        self._failures = 0
        self._unreadable = 0
        self._not_found_since: float | None = None
        self._rotated_at = -math.inf

    @property
    def failures(self) -> int:
        """How many attempts in a row failed."""
        return self._failures

    def succeeded(self) -> None:
        """Data arrived: the next failure is the first of its row."""
        self._failures = 0
        self._unreadable = 0
        self._not_found_since = None

    def wait_after(self, error: TriggerRealtimeError, now: float) -> float:
        """Seconds to wait before the next attempt; raises the error if there is none to be."""
        if isinstance(error, Rotated) and self._is_first_rotation(now):
            return 0.0
        if not self._is_worth_another(error, now):
            raise error
        limit = self._policy.max_retries
        if limit is not None and self._failures >= limit:
            raise error
        delay = self._delay(error, now)
        self._failures += 1
        return delay

    def _is_first_rotation(self, now: float) -> bool:
        before, self._rotated_at = self._rotated_at, now
        return now - before > ROTATION_SECONDS

    def _is_worth_another(self, error: TriggerRealtimeError, now: float) -> bool:
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
        if isinstance(error, RateLimitError) and floor is None:
            first = floor = max(first, RATE_LIMIT_FIRST_WAIT)
        try:
            ceiling = min(policy.max_delay, first * policy.multiplier**self._failures)
        except OverflowError:
            ceiling = policy.max_delay
        return self._uniform(0.0, ceiling) + (floor or 0.0)
