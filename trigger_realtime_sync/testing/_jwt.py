"""Public access tokens: JWTs, signed with HS256 (docs/protocol.md, section R4)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Any

_HEADER = {"alg": "HS256"}
ISSUER = "https://id.trigger.dev"
AUDIENCE = "https://api.trigger.dev"


def sign(claims: Mapping[str, Any], key: str) -> str:
    """Return the token with these claims, signed with the text of the key."""
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in (_HEADER, claims))
    text = ".".join(_encode(part) for part in parts)
    return f"{text}.{_signature(text, key)}"


def claims_of(token: str) -> dict[str, Any] | None:
    """Return the claims of a token, unverified; None if it is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (json.loads(_decode(part)) for part in parts[:2])
    except ValueError:
        return None
    return claims if isinstance(header, dict) and isinstance(claims, dict) else None


def is_signed(token: str, keys: Iterable[str]) -> bool:
    """Return True if one of the keys has signed the token, by HS256."""
    text, _, signature = token.rpartition(".")
    try:
        header = json.loads(_decode(text.partition(".")[0]))
    except ValueError:
        return False
    if header.get("alg") != "HS256":
        return False
    given = signature.encode()
    return any(hmac.compare_digest(given, _signature(text, key).encode()) for key in keys)


def _signature(text: str, key: str) -> str:
    return _encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
