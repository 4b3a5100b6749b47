"""Public access tokens, signed as the official client signs them.

Source: docs/protocol.md, section R4.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

from .json import dumps

ISSUER = "https://id.trigger.dev"
AUDIENCE = "https://api.trigger.dev"
_HEADER = {"alg": "HS256"}
# A key made beside the root key of an environment. What it signs verifies nowhere.
_ADDITIONAL_KEY = re.compile(r"tr_(?:dev|stg|prod|preview)_sk_[0-9a-zA-Z]{24}")
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


def mint(key: str, claims: Mapping[str, Any], issued_at: int, expires_at: int) -> str:
    """Return a token with these claims.

    Args:
        key: the root key of the environment.
        issued_at, expires_at: epoch seconds.
    """
    payload = {**claims, "iss": ISSUER, "aud": AUDIENCE, "exp": expires_at, "iat": issued_at}
    signed = f"{_encoded(dumps(_HEADER).encode())}.{_encoded(dumps(payload).encode())}"
    signature = hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encoded(signature)}"


def is_additional_key(token: str) -> bool:
    """Return True if this key can't sign tokens, so that the server has to."""
    return _ADDITIONAL_KEY.fullmatch(token) is not None


def is_public_token(token: str) -> bool:
    """Return True if this is a public access token, and no secret key."""
    return _JWT.fullmatch(token) is not None


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
