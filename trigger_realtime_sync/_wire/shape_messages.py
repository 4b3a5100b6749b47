"""The messages of the shape log: their JSON as it arrives, and whether they are sound. Pure.

Source: PROTOCOL, section 2.
"""

from __future__ import annotations

from typing import Any

import attrs

from ..errors import ProtocolError
from .json import loads_plain
from .shown import shown

# Between two messages. Within a string its quotes would be escaped.
_BOUNDARY = b'},{"key":'
# What is parsed at once: few enough bytes for the nearer caches of a processor.
BLOCK_BYTES = 256 * 1024


@attrs.frozen
class Inserts:
    """The messages of an answer that only inserts rows, each once, as a snapshot does.

    Attributes:
        rows: the columns by key.
        is_last: whether the answer is up to date at its end.
    """

    rows: dict[str, dict[str, Any]]
    is_last: bool

    def messages(self) -> list[Any]:
        """The same as any other answer would have it."""
        messages: list[Any] = [
            {"key": key, "value": value, "headers": {"operation": "insert"}}
            for key, value in self.rows.items()
        ]
        return [*messages, {"headers": {"control": "up-to-date"}}] if self.is_last else messages


class MessageReader:
    """Parses the body of an answer while it arrives.

    A snapshot may be many megabytes, of which only its rows are kept: what is around them is gone
    before the next block is parsed.
    """

    def __init__(self) -> None:
        self._unparsed = bytearray()
        self._enough = BLOCK_BYTES
        # Before what is parsed next: `[`, once the array that it is part of has been cut.
        self._opening = b""
        self._rows: dict[str, dict[str, Any]] = {}
        self._is_last = False
        # All messages so far, once there are others than inserts.
        self._messages: list[Any] | None = None

    @property
    def begins_as_array(self) -> bool:
        """Whether what came so far can be the start of messages."""
        return bool(self._opening) or self._unparsed.lstrip()[:1] == b"["

    def feed(self, data: bytes) -> None:
        """Takes in what has arrived."""
        self._unparsed += data
        if len(self._unparsed) >= self._enough:
            self._parse_block()

    def close(self) -> Any:
        """The body has ended. Returns `Inserts`, or else what its JSON is.

        Raises:
            ValueError: it is not JSON. The message holds none of it.
        """
        last = loads_plain(self._opening + self._unparsed)
        if not self._opening:
            return only_inserts(last) or last
        self._take(last)
        return Inserts(self._rows, self._is_last) if self._messages is None else self._messages

    def _parse_block(self) -> None:
        end = self._unparsed.rfind(_BOUNDARY) + 1
        messages = self._parsed(end) if end else None
        if messages is None:
            self._enough = 2 * len(self._unparsed)
            return
        del self._unparsed[: end + 1]
        self._enough = BLOCK_BYTES
        self._opening = b"["
        self._take(messages)

    def _parsed(self, end: int) -> list[Any] | None:
        """None where the boundary is one of an array deeper within: that does not parse."""
        try:
            return loads_plain(self._opening + self._unparsed[:end] + b"]")  # type: ignore[no-any-return]
        except ValueError:
            return None

    def _take(self, messages: list[Any]) -> None:
        inserts = only_inserts(messages) if self._messages is None else None
        if inserts is not None and self._rows.keys().isdisjoint(inserts.rows):
            self._rows.update(inserts.rows)
            self._is_last = inserts.is_last
            return
        if self._messages is None:
            self._messages = Inserts(self._rows, self._is_last).messages()
        self._messages += messages


def only_inserts(messages: Any) -> Inserts | None:
    """None for all other messages, sound or not."""
    if not isinstance(messages, list):
        return None
    rows: dict[str, dict[str, Any]] = {}
    controls = []
    try:
        for message in messages:
            if "key" not in message:
                controls.append(message)
                continue
            headers = message["headers"]
            if headers["operation"] != "insert" or "control" in headers:
                return None
            rows[message["key"]] = message["value"]
    except (TypeError, LookupError):
        return None
    if not rows or len(rows) + len(controls) < len(messages):
        return None
    if set(map(type, rows)) != {str} or set(map(type, rows.values())) != {dict}:
        return None
    if not all(map(_is_message, controls)) or has_control(controls, "must-refetch"):
        return None
    return Inserts(rows, is_last(messages))


def is_last(messages: list[Any]) -> bool:
    """Whether the answer is up to date at its end."""
    return bool(messages) and messages[-1]["headers"].get("control") == "up-to-date"


def has_control(messages: list[Any], control: str) -> bool:
    return any(message["headers"].get("control") == control for message in messages)


def check_messages(messages: Any, source: str) -> None:
    """Raises ProtocolError unless this is a list of messages of the shape log."""
    if not isinstance(messages, list):
        raise ProtocolError(f"{source}: the body is not a JSON array of messages")
    for message in messages:
        if not _is_message(message):
            raise ProtocolError(f"{source}: not a message of the shape log: {shown(message)}")


def _is_message(message: Any) -> bool:
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
