"""A deadline for the head of an answer: a longest silence alone lets one that dribbles in, or
interim heads without end, hold a thread for ever."""

from __future__ import annotations

import io
from typing import Any

from .._clock import monotonic
from .chunked import EagerResponse


class HeadReads(io.RawIOBase):
    """What a connection brings. Until `end_of_head`, all of it must come within the time that the
    connection may be silent for.

    Args:
        sock: the socket of the connection.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._silence: float | None = sock.gettimeout()
        self._deadline = None if self._silence is None else monotonic() + self._silence
        self._has_begun = False

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a file to read from, as a socket does for http.client."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what has arrived; block until something has.

        Raises:
            TimeoutError: the head is not whole in time, or the connection was silent for too long.
        """
        # Most heads come at once, and the socket's own time-out is right for the first bytes.
        if self._deadline is None or not self._has_begun:
            self._has_begun = True
            return self._raw.readinto(buffer)  # type: ignore[no-any-return]
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        self._sock.settimeout(self._silence)
        return count

    def end_of_head(self) -> None:
        """Let silence alone be bounded from now on."""
        self._deadline = None

    def close(self) -> None:
        self._raw.close()
        super().close()


class TimedResponse(EagerResponse):
    """A response whose head has a deadline: that of an answer, and of a proxy's to CONNECT."""

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        self._reads = HeadReads(sock)
        super().__init__(self._reads, *args, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the head; for errors see `EagerResponse.begin` and `HeadReads.readinto`."""
        super().begin()
        self._reads.end_of_head()
