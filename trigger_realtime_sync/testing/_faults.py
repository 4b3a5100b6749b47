"""Failures to order: what the next matching requests get instead of, or on top of, their answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ._observer import KINDS, RecordedRequest, matches

_ERROR_PAGE = b"<!DOCTYPE html><html><body><h1>Something is in the way</h1></body></html>"


def _names(names: Sequence[str]) -> frozenset[str]:
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
    drop_headers: frozenset[str] = attrs.field(factory=frozenset, converter=_names)
    stale: bool = False
    after_hold: bool = False

    @property
    def replaces(self) -> bool:
        """Whether the real answer is not sent at all."""
        return self.status is not None or self.html or self.body is not None

    def replacement(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body to answer with."""
        if self.html:
            kind, body = "text/html; charset=utf-8", _ERROR_PAGE
        elif isinstance(self.body, (bytes, str)):
            kind = "text/plain; charset=utf-8"
            body = self.body.encode() if isinstance(self.body, str) else self.body
        else:
            kind = "application/json"
            value = self.body if self.body is not None else {"error": "As the test asked for"}
            body = json.dumps(value).encode()
        return self.status or 200, {"content-type": kind, **self.headers}, body


@attrs.define
class _Rule:
    fault: Fault
    times: int
    match: str | Callable[[RecordedRequest], bool] | None
    live: bool | None


class Faults:
    """The faults still to come, in the order they were asked for."""

    def __init__(self) -> None:
        # Protects the rules.
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []

    def add(
        self,
        fault: Fault,
        *,
        times: int,
        match: str | Callable[[RecordedRequest], bool] | None,
        live: bool | None,
    ) -> None:
        if isinstance(match, str) and match not in KINDS:
            raise ValueError(f"match must be one of {', '.join(KINDS)}, not {match!r}")
        with self._lock:
            self._rules.append(_Rule(fault, times, match, live))

    def take(self, request: RecordedRequest) -> Fault | None:
        """The fault of this request, used up."""
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
