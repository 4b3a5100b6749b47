"""Below HTTP: chunked bodies read by the packet instead of by the chunk, and heads read whole.

A v1 stream sends each part as a chunk, and http.client's `read1` returns one chunk at a time: many
calls for each of thousands of parts that arrived together.
"""

from __future__ import annotations

import http.client
import re
from typing import Any

from .heads import MOST_INTERIM, BadHead, HeadLines, framing_of

# Bytes that one read takes from the connection, unless the caller limits it.
READ_SIZE = 65536
# Bytes of a chunk's size line, and of all trailers together. Real ones have a few dozen; more means
# that the framing is broken, and must not fill the memory.
LONGEST_LINE = 4096
LONGEST_TRAILERS = 65536

_SIZE = re.compile(rb"[ \t]*0*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?")


class Dechunker:
    """Removes the framing of a chunked body. Pure; takes time linear in the bytes fed.

    Attributes:
        in_trailers: whether all data was seen, so that only the end of the trailers is missing.
        ended: whether the last chunk and its trailers were seen.
        broken: whether the framing was invalid. Nothing is decoded after that.
    """

    def __init__(self) -> None:
        self.ended = False
        self.broken = False
        self._left = 0
        self._line = b""
        self._ends_chunk = False
        self.in_trailers = False
        self._trailers = 0

    def feed(self, raw: bytes) -> bytes:
        """Take the next bytes of the connection; return the bytes of the body among them."""
        pieces: list[bytes] = []
        at, end, may_be_whole = 0, len(raw), True
        while at < end and not (self.ended or self.broken):
            if may_be_whole and self._is_at_a_size:
                may_be_whole = False
                at = self._take_whole(raw, at, pieces)
                continue
            if self._left:
                piece = raw[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            stop = raw.find(b"\n", at)
            if stop < 0:
                self._keep(raw[at:])
                break
            line = self._line + raw[at:stop] if self._line else raw[at:stop]
            self._line = b""
            at = stop + 1
            self._take_line(line)
        return b"".join(pieces)

    @property
    def _is_at_a_size(self) -> bool:
        return not (self._left or self._line or self._ends_chunk or self.in_trailers)

    def _take_whole(self, raw: bytes, at: int, pieces: list[bytes]) -> int:
        """Take all chunks that begin at `at` and end within `raw`, if none holds a line end.

        Split at line ends, every second line is then a chunk, and the line before it its size.
        Otherwise, and for the last chunk of a body, take nothing.

        Returns:
            Where the first chunk that was not taken begins.
        """
        lines = raw[at:].split(b"\r\n")
        chunks = lines[1:-1:2]
        sizes = lines[: 2 * len(chunks) : 2]
        lengths = list(map(len, chunks))
        if 0 in lengths or not any(
            sizes == [form % length for length in lengths] for form in (b"%x", b"%X")
        ):
            return at
        pieces += chunks
        # Each chunk has two line ends of two bytes.
        return at + sum(map(len, sizes)) + sum(lengths) + 4 * len(chunks)

    def _keep(self, rest: bytes) -> None:
        self._line += rest
        self.broken = len(self._line) > LONGEST_LINE

    def _take_line(self, line: bytes) -> None:
        if self.in_trailers:
            self._trailers += len(line) + 1
            self.ended = line in (b"", b"\r")
            self.broken = self._trailers > LONGEST_TRAILERS
        elif self._ends_chunk:
            self._ends_chunk = False
            self.broken = line not in (b"", b"\r")
        else:
            match = _SIZE.fullmatch(line)
            if match is None:
                self.broken = True
                return
            self._left = int(match[1], 16)
            self._ends_chunk = True
            self.in_trailers = not self._left


class EagerResponse(http.client.HTTPResponse):
    """A response that returns all of a chunked body that has arrived, and rejects a cut head."""

    _dechunker: Dechunker | None = None
    _interim = 0

    def begin(self) -> None:
        """Read the head.

        Raises:
            http.client.HTTPException: it was cut, which http.client itself takes for its end, or it
                does not tell where the body ends.
        """
        file: Any = self.fp
        lines: Any = HeadLines(file)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = file
        try:
            if lines.last not in (b"\r\n", b"\n"):
                raise http.client.IncompleteRead(b"")
            for name, value in lines.fields:
                self.headers.set_raw(name, value)
            self._set_framing()
        except http.client.HTTPException:
            self.close()
            raise

    def _set_framing(self) -> None:
        framing = framing_of(self.status, self.headers)
        self.chunked, self.length = framing.chunked, framing.length
        is_endless = not self.chunked and self.length is None
        self.will_close = self._check_close() or is_endless or framing.is_odd  # type: ignore[attr-defined]

    def _read_status(self) -> Any:
        lines: Any = self.fp
        if isinstance(lines, HeadLines):
            # Not where it is the answer of a proxy to CONNECT.
            lines.expect_status()
        version, status, reason = super()._read_status()  # type: ignore[misc]
        # http.client skips interim heads only if their status is 100 (Continue); it would take any
        # other for the answer, and the answer for that of the next request.
        if not 100 <= status < 200 or status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            return version, status, reason
        self._interim += 1
        if self._interim > MOST_INTERIM:
            raise BadHead
        return version, http.HTTPStatus.CONTINUE, reason

    def read1(self, n: int = -1) -> bytes:
        """Return what has arrived, at most `n` bytes; block until something has.

        Raises:
            http.client.IncompleteRead: the body was cut, or its framing is broken.
        """
        if not self.chunked or self.fp is None:
            return super().read1(n)
        dechunker = self._dechunker = self._dechunker or Dechunker()
        while not (dechunker.ended or dechunker.broken):
            raw = self.fp.read1(n if n > 0 else READ_SIZE)
            if not raw:
                break
            if data := dechunker.feed(raw):
                return data
        # No data is missing if only the blank line after the last chunk is.
        whole = dechunker.ended or (dechunker.in_trailers and not dechunker.broken)
        self.close()
        if not whole:
            raise http.client.IncompleteRead(b"")
        return b""
