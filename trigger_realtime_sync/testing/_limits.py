"""Requests that a server refuses because there are too many (docs/protocol.md, section 5)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .._clock import monotonic
from ._http_server import ExchangeEnded
from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply

# Electric's limit for requests at `offset=-1`, as a share of that for all others: 300 to 1,000.
_FIRST_SHARE = 0.3
# Seconds that an overloaded Electric asks for, at the least.
_RETRY_AFTER = "1"
# The window of the limit of `/api`.
_API_SECONDS = 10.0
# Requests with items of a batch, and kinds of requests, that are not limited
# (docs/protocol.md, section R1).
_FREE_ITEM_REQUESTS = 10
_NOT_COUNTED = frozenset({"packets", "claims", "callback"})


class Limits:
    """How many requests are answered at once, or in a time. None means any number.

    Args:
        live_polls: live polls at once, of all clients.
        electric_requests: requests to Electric at once; those at `offset=-1` are counted apart, and
            three tenths as many are taken.
        api_requests: requests to `/api` in ten seconds; a few kinds are not counted.
    """

    def __init__(
        self,
        live_polls: int | None,
        electric_requests: int | None,
        api_requests: int | None,
    ) -> None:
        self.live_polls = live_polls
        self.electric_requests = electric_requests
        self.api_requests = api_requests
        # Protects the attributes below.
        self._lock = threading.Lock()
        self._live = 0
        self._at_electric = {"initial": 0, "existing": 0}
        # When the places of polls that were cut become free, on the monotonic clock.
        self._kept: list[float] = []
        self._api_count = 0
        # Requests with the items of a batch, by path.
        self._items: Counter[str] = Counter()
        # When the window began, in seconds since the epoch.
        self._api_since = 0.0

    @contextmanager
    def live_poll(self) -> Iterator[None]:
        """Take a place for a live poll until the end of the block.

        Raises:
            Refused: all are taken.
        """
        with self._lock:
            if self.live_polls is not None and self._live >= self.live_polls:
                raise Refused(429, {"error": "Too many concurrent requests"})
            self._live += 1
        try:
            yield
        finally:
            with self._lock:
                self._live -= 1

    @contextmanager
    def electric_request(self, *, first: bool, hold: float) -> Iterator[None]:
        """Take a place at Electric. A poll that is cut keeps it for the `hold` seconds it had.

        Raises:
            Refused: all are taken.
        """
        until = monotonic() + hold
        kind = "initial" if first else "existing"
        self._enter_electric(kind)
        try:
            yield
        except ExchangeEnded:
            with self._lock:
                self._kept.append(until)
            raise
        finally:
            with self._lock:
                self._at_electric[kind] -= 1

    def _enter_electric(self, kind: str) -> None:
        with self._lock:
            now = monotonic()
            self._kept = [until for until in self._kept if until > now]
            taken, limit = self._at_electric[kind], self.electric_requests
            if kind == "existing":
                taken += len(self._kept)
            elif limit is not None:
                limit = max(1, int(limit * _FIRST_SHARE))
            if limit is not None and taken >= limit:
                raise _overloaded(kind, limit)
            self._at_electric[kind] += 1

    def check_api(self, request: RecordedRequest) -> Reply | None:
        """Count a request to `/api`. Return the refusal if there were too many."""
        with self._lock:
            limit = self.api_requests
            if limit is None or request.kind in _NOT_COUNTED:
                return None
            if request.kind == "batch_items":
                self._items[request.path] += 1
                if self._items[request.path] <= _FREE_ITEM_REQUESTS:
                    return None
            if time.time() >= self._api_since + _API_SECONDS:
                self._api_since, self._api_count = time.time(), 0
            self._api_count += 1
            if self._api_count <= limit:
                return None
            return _rate_limited(limit, round((self._api_since + _API_SECONDS) * 1000))


def _overloaded(kind: str, limit: int) -> Refused:
    message = f"Concurrent {kind} request limit exceeded (limit: {limit}), please retry"
    body = {"code": "concurrent_request_limit_exceeded", "message": message}
    return Refused(503, body, {"retry-after": _RETRY_AFTER, "cache-control": "no-store"})


def _rate_limited(limit: int, reset_ms: int) -> Reply:
    seconds = max(0.0, round(reset_ms / 1000 - time.time(), 1))
    detail = f"Rate limit exceeded 0/{limit} requests remaining. Retry in {seconds} seconds."
    body = {
        "title": "Rate Limit Exceeded",
        "status": 429,
        "type": "about:blank",
        "detail": detail,
        "secondsUntilReset": seconds,
        "error": detail,
    }
    headers = {
        "content-type": "application/problem+json",
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(reset_ms),
    }
    return json_reply(429, {**body, "reset": reset_ms, "limit": limit, "remaining": 0}, headers)
