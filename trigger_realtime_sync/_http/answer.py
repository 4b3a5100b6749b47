"""An answer that is read to a proven end, and what a failure below HTTP means."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import Any

import requests
import urllib3.exceptions

from ..errors import ApiConnectionError, ConfigurationError, ProtocolError
from .call import Call, Interrupted, Nudged

READ_SIZE = 65536
# Larger than the snapshots that servers send in one answer (Electric cuts at about 10 MB, native at
# 1,000 runs): a thousand runs of 256 KB each. A stored packet of so much takes three times that of
# memory, a snapshot as servers send it, which is parsed as it arrives, little more.
MAX_BODY = 256 << 20
NETWORK_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


class Answer:
    """A response whose headers have arrived. Read it to its end, or close it."""

    def __init__(self, response: requests.Response, call: Call, source: str) -> None:
        self._raw: Any = response.raw
        self._response = response
        self._call = call
        self._source = source
        self.status: int = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.framed = (
            "content-length" in self.headers
            or "chunked" in self.headers.get("transfer-encoding", "").lower()
            or self.status == 204
        )

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, decoded. Ends only where the body proved to be whole.

        Raises:
            ApiConnectionError: the body was cut, or silent for longer than `Timeouts.read`.
            Interrupted: the call was cut off.
        """
        while data := self._read():
            yield data
        self._call.check()
        if self._raw.length_remaining not in (0, None):
            raise ApiConnectionError(f"{self._source}: the body is shorter than its Content-Length")

    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.body_chunks())

    def body_chunks(self) -> Iterator[bytes]:
        """The same as it arrives, up to `MAX_BODY` bytes."""
        size = 0
        for chunk in self.chunks():
            size += len(chunk)
            if size > MAX_BODY:
                raise ProtocolError(
                    f"{self._source}: the body is larger than {MAX_BODY} bytes;"
                    f" skip_columns makes it smaller"
                )
            yield chunk

    def text(self, limit: int = 10_000) -> str:
        """The start of the body, for an error."""
        parts: list[bytes] = []
        size = 0
        for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                break
        return b"".join(parts)[:limit].decode("utf-8", "replace")

    def limit_silence(self, seconds: float) -> None:
        """Of what is left of the body, in place of a longer `Timeouts.read`."""
        self._call.limit_silence(seconds)

    def close(self) -> None:
        """Gives the connection back if the body was read to its end, else drops it."""
        self._call.release()
        self._response.close()

    def _read(self) -> bytes:
        try:
            return self._raw.read1(READ_SIZE, decode_content=True) or b""
        except NETWORK_ERRORS as error:
            raise connection_error(error, self._call, self._source) from None


def connection_error(error: Exception, call: Call, source: str) -> Exception:
    """What to raise for a failure below HTTP: Interrupted where we caused it ourselves."""
    if call.interrupted:
        return Interrupted()
    if call.nudged:
        return Nudged()
    cause = innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"{source}: the server's certificate is not trusted ({cause.verify_message});"
            f" verify= takes the path of the authority's certificate"
        )
    return ApiConnectionError(f"{source}: {_in_a_few_words(cause)}")


def innermost(error: BaseException) -> BaseException:
    """The first cause: the outer ones repeat the whole URL."""
    inner: BaseException = error
    seen = {id(inner)}
    while True:
        below = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(below, BaseException):
            below = inner.__cause__ or inner.__context__
        if not isinstance(below, BaseException) or id(below) in seen:
            break
        seen.add(id(below))
        inner = below
    return inner


def _in_a_few_words(inner: BaseException) -> str:
    if isinstance(inner, (TimeoutError, requests.Timeout)):
        return "timed out"
    if isinstance(inner, (urllib3.exceptions.HTTPError, http.client.HTTPException)):
        # Some quote what the server sent.
        return type(inner).__name__
    return f"{type(inner).__name__}: {inner}"[:300]
