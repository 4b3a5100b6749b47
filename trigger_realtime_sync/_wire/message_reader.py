"""The body of an answer of the shape log, parsed while it arrives. Pure."""

from __future__ import annotations

from typing import Any

from .json import stdlib_loads
from .shape_messages_fast import Inserts, only_inserts

# Stands between two messages. Within a string its quotes would be escaped.
_BOUNDARY = b'},{"key":'
# How many bytes are parsed at once: few enough for the L2 cache.
BLOCK_BYTES = 256 * 1024


class MessageReader:
    """Parses the body of an answer while it arrives.

    A snapshot may be many megabytes, of which only the rows are kept: the messages around them are
    freed before the next block is parsed.
    """

    def __init__(self) -> None:
        self._unparsed = bytearray()
        self._enough = BLOCK_BYTES
        # Put before the next block: `[`, once the array has been cut.
        self._opening = b""
        self._rows: dict[str, dict[str, Any]] = {}
        self._is_last = False
        # All messages so far, once one was not an insert.
        self._messages: list[Any] | None = None

    @property
    def begins_as_array(self) -> bool:
        """True if the bytes so far can be the start of messages."""
        return bool(self._opening) or self._unparsed.lstrip()[:1] == b"["

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        self._unparsed += data
        if len(self._unparsed) >= self._enough:
            self._parse_block()

    def close(self) -> Any:
        """Return the messages of the body, which has ended: `Inserts`, or else its parsed JSON.

        Raises:
            ValueError: the body is not JSON. The message holds none of it.
        """
        last = stdlib_loads(self._opening + self._unparsed)
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
        """Return the messages; None, as it does not parse, for a boundary in a nested array."""
        try:
            return stdlib_loads(self._opening + self._unparsed[:end] + b"]")  # type: ignore[no-any-return]
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
