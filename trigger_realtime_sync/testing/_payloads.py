"""How a payload is stored, and what a task gets of it (docs/protocol.md, section R2)."""

from __future__ import annotations

import json
from typing import Any

from ._superjson import decode

# A payload as the server keeps it: its text, or None for no value, and its type.
Packet = tuple[str | None, str]


def stored(body: dict[str, Any], payload_type: str | None) -> Packet:
    """Return the payload of a single trigger as the server keeps it."""
    payload_type = payload_type or "application/json"
    if "payload" not in body:
        return None, payload_type
    payload = body["payload"]
    if payload_type == "application/json":
        # Encoded again: a text stays a text.
        return _to_text(payload), payload_type
    # What claims to be encoded and is no text is dropped.
    return payload if isinstance(payload, str) else None, payload_type


def stored_of_item(item: dict[str, Any], payload_type: str | None) -> Packet:
    """Return the payload of a batch's item, whose text is taken for encoded JSON."""
    payload = item.get("payload")
    if isinstance(payload, str):
        return payload, payload_type or "application/json"
    return stored(item, payload_type)


def value_of(packet: Packet) -> Any:
    """Return what a task gets, as Python has it; None where JavaScript has undefined."""
    text, payload_type = packet
    if not text:
        return None
    try:
        if payload_type == "application/super+json":
            return decode(text)
        if payload_type == "application/json":
            return json.loads(text)
    except (ValueError, TypeError, AttributeError, RecursionError):
        # Malformed: the server keeps what it got, and looks at nothing.
        return text
    return text


def _to_text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
