"""Encoded bodies, decoded to the end mark of their encoding.

The framing of a body does not prove that it is whole: what cut an encoded body on its way may have
framed the rest anew, and the decoders of urllib3 take that for the end.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .chunked import READ_SIZE

# The one encoding to ask for: every server has it, and no package is needed to decode it.
ACCEPTED = "gzip"
# Names that say nothing about the bytes: some object stores return how an object was uploaded, and
# some servers a charset.
NO_ENCODINGS = frozenset({"", "identity", "none", "utf-8", "aws-chunked"})
# Bytes in a row that may decode to nothing, as empty blocks do. Without end they would escape the
# limit of a body, which counts what it decodes to.
LONGEST_VOID = 1 << 20


class UnknownEncoding(Exception):
    """No decoder is there for a body. The message names its encoding, to follow "is in"."""


class BadEncoding(Exception):
    """Bytes are not what their encoding says."""


class _Stream(Protocol):
    """A compressed stream, decoded about `READ_SIZE` bytes at a time.

    Attributes:
        error: what `take` raises for corrupt bytes.
        has_more: whether bytes taken earlier decode to more.
        ended: whether the end mark was seen; it matched all that came before.
        rest: the bytes after it.
    """

    @property
    def error(self) -> type[Exception]: ...
    @property
    def has_more(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    @property
    def rest(self) -> bytes: ...
    def take(self, data: bytes) -> bytes: ...


class Decoder:
    """Decodes a body. Pure; keeps no more than the bytes it was fed last.

    Args:
        new_stream: makes the decoder of a compressed stream.
        several: whether one stream may follow another. Zeros may follow the last one.
    """

    def __init__(self, new_stream: Callable[[], _Stream], *, several: bool) -> None:
        self._new_stream = new_stream
        self._several = several
        self._stream = new_stream()
        self._void = 0

    @property
    def ended(self) -> bool:
        """Whether the bytes fed so far are a whole body."""
        return self._stream.ended

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body; yield what they decode to, about 64 KiB at a time.

        Raises:
            BadEncoding: they are corrupt, or more follows the end mark.
        """
        self._void += len(data)
        while data or self._stream.has_more:
            if self._stream.ended:
                data = data.lstrip(b"\0")
                if not data:
                    break
                self._begin_another()
            piece = self._take(data)
            data = self._stream.rest
            if piece:
                self._void = 0
                yield piece
        if self._void > LONGEST_VOID:
            raise BadEncoding("it decodes to nothing")

    def _begin_another(self) -> None:
        if not self._several:
            raise BadEncoding("more follows its end")
        self._stream = self._new_stream()

    def _take(self, data: bytes) -> bytes:
        try:
            return self._stream.take(data)
        except self._stream.error as error:
            raise BadEncoding(type(error).__name__) from None


def decoder_of(content_encoding: str) -> Decoder | None:
    """Return the decoder for a Content-Encoding header, or None if there is nothing to decode.

    Raises:
        UnknownEncoding: there is none, or there are several encodings: each multiplies what a few
            bytes decode to.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    names = [name for name in names if name not in NO_ENCODINGS]
    if not names:
        return None
    if len(names) > 1:
        raise UnknownEncoding("more than one content-encoding")
    make = _DECODERS.get(names[0])
    if make is None:
        # Not named: the text is the server's.
        raise UnknownEncoding("an unknown content-encoding")
    return make()


class _Zlib:
    """A member of gzip, or a stream of deflate."""

    error = zlib.error

    def __init__(self, wbits: int) -> None:
        self._inflate = zlib.decompressobj(wbits)
        self.has_more = False

    @property
    def ended(self) -> bool:
        return self._inflate.eof

    @property
    def rest(self) -> bytes:
        return self._inflate.unused_data

    def take(self, data: bytes) -> bytes:
        piece = self._inflate.decompress(self._inflate.unconsumed_tail + data, READ_SIZE)
        # zlib may have taken all input and still keep what exceeds the limit.
        self.has_more = not self.ended and len(piece) == READ_SIZE
        return piece


class _Deflate:
    """A stream of deflate with zlib's header, as HTTP says, or without, as some servers send it."""

    error = zlib.error

    def __init__(self) -> None:
        self._start = b""
        self._zlib: _Zlib | None = None

    @property
    def has_more(self) -> bool:
        return self._zlib is not None and self._zlib.has_more

    @property
    def ended(self) -> bool:
        return self._zlib is not None and self._zlib.ended

    @property
    def rest(self) -> bytes:
        return b"" if self._zlib is None else self._zlib.rest

    def take(self, data: bytes) -> bytes:
        if self._zlib is None:
            self._start += data
            if len(self._start) < 2:
                return b""
            self._zlib, data = _Zlib(_deflate_wbits(self._start)), self._start
        return self._zlib.take(data)


def _deflate_wbits(start: bytes) -> int:
    # Without zlib's header the first block would be a stored one whose padding is not zero.
    has_header = start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


class _Brotli:
    """A stream of Brotli. More after its end is an error of the package's."""

    rest = b""

    def __init__(self, module: Any) -> None:
        self.error: type[Exception] = module.error
        self._decompressor = module.Decompressor()

    @property
    def has_more(self) -> bool:
        return not (self.ended or self._decompressor.can_accept_more_data())

    @property
    def ended(self) -> bool:
        return bool(self._decompressor.is_finished())

    def take(self, data: bytes) -> bytes:
        piece: bytes = self._decompressor.process(data, output_buffer_limit=READ_SIZE)
        return piece


class _Zstd:
    """A frame of Zstandard."""

    def __init__(self, module: Any) -> None:
        self.error: type[Exception] = module.ZstdError
        self._decompressor = module.ZstdDecompressor()

    @property
    def has_more(self) -> bool:
        return not (self.ended or self._decompressor.needs_input)

    @property
    def ended(self) -> bool:
        return bool(self._decompressor.eof)

    @property
    def rest(self) -> bytes:
        rest: bytes = self._decompressor.unused_data if self.ended else b""
        return rest

    def take(self, data: bytes) -> bytes:
        piece: bytes = self._decompressor.decompress(data, READ_SIZE)
        return piece


def _gzip() -> Decoder:
    return Decoder(lambda: _Zlib(16 + zlib.MAX_WBITS), several=True)


def _deflate() -> Decoder:
    return Decoder(_Deflate, several=False)


def _brotli() -> Decoder:
    module = _first_of("brotlicffi", "brotli")
    # Older ones can't bound what they return.
    if not hasattr(getattr(module, "Decompressor", None), "can_accept_more_data"):
        raise UnknownEncoding("the content-encoding br, which Brotli>=1.2 would decode")
    return Decoder(lambda: _Brotli(module), several=False)


def _zstd() -> Decoder:
    module = _first_of("compression.zstd", "backports.zstd")
    if module is None:
        raise UnknownEncoding("the content-encoding zstd, which backports.zstd would decode")
    return Decoder(lambda: _Zstd(module), several=True)


def _first_of(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


# Never asked for but gzip; some servers and object stores send others all the same.
_DECODERS: dict[str, Callable[[], Decoder]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
