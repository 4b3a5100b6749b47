"""Deadlines of heads, and of bodies that have an end: a longest silence alone lets what dribbles
in, or interim heads without end, hold a thread for ever."""

from __future__ import annotations

import io
from typing import Any

from .._clock import monotonic
from .chunked import EagerResponse

# Seconds that a body with an end may take, or as many as it may be silent for if these are more.
BODY_SECONDS = 60.0
# Bytes of it for which it may take one second more, so that a large one passes over a slow line.
LEAST_RATE = 1024


class TimedReads(io.RawIOBase):
    """What a connection brings. Until `end_of_head`, all of it must come within the time that the
    connection may be silent for, and after `begin_body` at a least rate.

    Args:
        sock: the socket of the connection.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        silence: float | None = sock.gettimeout()
        self._deadline = None if silence is None else monotonic() + silence
        self._has_begun = False
        self._is_body = False

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a file to read from, as a socket does for http.client."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what has arrived; block until something has.

        Raises:
            TimeoutError: the head or the body is not whole in time, or the connection was silent
                for too long.
        """
        # Most heads come at once, and the socket's own time-out is right for the first bytes.
        if self._deadline is None or not self._has_begun:
            self._has_begun = True
            return self._raw.readinto(buffer)  # type: ignore[no-any-return]
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        silence: float | None = self._sock.gettimeout()
        is_short = silence is None or left < silence
        if is_short:
            self._sock.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        if is_short:
            self._sock.settimeout(silence)
        if self._is_body:
            self._deadline += (count or 0) / LEAST_RATE
        return count

    def end_of_head(self) -> None:
        """Let silence alone be bounded from now on."""
        self._deadline = None

    def begin_body(self) -> None:
        """Let the rest come at a least rate, as what has an end should."""
        self._is_body = True
        self._deadline = monotonic() + max(BODY_SECONDS, self._sock.gettimeout() or 0.0)

    def close(self) -> None:
        self._raw.close()
        super().close()


class TimedResponse(EagerResponse):
    """A response whose head has a deadline: that of an answer, and of a proxy's to CONNECT."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        self._reads = TimedReads(sock)
        super().__init__(self._reads, *args, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the head; for errors see `EagerResponse.begin` and `TimedReads.readinto`."""
        super().begin()
        self._reads.end_of_head()

    def has_an_end(self) -> None:
        """Give the body a deadline: it is none that goes on for as long as its writer does."""
        self._reads.begin_body()
