"""The body of a request, by either framing (docs/protocol.md, section R1)."""

from __future__ import annotations

import re
from email.message import Message
from io import BufferedIOBase

# Bounds the line before each chunk.
_CHUNK_HEAD_BYTES = 100
# The most that is read at a time.
_PIECE_BYTES = 65_536


def read_body(headers: Message, file: BufferedIOBase) -> tuple[bytes, bool]:
    """Return the body, and whether it is whole: it may end too early, or be framed wrongly."""
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return _read_chunks(file)
    length = headers.get("Content-Length", "0")
    wanted = int(length) if length.isdecimal() else 0
    body = _read(file, wanted)
    return body, len(body) == wanted


def _read_chunks(file: BufferedIOBase) -> tuple[bytes, bool]:
    pieces: list[bytes] = []
    while True:
        head = _read_line(file).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", head):
            return b"".join(pieces), False
        size = int(head, 16)
        pieces.append(_read(file, size))
        if len(pieces[-1]) < size or _read_line(file) not in (b"\r\n", b"\n"):
            return b"".join(pieces), False
        if not size:
            return b"".join(pieces), True


def _read(file: BufferedIOBase, size: int) -> bytes:
    """Return that many bytes, or what came of them before the client left."""
    pieces: list[bytes] = []
    while size:
        try:
            piece = file.read1(min(size, _PIECE_BYTES))
        except OSError:
            break
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _read_line(file: BufferedIOBase) -> bytes:
    try:
        return file.readline(_CHUNK_HEAD_BYTES)
    except OSError:
        return b""
