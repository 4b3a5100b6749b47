"""Who may do what: secret keys, public access tokens and their scopes.

docs/protocol.md, section R4, says what servers check, and in which order.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ._jwt import AUDIENCE, ISSUER, claims_of, is_signed, sign
from ._observer import RecordedRequest
from ._replies import Refused

# An additional key: what it signs verifies nowhere.
_ADDITIONAL_KEY = re.compile(r"tr_(dev|stg|prod|preview)_sk_[0-9a-zA-Z]{24}")
# What a scope can be about: a kind, and an id or None for all of its kind.
Resource = tuple[str, "str | None"]

_INVALID = {"error": "Invalid or Missing API key"}
_EXPIRED = {
    "error": "Public Access Token has expired. See "
    "https://trigger.dev/docs/frontend/overview#authentication for more information."
}


def unauthorized() -> Refused:
    error = {"error": "Unauthorized", "code": "unauthorized", "param": "access_token"}
    return Refused(403, {**error, "type": "authorization"})


@attrs.frozen
class Caller:
    """Who sends a request.

    Attributes:
        scopes: what a public token or a restricted key covers; None: everything.
        environment: the environment's id, or its branch's.
        public: the token is a public one.
        one_use: the token may trigger once.
        skip_columns: the columns that a public token leaves out, in place of the query's.
    """

    token: str = attrs.field(repr=False)
    environment: str
    scopes: tuple[str, ...] | None = None
    public: bool = False
    one_use: bool = False
    skip_columns: frozenset[str] | None = None

    @property
    def use(self) -> str | None:
        """What the server remembers of a one-time token; None of any other."""
        return hashlib.sha256(self.token.encode()).hexdigest() if self.one_use else None

    def covers(self, action: str, *resources: Resource) -> bool:
        """Return True if the caller may do that to at least one of the resources."""
        if self.scopes is None:
            return True
        return any(_grants(scope, action, one) for scope in self.scopes for one in resources)

    def covers_scope(self, scope: str) -> bool:
        """Return True if a token with that scope may do nothing that the caller may not."""
        action, _, rest = scope.partition(":")
        kind, _, name = rest.partition(":")
        return self.covers(action, (kind, name or None))

    def need(self, action: str, *resources: Resource) -> None:
        """Refuse the request if the caller may do that to none of the resources.

        Raises:
            Refused: with a 403.
        """
        if not self.covers(action, *resources):
            raise unauthorized()

    def need_secret(self) -> None:
        """Refuse what only an unrestricted secret key may do.

        Raises:
            Refused: a public token is a 401, a restricted key a 403.
        """
        if self.public:
            raise Refused(401, _INVALID)
        if self.scopes is not None:
            raise unauthorized()


def _grants(scope: str, action: str, resource: Resource) -> bool:
    if scope == "admin":
        return True
    # An id may hold colons. No id, or an empty one, means all.
    verb, _, rest = scope.partition(":")
    kind, _, name = rest.partition(":")
    if verb not in (action, "*"):
        return False
    if kind == "all":
        return True
    return kind == resource[0] and (not name or name == resource[1])


@attrs.define
class Access:
    """Which tokens are good. The owner changes it while requests are answered.

    Attributes:
        tokens: good tokens; None: any that is no JWT.
        secret_key: the environment's root key, which signs what the server makes.
        key_scopes: what a restricted secret key covers.
    """

    tokens: set[str] | None
    secret_key: str
    forbidden: set[str] = attrs.field(factory=set)
    revoked: set[str] = attrs.field(factory=set)
    key_scopes: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    environment: str = attrs.field(factory=lambda: f"cm{secrets.token_hex(11)}")
    # Root keys that were sent: any is good where no tokens are named.
    _seen: set[str] = attrs.field(factory=set)

    def authenticate(self, request: RecordedRequest) -> Caller:
        """Return who sends the request.

        Raises:
            Refused: the token is missing, unknown, expired or signed by nobody we know.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or token in self.revoked:
            raise Refused(401, _INVALID)
        environment = self._branch(request.headers.get("x-trigger-branch"))
        if token in self.forbidden:
            return Caller(token, environment, scopes=())
        if self.tokens is not None and token in self.tokens:
            return Caller(token, environment, self.key_scopes.get(token))
        claims = claims_of(token)
        if claims is not None:
            return self._public(token, claims)
        if self.tokens is not None and token != self.secret_key:
            raise Refused(401, _INVALID)
        self._seen.add(token)
        return Caller(token, environment, self.key_scopes.get(token))

    def claims(self, caller: Caller, scopes: Iterable[str], **more: Any) -> dict[str, Any]:
        return {"sub": caller.environment, "pub": True, "scopes": list(scopes), **more}

    def mint(
        self, claims: Mapping[str, Any], seconds: float = 0.0, *, expires_at: float | None = None
    ) -> str:
        """Return a public token with these claims that lives so long, or until an instant."""
        issued = int(time.time())
        end = issued + math.ceil(seconds) if expires_at is None else int(expires_at)
        times = {"exp": end, "iat": issued}
        return sign({**claims, "iss": ISSUER, "aud": AUDIENCE, **times}, self.secret_key)

    def _public(self, token: str, claims: dict[str, Any]) -> Caller:
        environment, scopes = claims.get("sub"), claims.get("scopes")
        known = isinstance(environment, str) and environment.startswith(self.environment)
        good = claims.get("pub") is True and claims.get("iss") == ISSUER
        if not known or not good or claims.get("aud") != AUDIENCE:
            raise Refused(401, _INVALID)
        if not is_signed(token, self._keys()):
            raise Refused(401, _INVALID)
        expires = claims.get("exp")
        if isinstance(expires, (int, float)) and expires <= time.time():
            raise Refused(401, _EXPIRED)
        return Caller(
            token,
            str(environment),
            tuple(map(str, scopes)) if isinstance(scopes, list) else (),
            public=True,
            one_use=claims.get("otu") is True,
            skip_columns=_skip_columns(claims),
        )

    def _keys(self) -> set[str]:
        keys = {self.secret_key, *self._seen.copy(), *(self.tokens or ())}
        return {key for key in keys if not _ADDITIONAL_KEY.fullmatch(key)}

    def _branch(self, name: str | None) -> str:
        return f"{self.environment}-{name}" if name else self.environment


def _skip_columns(claims: dict[str, Any]) -> frozenset[str] | None:
    realtime = claims.get("realtime")
    columns = realtime.get("skipColumns") if isinstance(realtime, dict) else None
    return frozenset(map(str, columns)) if isinstance(columns, list) else None
