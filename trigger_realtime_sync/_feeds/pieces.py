"""How a stream is read where something on the way holds bodies back: in short ones, the pieces.

A long body never arrives there while parts come. v2 can be asked for what it has at once; a v1 body
can only be asked to end after a short silence. Source: docs/protocol.md, section 4 ("A proxy that
buffers").
"""

from __future__ import annotations

import logging

from .._http.retry import DoublingPause
from .._wire.stream_end import Writer
from .buffering import Buffering
from .stream_body import DRAIN_AT_ONCE, DRAIN_TIMEOUT_SECONDS, StreamBody

logger = logging.getLogger("trigger_realtime_sync")

# Seconds before the next piece that v2 sends at once, doubling while none brings a part, from the
# first pause to the longest.
FIRST_PIECE_PAUSE = 1.0
LONGEST_PIECE_PAUSE = 5.0
# Bodies in a row without a byte that show that something on the way holds bodies back.
SILENT_BODIES = 2


class Pieces:
    """Whether one stream must be read in pieces, and how long each waits.

    Args:
        buffering: what is known of proxies on the way, shared with the server's other streams.
        label: names the stream in logs.
        timeout: `Timeout-Seconds` of a long body.
    """

    def __init__(self, buffering: Buffering, label: str, timeout: int) -> None:
        self._buffering = buffering
        self._label = label
        self._timeout = timeout
        # How often in a row a long body had no byte; and, once bodies are known to be held back,
        # whether the format is guessed to be v1.
        self._silent_bodies = 0
        self._guesses_v1: bool | None = None
        self._pauses = DoublingPause(FIRST_PIECE_PAUSE, LONGEST_PIECE_PAUSE)

    @property
    def are_needed(self) -> bool:
        """Whether a long body would be held back until it ends."""
        return self._buffering.is_certain

    def next(self, writer: Writer, version: str | None) -> StreamBody:
        """Return the next piece; now and then a long body, to try whether it still is held back.

        Args:
            writer: what is known of the stream's writer.
            version: of the stream's format, None as long as it is unknown.
        """
        if version == "v2" and self._buffering.takes_try():
            return StreamBody(self._timeout, writer, is_try=True)
        if self._guesses_v1 is None:
            self._guesses_v1 = self._buffering.is_mostly_v1
        is_v1 = self._guesses_v1 if version is None else version == "v1"
        timeout = DRAIN_TIMEOUT_SECONDS if is_v1 else DRAIN_AT_ONCE
        return StreamBody(timeout, writer, is_piece=True)

    def pause_after(self, body: StreamBody) -> float | None:
        """Return the seconds to wait after a piece that was to come at once; None after others."""
        if body.has_parts:
            self._pauses.reset()
        return self._pauses.take() if body.is_piece and body.timeout == DRAIN_AT_ONCE else None

    def learn_from_bytes(self, body: StreamBody) -> None:
        """Note that a body has begun to arrive. One that came before its end was not held back."""
        self._silent_bodies = 0
        if body.is_try or (body.is_piece and body.version == "v1" and not body.timeout):
            # It arrives before its end, which is a minute away.
            self._buffering.unlearn()

    def learn_from_silence(self, body: StreamBody, version: str | None) -> None:
        """Take a body without a byte as a sign of a proxy that holds bodies back.

        Args:
            version: of the stream's format, None as long as it is unknown.
        """
        self._silent_bodies += 1
        if not body.is_piece:
            if self._silent_bodies >= SILENT_BODIES and not self._buffering.is_certain:
                logger.warning("%s: answers are held back on the way", self._label)
                self._buffering.learn()
            return
        if version is None:
            # v2 answers at once where it does not wait; v1 does not know how.
            self._guesses_v1 = self._buffering.is_mostly_v1 = not body.timeout
        if (self._guesses_v1 or version == "v1") and self._buffering.says_it():
            logger.warning(
                "%s: as answers are held back until they end, and a v1 server ends none while"
                " parts come, a busy stream can't be followed here: its parts arrive when its"
                " run has finished",
                self._label,
            )
