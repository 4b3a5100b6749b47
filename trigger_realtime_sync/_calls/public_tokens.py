"""Public access tokens: signed here, or by the server for keys that can't sign.

Source: docs/protocol.md, section R4.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import attrs

from .._encode.json import dumps
from .._encode.jwt import is_additional_key, is_public_token, mint
from .._encode.scopes import only_triggers
from .._encode.times import check_duration, duration_seconds
from .._http.retry import UnreadableAnswer
from .._wire.names import CLAIMS_PATH, PUBLIC_TOKENS_PATH
from ..errors import ConfigurationError, NotFoundError
from .calls import BoundedCalls
from .request import Reply, Request

# What servers take where nothing is said.
USUAL_LIFE = timedelta(minutes=15)


@attrs.frozen(kw_only=True)
class Grant:
    """What a token is to allow, checked.

    Attributes:
        life: seconds from now; None where `expires_at` says when it ends.
        expires_at: epoch seconds.
        one_time_use: None for the usual: of tokens that trigger, and nothing else.
    """

    scopes: list[str]
    life: int | None
    expires_at: int | None
    skipped: tuple[str, ...]
    one_time_use: bool | None

    @property
    def realtime(self) -> dict[str, Any]:
        """The claim about what is not shown."""
        return {"realtime": {"skipColumns": list(self.skipped)}} if self.skipped else {}

    @property
    def is_for_one_use(self) -> bool | None:
        """The claim `otu`; None where it is left out."""
        if self.one_time_use is None:
            return True if only_triggers(self.scopes) else None
        return True if self.one_time_use else (False if only_triggers(self.scopes) else None)


def check_life(expires_in: Any, expires_at: Any) -> tuple[int | None, int | None]:
    """Return seconds that a token lives, or epoch seconds when it ends.

    Raises:
        ValueError: it would have ended, or both are given.
    """
    if expires_at is None:
        return duration_seconds(check_duration(expires_in, "expires_in")), None
    if expires_in != USUAL_LIFE:
        raise ValueError("expires_at says when the token ends: expires_in can't too")
    if not isinstance(expires_at, datetime) or expires_at.utcoffset() is None:
        raise ValueError(f"expires_at must be an aware datetime, not {expires_at!r}")
    moment = int(expires_at.timestamp())
    if moment <= time.time():
        raise ValueError(f"expires_at has passed: {expires_at!r}")
    return None, moment


def public_token(grant: Grant, calls: BoundedCalls) -> str:
    """Return a token.

    Raises:
        ConfigurationError: the client's token can't make one.
        TriggerRealtimeError: the server did not say which environment it is for, or refused.
    """
    key = calls.current_token()
    if is_public_token(key):
        raise ConfigurationError(
            "a public access token can't make another one: access_token must be a secret key"
        )
    if is_additional_key(key):
        return _from_server(grant, calls)
    remembered = (calls.caller.origin.base_url, key, calls.caller.origin.preview_branch)
    claims = calls.memory.claims(remembered)
    if claims is None:
        request = Request(method="POST", path=CLAIMS_PATH, label="claims of a public token")
        claims, key = calls.send(request, _claims)
        calls.memory.put_claims((remembered[0], key, remembered[2]), claims)
    return _minted(grant, key, claims)


def _claims(reply: Reply) -> tuple[dict[str, Any], str]:
    """Return the claims that name the environment, and the key that they were asked for with."""
    reply.text_of("sub")
    if reply.token is None:
        raise UnreadableAnswer(f"{reply.label}: no token was sent")
    return reply.json(), reply.token


def _minted(grant: Grant, key: str, claims: dict[str, Any]) -> str:
    now = int(time.time())
    end = grant.expires_at if grant.life is None else now + grant.life
    if grant.is_for_one_use is None:
        granted = {"scopes": grant.scopes, **grant.realtime}
    else:
        granted = {"otu": grant.is_for_one_use, **grant.realtime, "scopes": grant.scopes}
    return mint(key, {**claims, **granted}, now, int(end or now))


def _from_server(grant: Grant, calls: BoundedCalls) -> str:
    body: dict[str, Any] = {"scopes": grant.scopes}
    if grant.expires_at is not None:
        body["expirationTime"] = grant.expires_at
    elif grant.life != USUAL_LIFE.total_seconds():
        # A number would be an instant, by our clock.
        body["expirationTime"] = f"{grant.life}s"
    if grant.is_for_one_use is not None:
        body["oneTimeUse"] = grant.is_for_one_use
    body.update(grant.realtime)
    request = Request(
        method="POST",
        path=PUBLIC_TOKENS_PATH,
        label="public token",
        body=dumps(body).encode(),
    )
    try:
        return calls.send(request, lambda reply: reply.text_of("token"))
    except NotFoundError as error:
        raise ConfigurationError(
            "this server makes no tokens for additional keys (tr_…_sk_…), which can't sign them"
            " themselves: use the environment's root key"
        ) from error
