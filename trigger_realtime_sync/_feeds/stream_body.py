"""One answer of a stream's server: what it was requested for, and how its body went."""

from __future__ import annotations

import math
import time

import attrs


@attrs.define
class StreamBody:
    """One body of a stream. Times are of `time.monotonic()`.

    Attributes:
        timeout: seconds of silence after which the server should end the body.
        draining: whether it was requested after the run had finished.
        patience: seconds without progress after which the server is taken to never end the body.
        last_part_at: when the last part came, or the body began.
        last_progress_at: when anything but a keep-alive was last processed, or the head came.
        answered: whether the head came.
        framed: whether the head tells where the body ends, other than with the connection.
        has_bytes: whether a byte came.
        has_parts: whether a part came.
        drained: whether it said that the stream has nothing more.
        stalled_seconds: how long a slow subscriber held up the reading, in all.
        left_early: whether the feed left it before its end, to go on with another body: it is in
            another format than the cursor asked for, say.
    """

    timeout: int
    draining: bool = False
    patience: float = math.inf
    started: float = attrs.field(factory=time.monotonic)
    last_part_at: float = attrs.field(factory=time.monotonic)
    last_progress_at: float = attrs.field(factory=time.monotonic)
    answered: bool = False
    framed: bool = False
    has_bytes: bool = False
    has_parts: bool = False
    drained: bool = False
    stalled_seconds: float = 0.0
    left_early: bool = False

    @property
    def age(self) -> float:
        """Seconds since the request."""
        return time.monotonic() - self.started

    @property
    def is_silent(self) -> bool:
        """Whether no part came for so long that the server may be about to end the body."""
        return time.monotonic() - self.last_part_at > self.timeout / 2

    @property
    def is_out_of_patience(self) -> bool:
        """Whether the server should have ended the body long ago."""
        return time.monotonic() - self.last_progress_at >= self.patience

    @property
    def shows_the_end(self) -> bool:
        """Whether the stream of a finished run is drained, once the body has ended."""
        is_quiet = self.is_silent or self.is_out_of_patience or not self.has_parts
        return self.draining and (self.drained or is_quiet)
