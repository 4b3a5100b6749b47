"""The body of a request, by either framing (docs/protocol.md, section R1)."""

from __future__ import annotations

import re
from email.message import Message
from io import BufferedIOBase

# Bounds the line before each chunk.
_CHUNK_HEAD_BYTES = 100


def read_body(headers: Message, file: BufferedIOBase) -> bytes | None:
    """Return the body; None if it ends too early, or its framing is malformed.

    A server that does not get the whole body does nothing.
    """
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return _read_chunks(file)
    length = headers.get("Content-Length", "0")
    wanted = int(length) if length.isdecimal() else 0
    body = file.read(wanted)
    return body if len(body) == wanted else None


def _read_chunks(file: BufferedIOBase) -> bytes | None:
    pieces: list[bytes] = []
    while True:
        head = file.readline(_CHUNK_HEAD_BYTES).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", head):
            return None
        size = int(head, 16)
        piece = file.read(size)
        if len(piece) < size or file.readline(3) not in (b"\r\n", b"\n"):
            return None
        if not size:
            return b"".join(pieces)
        pieces.append(piece)
