"""Answers read to a proven end, and the errors that failures below HTTP become."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3.exceptions

from .._clock import monotonic
from ..errors import ApiConnectionError, ConnectionUntrusted, ProtocolError
from .call import Call, Interrupted, Nudged
from .chunked import READ_SIZE
from .deadlines import TimedResponse
from .encoding import BadEncoding, Decoder, UnknownEncoding, decoder_of
from .retry import ForeignAnswer

# Bytes of one body, so that no server can exhaust the memory: a thousand runs of 256 KB each.
# Servers send smaller snapshots (Electric cuts at about 10 MB, native at 1,000 runs). A stored
# packet takes three times its size in memory; a snapshot, parsed as it arrives, little more.
MAX_BODY = 256 << 20
# Seconds that the start of an error page is read for, or may be silent: the status counts without
# it.
ERROR_PAGE_SECONDS = 10.0
# Statuses without a body, whatever their headers say.
BODILESS = (204, 304)
NETWORK_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
# What http.client says of a proxy that makes no tunnel, before it quotes that.
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: [0-9]{3}")


class Answer:
    """A response whose headers have arrived; as a context manager it closes itself.

    Args:
        call: the call that reads it.
        label: names the request in errors.

    """

    def __init__(self, response: requests.Response, call: Call, label: str) -> None:
        self._raw: Any = response.raw
        self._response = response
        self._call = call
        self._label = label
        self.status: int = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.framed = (
            "content-length" in self.headers
            or "chunked" in self.headers.get("transfer-encoding", "").lower()
            or self.status == 204
        )

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives, decoded. End only where the body proved to be whole.

        Raises:
            ApiConnectionError: the body was cut, does not decode, or was silent for longer than
                `Timeouts.read`.
            ForeignAnswer: its encoding is unknown.
            Interrupted: the call was cut off.
        """
        decoder = self._decoder()
        while data := self._read():
            if decoder is None:
                yield data
            else:
                yield from self._decode(decoder, data)
        self._call.check()
        if self._raw.length_remaining not in (0, None):
            raise ApiConnectionError(f"{self._label}: the body is shorter than its Content-Length")
        if decoder is not None and not decoder.ended:
            raise ApiConnectionError(f"{self._label}: the body ended within its content-encoding")

    def body(self) -> bytes:
        """Return the whole body; for errors see `body_chunks`."""
        return b"".join(self.body_chunks())

    def body_chunks(self) -> Iterator[bytes]:
        """Yield the body of what has an end as it arrives, up to `MAX_BODY` bytes.

        Raises:
            ProtocolError: the body is larger than that; for other errors see `chunks`.
            ApiConnectionError: it was slower than `deadlines` allows.
        """
        self._expect_the_end()
        size = 0
        for chunk in self.chunks():
            size += len(chunk)
            if size > MAX_BODY:
                raise ProtocolError(
                    f"{self._label}: the body is larger than {MAX_BODY} bytes;"
                    f" skip_columns makes it smaller"
                )
            yield chunk

    def _expect_the_end(self) -> None:
        response = getattr(self._raw, "_original_response", None)
        # Whatever stubs out connections makes responses of its own.
        if isinstance(response, TimedResponse):
            response.has_an_end()

    def text(self, limit: int = 10_000) -> str:
        """Return the start of the body, at most `limit` characters, for an error.

        Return what came within `ERROR_PAGE_SECONDS`, and an empty text if its encoding is unknown:
        the status counts without it.
        """
        start = bytearray()
        deadline = monotonic() + ERROR_PAGE_SECONDS
        self.limit_silence(ERROR_PAGE_SECONDS)
        try:
            for chunk in self.chunks():
                start += chunk
                if len(start) > limit or monotonic() > deadline:
                    break
        except ProtocolError:
            return ""
        return start[:limit].decode("utf-8-sig", "replace")

    def limit_silence(self, seconds: float) -> None:
        """Lower the read timeout for the rest of this body."""
        self._call.limit_silence(seconds)

    def set_silence(self, seconds: float) -> None:
        """Set the read timeout for the rest of this body."""
        self._call.set_silence(seconds)

    def close(self) -> None:
        """Return the connection to its pool if the body was read to its end, else drop it."""
        self._call.release()
        if self.status in BODILESS:
            self._read()
        self._response.close()

    def _decoder(self) -> Decoder | None:
        if self.status in BODILESS:
            return None
        try:
            return decoder_of(self.headers.get("content-encoding", ""))
        except UnknownEncoding as error:
            failure = ForeignAnswer(f"{self._label}: the body is in {error}")
        # Out here, where it gets no context: that would quote what the network said.
        raise failure

    def _decode(self, decoder: Decoder, data: bytes) -> Iterator[bytes]:
        try:
            yield from decoder.feed(data)
            return
        except BadEncoding as error:
            problem = f"the body does not decode by its content-encoding ({error})"
        raise ApiConnectionError(f"{self._label}: {problem}")

    def _read(self) -> bytes:
        try:
            return self._raw.read1(READ_SIZE, decode_content=False) or b""
        except NETWORK_ERRORS as error:
            failure = connection_error(error, self._call, self._label)
        # Out here, where it gets no context: that would quote what the network said.
        raise failure


def connection_error(error: Exception, call: Call, label: str) -> Exception:
    """Return the exception to raise for a failure below HTTP.

    It is Interrupted or Nudged if the call was cut off on purpose.
    """
    if call.interrupted:
        return Interrupted()
    if call.nudged:
        return Nudged()
    cause = innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConnectionUntrusted(
            f"{label}: the server's certificate is not trusted ({cause.verify_message})"
        )
    return ApiConnectionError(f"{label}: {call.mask.hide(_in_a_few_words(cause))}")


def innermost(error: BaseException) -> BaseException:
    """Return the root cause: the exceptions around it repeat the whole URL."""
    inner, seen = error, {id(error)}
    # What is below an error of http.client's quotes what the server sent.
    while not isinstance(inner, http.client.HTTPException):
        below = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(below, BaseException):
            below = inner.__cause__ or inner.__context__
        if not isinstance(below, BaseException) or id(below) in seen:
            return inner
        seen.add(id(below))
        inner = below
    return inner


def _in_a_few_words(inner: BaseException) -> str:
    if isinstance(inner, (TimeoutError, requests.Timeout)):
        return "timed out"
    name = type(inner).__name__
    refused = _TUNNEL_REFUSED.match(str(inner))
    if refused:
        return f"{name}: {refused[0]}"
    if isinstance(inner, OSError) and inner.errno is not None:
        return f"{name}: {inner}"[:300]
    # Any other may quote what the server sent, or the URL that it redirected to.
    return name
