"""Public tokens: made here, or what clients need to make them (docs/protocol.md, section R4)."""

from __future__ import annotations

import re
import time
from typing import Any

from ._access import Access, Caller
from ._bodies import json_body
from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply
from ._settings import RoundTrip

_USUAL_SECONDS = 900
_MOST_SECONDS = 30 * 86_400
_LIFETIME = re.compile(r"([0-9]+) ?([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class AuthRoutes:
    """Answers what is about tokens."""

    def __init__(self, access: Access, settings: RoundTrip) -> None:
        self._access = access
        self._settings = settings

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "POST", "api", "v1", "auth", "jwt", "claims":
                caller.need_secret()
                return json_reply(200, {"sub": caller.environment, "pub": True})
            case "POST", "api", "v1", "auth", "public-tokens" if self._settings.mints:
                return self._mint(json_body(request), caller)
        return None

    def _mint(self, body: Any, caller: Caller) -> Reply:
        if caller.public:
            caller.need_secret()
        scopes = body.get("scopes") if isinstance(body, dict) else None
        if not isinstance(scopes, list) or not scopes or not all(map(_is_scope, scopes)):
            raise _invalid("scopes", "Array must contain at least 1 element(s)")
        denied = [scope for scope in scopes if not caller.covers_scope(scope)]
        if denied:
            error = {"error": "The key does not cover these scopes", "deniedScopes": denied}
            raise Refused(403, {**error, "code": "scopes_exceed_key_access"})
        more: dict[str, Any] = {}
        if body.get("oneTimeUse"):
            more["otu"] = True
        if "realtime" in body:
            more["realtime"] = body["realtime"]
        claims = self._access.claims(caller, scopes, **more)
        wanted = body.get("expirationTime", f"{_USUAL_SECONDS}s")
        seconds = _seconds(wanted)
        end = wanted if isinstance(wanted, (int, float)) else None
        return json_reply(200, {"token": self._access.mint(claims, seconds, expires_at=end)})


def _seconds(value: Any) -> float:
    """Return how long a token is to live. A number is always an instant in epoch seconds."""
    if isinstance(value, (int, float)):
        seconds = value - time.time()
    else:
        found = _LIFETIME.fullmatch(value) if isinstance(value, str) else None
        seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= _MOST_SECONDS:
        raise _invalid("expirationTime", "Must be in the future, and within 30 days")
    return seconds


def _is_scope(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _invalid(name: str, message: str) -> Refused:
    issue = {"code": "custom", "path": [name], "message": message}
    return Refused(400, {"error": "Invalid request body", "issues": [issue]})
