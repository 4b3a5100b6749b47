"""Failures to order: what the next matching requests get instead of, or on top of, their answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ._observer import KINDS, MatchT, RecordedRequest, matches
from ._replies import Reply

_ERROR_PAGE = b"<!DOCTYPE html><html><body><h1>Something is in the way</h1></body></html>"


def _lower(names: Sequence[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


@attrs.frozen(kw_only=True)
class Fault:
    """How a request fails. `RealtimeServer.fail_next` describes the fields."""

    status: int | None = None
    body: bytes | str | Mapping[str, Any] | Sequence[Any] | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    html: bool = False
    cut_at: int | None = None
    cut_body_at: int | None = None
    reset: bool = False
    stall: float | None = None
    delay: float = 0.0
    drop_headers: frozenset[str] = attrs.field(factory=frozenset, converter=_lower)
    stale: bool = False
    after_hold: bool = False

    def waits_for(self, request: RecordedRequest) -> bool:
        """Return True if the request is held before the fault strikes it."""
        return self.after_hold and request.live

    def replacement(self) -> Reply | None:
        """Return the reply that replaces the real one; None if the real one is sent."""
        if self.html:
            content_type, body = "text/html; charset=utf-8", _ERROR_PAGE
        elif isinstance(self.body, (bytes, str)):
            content_type = "text/plain; charset=utf-8"
            body = self.body.encode() if isinstance(self.body, str) else self.body
        elif self.body is not None or self.status is not None:
            content_type = "application/json"
            value = self.body if self.body is not None else {"error": "A fault of the test server"}
            body = json.dumps(value).encode()
        else:
            return None
        return Reply(self.status or 200, {"content-type": content_type, **self.headers}, body)


@attrs.define
class _Rule:
    fault: Fault
    times: int
    match: MatchT
    live: bool | None


class Faults:
    """The faults still to come, in the order they were added."""

    def __init__(self) -> None:
        # Protects the rules.
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []

    def add(
        self,
        fault: Fault,
        *,
        times: int,
        match: MatchT,
        live: bool | None,
    ) -> None:
        if isinstance(match, str) and match not in KINDS:
            raise ValueError(f"match must be one of {', '.join(KINDS)}, not {match!r}")
        with self._lock:
            self._rules.append(_Rule(fault, times, match, live))

    def take(self, request: RecordedRequest) -> Fault | None:
        """Use up, and return, the first fault that matches the request."""
        with self._lock:
            for rule in self._rules:
                if rule.times > 0 and matches(request, rule.match, rule.live):
                    rule.times -= 1
                    self._rules = [one for one in self._rules if one.times > 0]
                    return rule.fault
        return None

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
