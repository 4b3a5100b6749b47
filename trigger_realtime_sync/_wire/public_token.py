"""What can be read of a public access token without its key.

Source: docs/protocol.md, section R4.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from .json import loads

SECRET_KEY = "tr_"
"""How the secret keys of an environment begin; no public token does."""


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified; empty where none can be read."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = loads(text)
    except (ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def issued_at(token: str) -> float | None:
    """Return when a token was made, in epoch seconds, if it says so."""
    made = claims_of(token).get("iat")
    return float(made) if isinstance(made, (int, float)) and not isinstance(made, bool) else None
