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


@attrs.define(kw_only=True)
class Fault:
    """How the next matching requests fail. `RealtimeServer.fail_next` describes the fields."""

    times: int = 1
    match: MatchT = None
    live: bool | None = None
    status: int | None = None
    body: bytes | str | Mapping[str, Any] | Sequence[Any] | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    html: bool = False
    cut_at: int | None = None
    cut_body_at: int | None = None
    reframed: bool = False
    reset: bool = False
    stall: float | None = None
    delay: float = 0.0
    drop_headers: frozenset[str] = attrs.field(factory=frozenset, converter=_lower)
    stale: bool = False
    leave_out: int = 0
    lost: bool = False
    after_hold: bool = False
    silence: tuple[int, float] | None = None

    @property
    def waits(self) -> bool:
        """True if a live poll is held before the fault strikes: what it spoils is the news."""
        return self.after_hold or self.lost or self.leave_out > 0

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


# Changes nothing, so a live poll is held before it happens.
NO_FAULT = Fault(after_hold=True)


class Faults:
    """The faults still to come, in the order they were added."""

    def __init__(self) -> None:
        # Protects the faults, and how many times each is still to happen.
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        if isinstance(fault.match, str) and fault.match not in KINDS:
            raise ValueError(f"match must be one of {', '.join(KINDS)}, not {fault.match!r}")
        with self._lock:
            self._faults.append(fault)

    def take(self, request: RecordedRequest) -> Fault:
        """Use up, and return, the first fault that matches the request."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and matches(request, fault.match, fault.live):
                    fault.times -= 1
                    self._faults = [one for one in self._faults if one.times > 0]
                    return fault
        return NO_FAULT

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
