"""Idempotency keys as JavaScript makes them, so that both meet on one key.

Source: docs/protocol.md, section R2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import attrs

# A text of this many UTF-16 units passes for a key that was hashed already.
HASHED_LENGTH = 64


@attrs.frozen
class IdempotencyKey:
    """A key as the server compares it, and what the user wrote, if that was hashed."""

    hashed: str
    written: str | None

    @property
    def options(self) -> dict[str, Any]:
        """Its part of the options of a trigger or a batch."""
        if self.written is None:
            return {"idempotencyKey": self.hashed}
        shown = {"key": self.written, "scope": "run"}
        return {"idempotencyKey": self.hashed, "idempotencyKeyOptions": shown}

    def of_item(self, index: int) -> IdempotencyKey:
        """Return the key of an item of the batch that has this key, as JavaScript makes it."""
        return IdempotencyKey(_hash(f"{self.written or self.hashed}-{index}"), None)


def check_idempotency_key(value: Any, name: str = "idempotency_key") -> IdempotencyKey:
    """Return the key for a text or a sequence of texts.

    Raises:
        ValueError: it is empty, or something else. So is a set: its order, and with it the key,
            differs from process to process.
    """
    if isinstance(value, str):
        text = _check_part(value, name)
        if len(text.encode("utf-16-le")) == 2 * HASHED_LENGTH:
            return IdempotencyKey(text, None)
        return IdempotencyKey(_hash(text), text)
    if not isinstance(value, Sequence):
        raise ValueError(f"{name} must be text or a list of texts, not {type(value).__name__}")
    parts = [_check_part(part, name) for part in value]
    if not parts:
        raise ValueError(f"{name} is an empty list")
    written = "-".join(parts)
    return IdempotencyKey(_hash(written), written)


def _check_part(part: Any, name: str) -> str:
    if not isinstance(part, str):
        raise ValueError(f"{name} must be text or a list of texts, not hold {part!r}")
    if not part:
        raise ValueError(f"{name} is empty, or holds an empty text")
    try:
        part.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds a lone surrogate: {part!r}") from None
    return str.__str__(part)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
