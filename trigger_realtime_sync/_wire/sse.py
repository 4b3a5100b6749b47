"""Server-Sent Events: bytes in, whole events out (docs/protocol.md, section 4).

This file finds where an event ends in bytes that arrive in any pieces, and never returns one that
was cut off; sseclient-py does neither. It reads the fields of all events but the usual ones: pings,
errors, `[DONE]`, comments, and whatever a proxy or a new server frames otherwise. Parts of v1 and
batches of v2 go through `sse_fast`, which says what they would cost otherwise.
"""

from __future__ import annotations

import sseclient

from ..errors import ProtocolError
from .sse_fast import Event, usual_events

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""The longest event that is accepted. The protocol's largest hold 1 MiB before escaping."""

MAX_EVENT_LINES = 64
"""How many lines of an event, comments aside, are accepted; the protocol's have three. For each
line sseclient-py copies what it has read of the event, so many would take quadratic time."""

_LINE_END = ord("\n")
_BOM = b"\xef\xbb\xbf"


class EventFramer:
    """Cuts one body into events. Time and memory are linear in the bytes fed.

    Attributes:
        ends_with_event: whether the last byte fed ended an event that was returned.
        after_comment: whether a comment, which servers send in silences, came right before that
            event.
    """

    def __init__(self) -> None:
        self.ends_with_event = False
        self.after_comment = False
        self._commented = False
        self._pending: list[bytes] = []
        self._size = 0
        self._at_line_start = True
        self._after_cr = False
        self._start: bytes | None = b""

    @property
    def is_within_event(self) -> bool:
        """True while an event has begun and not ended."""
        return bool(self._pending)

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
        # Searching for single characters is fast: a v2 batch has three line ends in megabytes.
        at = chunk.rfind(b"\n")
        while at > 0 and chunk[at - 1] != _LINE_END:
            at = chunk.rfind(b"\n", 0, at)
        if at > 0:
            return at + 1
        return int(self._at_line_start and at == 0)

    def _keep(self, rest: bytes) -> None:
        self._pending.append(rest)
        self._size += len(rest)
        _check_size(self._size)

    def _parse(self, whole: bytes) -> list[Event]:
        if len(whole) > MAX_EVENT_BYTES:
            _check_size(max(map(len, whole.split(b"\n\n"))))
        text = whole.decode("utf-8", "replace")
        events = usual_events(text)
        if events is not None:
            self.ends_with_event = True
            self.after_comment = self._commented and len(events) == 1
            self._commented = False
            return events
        *blocks, last = text.split("\n\n")
        if not blocks:
            return []
        last_event = _any_events(blocks[-1:])
        self.ends_with_event = bool(last_event) and not last
        commented = [self._commented, *map(_is_comment, blocks[-2:])]
        self.after_comment, self._commented = commented[-2:]
        return _any_events(blocks[:-1]) + last_event if len(blocks) > 1 else last_event


def _check_size(size: int) -> None:
    if size > MAX_EVENT_BYTES:
        raise ProtocolError(f"an event of the stream is longer than {MAX_EVENT_BYTES} bytes")


def _is_comment(block: str) -> bool:
    return block.lstrip("\n").startswith(":")


def _any_events(blocks: list[str]) -> list[Event]:
    raw = [_bounded(block).encode() + b"\n\n" for block in blocks]
    return [(e.id, e.data, e.event) for e in sseclient.SSEClient(iter(raw)).events()]


def _bounded(block: str) -> str:
    if block.count("\n") < MAX_EVENT_LINES:
        return block
    lines = [line for line in block.split("\n") if line and not line.startswith(":")]
    if len(lines) > MAX_EVENT_LINES:
        raise ProtocolError(f"an event of the stream has more than {MAX_EVENT_LINES} lines")
    return "\n".join(lines)
