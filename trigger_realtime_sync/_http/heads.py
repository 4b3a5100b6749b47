"""The heads of answers: their lines, and what they say about the end of the body.

http.client takes the first line that is no header for the end of all headers, and a body whose
length it can't read for one that ends with its connection: a kept-alive one never does.
"""

from __future__ import annotations

import http.client
import re
from email.message import Message
from typing import Any, NamedTuple

# Lines that are no headers, and interim heads, of one answer. Real ones have none, or one or two;
# more never end.
MOST_DROPPED = 100
MOST_INTERIM = 100
# Lines of the headers of one head, as many as http.client takes.
MOST_LINES = 100
# Digits of a Content-Length: an exabyte.
LONGEST_LENGTH = 18

# A header with its name, the rest of one, or the end of the head.
_LINE = re.compile(rb"([!-9;-~]+)[ \t]*:|[ \t]|\r?\n")

# What follows the last header: a blank line, or nothing where the head was cut.
_ENDS = (b"\r\n", b"\n", b"")


class BadHead(http.client.HTTPException):
    """A head that never ends."""


class BadContentLength(http.client.HTTPException):
    """A Content-Length that is no number, or several that differ."""


class HeadLines:
    """A file of which http.client reads heads line by line: status lines, and ends of heads. The
    headers between them are read here.

    http.client has them parsed as those of a mail, which takes a tenth of the time of a request.

    Attributes:
        last: the last line.
        fields: the names and values of the headers since the last status line.
    """

    def __init__(self, file: Any) -> None:
        self.file = file
        self.last = b""
        self.fields: list[tuple[str, str]] = []
        self._is_status = False
        self._dropped = 0

    def expect_status(self) -> None:
        """Return the next line as it is, since it should be a status line."""
        self._is_status = True
        self.fields.clear()

    def readline(self, limit: int = -1) -> bytes:
        """Return a status line where one is expected; else read all headers, and return what ends
        them.

        Raises:
            BadHead: too many lines are no headers.
            http.client.HTTPException: there are too many headers.
        """
        is_status = self._is_status
        for _ in range(MOST_LINES + 1):
            line = self._next(limit)
            if is_status or line in _ENDS or len(line) == limit:
                return line
            self._take(line.decode("iso-8859-1"))
        raise http.client.HTTPException(f"got more than {MOST_LINES} headers")

    def _take(self, line: str) -> None:
        """Add a header, or the rest of one."""
        if line[0] not in " \t":
            name, _, value = line.partition(":")
            self.fields.append((name, _one_line(value)))
        elif self.fields:
            name, value = self.fields[-1]
            self.fields[-1] = name, f"{value} {_one_line(line)}"

    def _next(self, limit: int) -> bytes:
        """Return the next line that is one of a head.

        Raises:
            BadHead: too many are not.
        """
        drops = False
        while True:
            line: bytes = self.file.readline(limit)
            self.last = line
            is_status, self._is_status = self._is_status, False
            if is_status or not line or len(line) == limit:
                return line
            match = _LINE.match(line)
            if match and not (drops and line[:1] in b" \t"):
                return line if match[1] is None else match[1] + b":" + line[match.end() :]
            drops = True
            self._dropped += 1
            if self._dropped > MOST_DROPPED:
                raise BadHead

    def close(self) -> None:
        self.file.close()


def _one_line(value: str) -> str:
    """Return a value without the blanks around it. A carriage return inside, which splits headers
    for some, is a blank (RFC 9112, section 2.2)."""
    return value.strip(" \t\r\n").replace("\r", " ")


class Framing(NamedTuple):
    """Where a body ends.

    Attributes:
        chunked: with its last chunk.
        length: after so many bytes. None: with its last chunk, or else with the connection.
        is_odd: whether what follows may be neither a body nor the next answer: another protocol, or
            the body that the headers of a 204 announce.
    """

    chunked: bool
    length: int | None
    is_odd: bool = False


def framing_of(status: int, headers: Message) -> Framing:
    """Return where the body of an answer ends.

    Raises:
        http.client.UnknownTransferEncoding: it is encoded in a way that nobody asked for.
        BadContentLength: its length can't be told.
    """
    encodings = {name.lower() for name in _listed(headers, "transfer-encoding")} - {"identity"}
    if not encodings <= {"chunked"}:
        raise http.client.UnknownTransferEncoding
    lengths = set(_listed(headers, "content-length")) if not encodings else set()
    if len(lengths) > 1 or not all(map(_is_length, lengths)):
        raise BadContentLength
    length = int(lengths.pop()) if lengths else None
    if status < 200 or status in (204, 304):
        # The length in a 304 is that of the body which it stands for.
        has_more = status == 204 and bool(encodings or length)
        return Framing(False, 0, is_odd=has_more or status < 200)
    return Framing(bool(encodings), length)


def _listed(headers: Message, name: str) -> list[str]:
    return [text.strip() for line in headers.get_all(name, ()) for text in line.split(",")]


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_LENGTH
