"""The messages of the shape log, and whether they are sound. Pure.

Source: docs/protocol.md, section 2.
"""

from __future__ import annotations

from typing import Any

from ..errors import ProtocolError
from . import names as wire
from .excerpt import excerpt


def up_to_date_of(messages: list[Any]) -> dict[str, Any] | None:
    """Return the headers of the `up-to-date` that ends the answer; None if another message does."""
    if not messages or control_of(messages[-1]) != "up-to-date":
        return None
    headers: dict[str, Any] = messages[-1]["headers"]
    return headers


def ends_within(messages: list[Any]) -> bool:
    """Return True if the last row of the answer is not the last one of its transaction."""
    rows = (message["headers"] for message in reversed(messages) if "key" in message)
    headers: dict[str, Any] = next(rows, {})
    return wire.LSN in headers and not headers.get(wire.LAST_OF_TRANSACTION)


def control_of(message: dict[str, Any]) -> Any:
    return message["headers"].get("control")


def check_messages(messages: Any, source: str) -> None:
    """Raise ProtocolError unless this is a list of messages of the shape log."""
    if not isinstance(messages, list):
        raise ProtocolError(f"{source}: the body is not a JSON array of messages")
    for message in messages:
        if not is_message(message):
            raise ProtocolError(f"{source}: not a message of the shape log: {excerpt(message)}")


def is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("headers"), dict):
        return False
    if "key" not in message:
        return True
    operation = message["headers"].get("operation")
    if not isinstance(message["key"], str):
        return False
    if operation == "delete":
        return True
    return operation in ("insert", "update") and isinstance(message.get("value"), dict)
