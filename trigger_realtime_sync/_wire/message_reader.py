"""The body of an answer of the shape log, parsed while it arrives. Pure."""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import Any

from . import names as wire
from .json import stdlib_loads
from .shape_messages_fast import Inserts, only_inserts

_RUN_ID = wire.RUN_COLUMNS["id"]
# Stands between two messages. Within a string its quotes would be escaped.
_BOUNDARY = b'},{"key":'
# How many bytes are parsed at once: few enough for the L2 cache.
BLOCK_BYTES = 256 * 1024


def names_another_run(messages: Any, run_id: str) -> bool:
    """Return True if a row in what `MessageReader` returned is that of another run."""
    if isinstance(messages, Inserts):
        rows: list[Any] = list(messages.rows.values())
    elif isinstance(messages, list):
        rows = [message.get("value") for message in messages if isinstance(message, dict)]
    else:
        return False
    return any(isinstance(row, dict) and row.get(_RUN_ID, run_id) != run_id for row in rows)


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
        # A list of messages once one was not an insert.
        self._parsed: Inserts | list[Any] = Inserts({})

    @property
    def begins_as_array(self) -> bool:
        """True if the bytes so far can be the start of messages."""
        return bool(self._opening) or self._unparsed.lstrip()[:1] == b"["

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        self._unparsed += data
        if not self._opening and self._unparsed.startswith(BOM_UTF8):
            del self._unparsed[: len(BOM_UTF8)]
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
        return self._parsed

    def _parse_block(self) -> None:
        end = self._unparsed.rfind(_BOUNDARY) + 1
        messages = self._messages_before(end) if end else None
        if messages is None:
            self._enough = 2 * len(self._unparsed)
            return
        del self._unparsed[: end + 1]
        self._enough = BLOCK_BYTES
        self._opening = b"["
        self._take(messages)

    def _messages_before(self, end: int) -> list[Any] | None:
        """Return the messages; None, as it does not parse, for a boundary in a nested array."""
        try:
            return stdlib_loads(self._opening + self._unparsed[:end] + b"]")  # type: ignore[no-any-return]
        except ValueError:
            return None

    def _take(self, messages: list[Any]) -> None:
        if isinstance(self._parsed, Inserts):
            rows, inserts = self._parsed.rows, only_inserts(messages)
            if inserts is not None and rows.keys().isdisjoint(inserts.rows):
                rows.update(inserts.rows)
                self._parsed = Inserts(rows, inserts.up_to_date)
                return
            self._parsed = self._parsed.messages()
        self._parsed += messages
