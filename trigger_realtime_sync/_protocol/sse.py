"""Server-Sent Events: bytes in, whole events out (protocol section 4).

sseclient-py reads the fields of an event. What stands before it here is what it leaves to others:
finding where an event ends in bytes that arrive in any pieces, and never handing out one that
was cut off.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import sseclient

from ..errors import ProtocolError

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""An event longer than this is refused. The protocol's largest hold 1 MiB before escaping."""

MAX_EVENT_LINES = 64
"""An event of more lines (comments aside) is refused: sseclient-py copies what it has read of an
event for each further line, so many lines would take quadratic time. The protocol's have three."""

_BOM = b"\xef\xbb\xbf"
_PLAIN = re.compile(r"id: ([^\n]*)\ndata: ([^\n]*)")


class Event(NamedTuple):
    """One event: its name (`"message"` when it has none), data, and id if it has one."""

    name: str
    data: str
    id: str | None


class EventFramer:
    """Cuts one body into events. Time and memory are linear in the bytes fed.

    Attributes:
        ends_with_event: whether the last byte fed ended an event that was handed out.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.ends_with_event = False
        self._max_event_bytes = max_event_bytes
        self._pending: list[bytes] = []
        self._size = 0
        self._at_line_start = True
        self._after_cr = False
        self._start: bytes | None = b""

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes; return the events whose blank line has now arrived.

        Line ends may be LF, CRLF or CR. Bytes that are not UTF-8 are replaced by U+FFFD.

        Raises:
            ProtocolError: an event is too long, or has too many lines. The body is no use then.
        """
        chunk = self._normalized(chunk)
        if not chunk:
            return []
        self.ends_with_event = False
        end = self._end_of_events(chunk)
        self._at_line_start = chunk.endswith(b"\n")
        if not end:
            self._keep(chunk)
            return []
        self._pending.append(chunk[:end])
        whole = b"".join(self._pending)
        self._pending, self._size = [], 0
        events = self._parse(whole)
        if end < len(chunk):
            self.ends_with_event = False
            self._keep(chunk[end:])
        return events

    def _normalized(self, chunk: bytes) -> bytes:
        if self._start is not None:
            chunk = self._without_bom(chunk, self._start)
        if not chunk:
            return chunk
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _without_bom(self, chunk: bytes, start: bytes) -> bytes:
        chunk = start + chunk
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._start = chunk
            return b""
        self._start = None
        return chunk[len(_BOM) :] if chunk.startswith(_BOM) else chunk

    def _end_of_events(self, chunk: bytes) -> int:
        at = chunk.rfind(b"\n\n")
        if at >= 0:
            return at + 2
        return int(self._at_line_start and chunk.startswith(b"\n"))

    def _keep(self, rest: bytes) -> None:
        self._pending.append(rest)
        self._size += len(rest)
        self._check_size(self._size)

    def _check_size(self, size: int) -> None:
        if size > self._max_event_bytes:
            raise ProtocolError(
                f"an event of the stream is longer than {self._max_event_bytes} bytes"
            )

    def _parse(self, whole: bytes) -> list[Event]:
        blocks = whole.decode("utf-8", "replace").split("\n\n")
        if len(whole) > self._max_event_bytes:
            self._check_size(max(map(len, whole.split(b"\n\n"))))
        last = blocks.pop()
        events = []
        event = None
        for block in blocks:
            event = _plain_event(block) or _any_event(block)
            if event is not None:
                events.append(event)
        self.ends_with_event = event is not None and not last
        return events


def _plain_event(block: str) -> Event | None:
    """The frame of a v1 part, `id: …` and `data: …`, without sseclient-py's cost; None if other."""
    match = _PLAIN.fullmatch(block)
    return Event("message", match[2], match[1]) if match else None


def _any_event(block: str) -> Event | None:
    if block.count("\n") >= MAX_EVENT_LINES:
        block = _without_comments(block)
    raw = block.encode() + b"\n\n"
    for event in sseclient.SSEClient(iter([raw])).events():
        return Event(event.event, event.data, event.id)
    return None


def _without_comments(block: str) -> str:
    lines = [line for line in block.split("\n") if line and not line.startswith(":")]
    if len(lines) > MAX_EVENT_LINES:
        raise ProtocolError(f"an event of the stream has more than {MAX_EVENT_LINES} lines")
    return "\n".join(lines)
