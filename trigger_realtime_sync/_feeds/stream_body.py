"""One answer of a stream's server: what it was requested for, and how its body went."""

from __future__ import annotations

import math

import attrs

from .._clock import monotonic
from .._wire.stream_end import Writer

# `Timeout-Seconds` of a draining body, and of a piece: whole seconds of silence after which the
# server should end it. Short, because the run has finished, or because nothing arrives before the
# end. v2 can be asked not to wait at all; v1 would take that for its default.
DRAIN_TIMEOUT_SECONDS = 1
DRAIN_AT_ONCE = 0
# A v1 server that may wait no longer than this many seconds sends no ping before it closes a body,
# and so nothing separates what is left of a line from the parts before it.
NO_PING_SECONDS = 10
# A body without parts that ended sooner than this many seconds was not held.
HELD_SECONDS = 1.0


@attrs.define
class StreamBody:
    """One body of a stream. Times are of `time.monotonic()`.

    Attributes:
        timeout: seconds of silence after which the server should end the body.
        writer: what was known of the stream's writer when it was requested.
        draining: whether it should prove the end of the stream.
        is_piece: whether it is short because bodies are held back on the way.
        is_try: whether it is to show that they are no longer.
        patience: seconds without progress after which the server is taken to never end the body.
        last_part_at: when the last part came, or the body began.
        last_progress_at: when anything but a keep-alive was last processed, or the head came.
        seeks_tail: whether it was asked for in a way that v1 takes to wait for ever.
        version: of the format, once the head came.
        framed: whether the head tells where the body ends, other than with the connection.
        has_bytes: whether a byte came.
        has_parts: whether a part came.
        drained: whether it said that the stream has nothing more.
        stalled_seconds: how long a slow subscriber held up the reading, in all.
        left_early: whether the feed left it before its end, to go on with another body: it is in
            another format than the cursor asked for, say.
    """

    timeout: int
    writer: Writer = Writer.WORKING
    draining: bool = False
    is_piece: bool = False
    is_try: bool = False
    patience: float = math.inf
    started: float = attrs.field(factory=monotonic)
    last_part_at: float = attrs.field(factory=monotonic)
    last_progress_at: float = attrs.field(factory=monotonic)
    seeks_tail: bool = False
    version: str | None = None
    framed: bool = False
    has_bytes: bool = False
    has_parts: bool = False
    drained: bool = False
    stalled_seconds: float = 0.0
    left_early: bool = False

    @property
    def age(self) -> float:
        """Seconds since the request."""
        return monotonic() - self.started

    @property
    def is_silent(self) -> bool:
        """Whether no part came for so long that the server may be about to end the body."""
        return monotonic() - self.last_part_at > self.timeout / 2

    @property
    def was_held(self) -> bool:
        """Whether the server took its time to end it, so that the next one may follow at once."""
        return self.age >= HELD_SECONDS

    @property
    def was_stalled(self) -> bool:
        """Whether the rest must be read from a new body.

        While the subscriber stalled us a v1 server may have closed the body mid-line, and buffered
        bytes carry no time stamp.
        """
        return self.version == "v1" and self.stalled_seconds > self.timeout / 2

    @property
    def may_be_flushed(self) -> bool:
        """Whether what comes now may be the unfinished line that a v1 server sends at the end.

        It sends that after a silence of its own; a slow link may bring it without one.
        """
        # 0.9: two clocks.
        is_old = self.timeout <= NO_PING_SECONDS and self.age > self.timeout * 0.9
        return is_old or self.is_silent

    @property
    def proves_the_end(self) -> bool:
        """Whether nothing more is in the stream, once the body has ended.

        v2 says so in it. A v1 server closes after a silence: one that closed sooner was stopped.
        """
        is_quiet = self.version == "v2" or self.is_silent or not self.has_parts
        return self.draining and self.drained and is_quiet

    @property
    def may_be_cut(self) -> bool:
        """Whether nothing shows that it ended by itself: of v1, with no length and no silence."""
        is_whole = self.framed or self.version == "v2" or (self.has_bytes and self.is_silent)
        return not is_whole

    @property
    def is_out_of_patience(self) -> bool:
        """Whether the server should have ended the body long ago."""
        return monotonic() - self.last_progress_at >= self.patience
