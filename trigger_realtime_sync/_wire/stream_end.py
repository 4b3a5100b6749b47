"""When the stream of a finished run is over, and when to give it up (docs/protocol.md, section 4).

A body that ends says that the server stopped waiting. That nothing more will come is shown only by
a *proven end*, read after the writer had stopped. Pure: times are passed in, in seconds of a clock
that never goes back.
"""

from __future__ import annotations

import enum

LEAST_READS = 3
"""How many reads must have proved no end before a stream is given up."""

QUIET_SECONDS = 2.0
"""How long after a proven end a stream is looked at again whose writer may outlive the run."""

LATE_SECONDS = 30.0
"""How long after the end of its run a writer may write on."""


class Writer(enum.Enum):
    """What is known of whoever writes a stream: the task of its run.

    WORKING: the run has not finished.
    STOPPING: it was cancelled, and its task has not stopped yet.
    UNCERTAIN: it failed, and its process may not know that yet.
    GONE: nothing more will be written.
    """

    WORKING = enum.auto()
    STOPPING = enum.auto()
    UNCERTAIN = enum.auto()
    GONE = enum.auto()


class EndPatience:
    """How long the end of one stream is waited for once its run has finished.

    Args:
        seconds: since the first read that proved no end.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since: float | None = None
        self._reads = 0

    def restart(self) -> None:
        """Start anew: a part came, or the end was proven."""
        self._since = None
        self._reads = 0

    def proved_nothing(self, now: float, asked: float = 0.0) -> bool:
        """Count a read that proved no end. Return True if it was the last attempt.

        Args:
            asked: how many seconds the server asks to wait before the next one.
        """
        if self._since is None:
            self._since = now
        self._reads += 1
        ends = self._since + self.seconds
        if asked > 0 and now + asked > ends:
            return True
        return self._reads >= LEAST_READS and now >= ends

    def longest_pause(self, now: float) -> float:
        """Return how many seconds may pass before the next attempt, so that there are enough."""
        share = self.seconds / (LEAST_READS + 1)
        left = 0.0 if self._since is None else self._since + self.seconds - now
        return min(share, left) if left > 0 else share


class StreamEnd:
    """Decides, read by read, whether a stream is over.

    Attributes:
        was_proven: whether its end was proven once since its run finished.
    """

    def __init__(self) -> None:
        self.was_proven = False
        self._first_at = 0.0
        self._news = True
        self._may_be_over = False

    def has_news(self) -> None:
        """Note that a part came."""
        self._news = True
        self._may_be_over = False

    def is_sought(self, writer: Writer) -> bool:
        """Return True if the next body should prove the end; False if it should be followed."""
        if writer is Writer.WORKING:
            return False
        return writer is not Writer.STOPPING or not self.was_proven

    def is_confirmed(self) -> bool:
        """Take a body without a part that ended as a cut one would. Return True if it is not the
        first one since the last part: only a second one confirms it."""
        was_first, self._may_be_over = not self._may_be_over, True
        return not was_first

    def proven(self, writer: Writer, now: float) -> float | None:
        """Take a proven end. Return None if the stream is over, else the seconds until the next
        look at it.

        Args:
            writer: what was known when the body was requested.
        """
        is_first, self.was_proven = not self.was_proven, True
        news, self._news = self._news, False
        if is_first:
            self._first_at = now
        if writer is Writer.STOPPING:
            return 0.0
        if writer is Writer.GONE:
            return None
        is_settled = not is_first and (not news or now - self._first_at >= LATE_SECONDS)
        return None if is_settled else QUIET_SECONDS
