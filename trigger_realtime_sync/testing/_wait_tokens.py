"""Wait tokens: made, completed once, or timed out (docs/protocol.md, section R6)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from ._access import Access, Caller
from ._durations import key_ttl, moment
from ._payloads import Packet, value_of
from ._replies import to_json
from ._rows import timestamp_of

NO_OUTPUT: Packet = (None, "application/json")


@attrs.define(kw_only=True)
class WaitToken:
    """A wait token, as the server keeps it. Times are epoch seconds.

    Attributes:
        url: completes the token, whoever has it.
        shown_url: what retrieving shows as its URL; it is good only outside of preview branches.
        status: WAITING, COMPLETED or TIMED_OUT.
        output: what it was completed with; None before, and without.
        user_key: the idempotency key was the client's, not made up.
    """

    id: str
    environment: str
    url: str = attrs.field(repr=False)
    shown_url: str = attrs.field(repr=False)
    tags: tuple[str, ...]
    idempotency_key: str
    user_key: bool
    key_ends: float | None
    created_at: float
    timeout_at: float | None
    status: str = "WAITING"
    completed_at: float | None = None
    packet: Packet = NO_OUTPUT
    is_error: bool = False

    @property
    def output(self) -> Any:
        return value_of(self.packet)

    def json(self) -> dict[str, Any]:
        """The token as a list shows it."""
        shown = {
            "id": self.id,
            "url": self.shown_url,
            "status": self.status,
            "completedAt": iso(self.completed_at),
            "timeoutAt": iso(self.timeout_at),
            "completedAfter": iso(self.timeout_at),
            "idempotencyKey": self.idempotency_key if self.user_key else None,
            "tags": list(self.tags),
            "createdAt": iso(self.created_at),
        }
        return {name: value for name, value in shown.items() if value is not None}

    def full_json(self) -> dict[str, Any]:
        """The token as it is retrieved."""
        output, output_type = self.packet
        shown = {
            **self.json(),
            "type": "MANUAL",
            "idempotencyKey": self.idempotency_key,
            "userProvidedIdempotencyKey": self.user_key,
            "idempotencyKeyExpiresAt": iso(self.key_ends),
            "output": output,
            "outputType": output_type,
            "outputIsError": self.is_error,
        }
        return {name: value for name, value in shown.items() if value is not None}


def iso(seconds: float | None) -> str | None:
    return None if seconds is None else f"{timestamp_of(round(seconds * 1000))}Z"


def output_of(body: dict[str, Any]) -> Packet:
    """Return what a token is completed with: plain JSON on the way in, superjson in the store."""
    if "data" not in body:
        return NO_OUTPUT
    data = body["data"]
    if isinstance(data, str):
        return data, "text/plain"
    return to_json({"json": data}).decode(), "application/super+json"


class WaitTokens:
    """The wait tokens of one server. Safe from any thread."""

    def __init__(
        self,
        access: Access,
        base_url: Callable[[], str],
        after: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._access = access
        self._base_url = base_url
        self._after = after
        # Protects the dictionaries, and the tokens in them.
        self._lock = threading.Lock()
        self._tokens: dict[str, WaitToken] = {}
        # By environment and key.
        self._keys: dict[tuple[str, str], WaitToken] = {}

    def all(self) -> list[WaitToken]:
        """Return copies of the tokens, oldest first."""
        with self._lock:
            return [attrs.evolve(token) for token in self._tokens.values()]

    def get(self, token_id: str) -> WaitToken | None:
        with self._lock:
            token = self._tokens.get(token_id)
            return None if token is None else attrs.evolve(token)

    def create(
        self, caller: Caller, body: dict[str, Any], tags: tuple[str, ...]
    ) -> tuple[WaitToken, bool]:
        """Return the token, and whether its key had one already."""
        key = body.get("idempotencyKey")
        place = (caller.environment, key or "")
        with self._lock:
            found = self._keys.get(place) if key else None
            if found is not None and (found.key_ends or 0) > time.time():
                return attrs.evolve(found), True
            token = self._new(caller, body, tags)
            self._tokens[token.id] = token
            if key:
                self._keys[place] = token
        if token.timeout_at is not None:
            self._after(token.timeout_at - time.time(), partial(self._time_out, token.id))
        return attrs.evolve(token), False

    def _new(self, caller: Caller, body: dict[str, Any], tags: tuple[str, ...]) -> WaitToken:
        token_id = f"waitpoint_{secrets.token_hex(12)}"
        key = body.get("idempotencyKey")
        ends = time.time() + key_ttl(body.get("idempotencyKeyTTL")) if key else None
        start = f"{self._base_url()}/api/v1/waitpoints/tokens/{token_id}/callback/"
        url = start + self.signature(token_id)
        on_branch = caller.environment != self._access.environment
        return WaitToken(
            id=token_id,
            environment=caller.environment,
            url=url,
            shown_url=start + self.signature(f"{token_id}-shown") if on_branch else url,
            tags=tags,
            idempotency_key=key or secrets.token_urlsafe(18),
            user_key=bool(key),
            key_ends=ends,
            created_at=time.time(),
            timeout_at=_timeout(body),
        )

    def signature(self, token_id: str) -> str:
        """Return what the token's URL ends with."""
        key, name = self._access.secret_key.encode(), token_id.removeprefix("waitpoint_")
        return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()

    def complete(self, token_id: str, packet: Packet) -> None:
        """Complete a token that waits. The first one counts, and nobody is told."""
        self._finish(token_id, "COMPLETED", packet)

    def _time_out(self, token_id: str) -> None:
        message = f"Waitpoint timed out at {iso(time.time())}"
        error = {"code": "TRIGGER_WAITPOINT_TIMEOUT", "message": message}
        self._finish(token_id, "TIMED_OUT", (to_json(error).decode(), "application/json"))

    def _finish(self, token_id: str, status: str, packet: Packet) -> None:
        with self._lock:
            token = self._tokens[token_id]
            if token.status != "WAITING":
                return
            token.status, token.packet = status, packet
            token.is_error = status == "TIMED_OUT"
            token.completed_at = time.time()


def _timeout(body: dict[str, Any]) -> float | None:
    """Return when the token times out: a text that can't be read, or is past, is never."""
    if "timeout" not in body:
        return None
    value = body["timeout"]
    at = moment(value)
    if isinstance(value, str) and at is not None and at <= time.time():
        return None
    return at
