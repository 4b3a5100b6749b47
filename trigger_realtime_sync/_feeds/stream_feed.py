"""The feed of one stream of a run (docs/protocol.md, section 4).

The feed requests one body after the other; `StreamCursor` decides where each begins, so that no
part is lost or comes twice. The server ends a body after a silence. Once the run has finished, the
feed drains the stream: it asks until a body proves that nothing more is in it. `StreamEnd` decides
whether that is the end, and `EndPatience` bounds how long it is sought.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from .._clock import monotonic
from .._http.answer import Answer
from .._http.call import Nudged
from .._http.requester import Requester
from .._http.retry import DoublingPause, UnreadableAnswer, asked_wait
from .._wire.names import STREAM_VERSION, TIMEOUT_SECONDS, stream_path
from .._wire.stream_cursor import StreamCursor, normal_version
from .._wire.stream_end import EndPatience, StreamEnd, Writer
from .._wire.stream_parts import PartBatch
from ..errors import (
    ApiConnectionError,
    ApiError,
    ProtocolError,
    ServerError,
    StreamUnreadable,
    TriggerRealtimeError,
)
from .buffering import Buffering
from .pieces import Pieces
from .stream_body import DRAIN_AT_ONCE, DRAIN_TIMEOUT_SECONDS, StreamBody

logger = logging.getLogger("trigger_realtime_sync")

# Seconds without progress after which a server that has not ended a draining body is asked again.
DRAIN_PATIENCE_SECONDS = 10.0
# Seconds of silence after which a v2 body that has begun is dead: pings come every 5 to 15 s.
V2_SILENCE_SECONDS = 25.0
# Seconds within which v2 answers: a request that v1 takes to wait for ever is sent in another way.
HEAD_SECONDS = 5.0
# The share of `Timeouts.read` that a server is asked to wait at most: where the answer is held back
# until its end, it must come before the connection counts as dead.
READ_SHARE = 0.9
# Seconds that a body is read for, or may be silent, while other streams wait for the thread.
TURN_SECONDS = 5
# Seconds that a stream which rests keeps the thread while others wait for it.
SHORT_REST_SECONDS = 0.1
# A body that is cut after more seconds than this is no failure: proxies cut idle connections, and
# servers restart.
GOOD_SECONDS = 5.0
# Seconds before the next request to a server that does not hold its bodies, doubling from the first
# pause to the longest.
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
# Bodies in a row that may be left for another one at once.
FREE_RESTARTS = 2
# S2 Lite answers 416 to a read at the tail of an empty stream.
RANGE_NOT_SATISFIABLE = 416

OnParts = Callable[[PartBatch, int], None]


class StreamFeed:
    """Reads one stream until it is over: its writer is gone, and no more parts come.

    Args:
        requester: sends the requests of the thread that calls `step`.
        run_id, key: of the stream.
        cursor: where to start.
        timeout: seconds of silence after which the server should end a body.
        patience: seconds for which the end is sought once the run has finished.
        on_parts: called with new parts and the number of bytes they came in. It may block.
        writer: returns what is known of the stream's writer. Call `requester.nudge()` when it
            changes.
        on_end: called whenever the end was proven after the run had finished.
        ends_when_idle: returns True if a silence of `timeout` drains the stream of any run.
        on_answer: called when a request succeeds.
        buffering: what is known of proxies on the way, shared with the server's other streams.
    """

    def __init__(
        self,
        requester: Requester,
        run_id: str,
        key: str,
        cursor: StreamCursor,
        *,
        timeout: int,
        patience: float,
        on_parts: OnParts,
        writer: Callable[[], Writer],
        on_end: Callable[[], None] = lambda: None,
        ends_when_idle: Callable[[], bool] = lambda: False,
        on_answer: Callable[[], None] = lambda: None,
        buffering: Buffering | None = None,
    ) -> None:
        self._requester = requester
        self._stream = (run_id, key)
        self._path = stream_path(run_id, key)
        self._cursor = cursor
        self._timeout = max(1, min(timeout, int(requester.read_timeout * READ_SHARE)))
        self._on_parts = on_parts
        self._writer = writer
        self._on_end = on_end
        self._ends_when_idle = ends_when_idle
        self._on_answer = on_answer
        self._pieces = Pieces(buffering or Buffering(), requester.label, self._timeout)
        self._end = StreamEnd()
        self._patience = EndPatience(patience)
        self._pauses = DoublingPause(FIRST_PAUSE, LONGEST_PAUSE)
        self._restarts = DoublingPause(FIRST_PAUSE, LONGEST_PAUSE, free=FREE_RESTARTS)
        # The format of the last answer, which says how the next one can be drained.
        self._version: str | None = None
        # Whether a read failed since: a storage that was restarted may have lost the stream.
        self._may_have_changed = False
        self._rests_until = 0.0
        self._rests_for: Writer | None = None
        self._bytes = 0
        self._held_at_end = False
        self._last_part_at = monotonic()
        self._last_bytes_at = 0.0

    @property
    def silence(self) -> float:
        """Seconds since the last bytes came or were requested. Safe from any thread."""
        return monotonic() - self._last_bytes_at

    def step(self, may_stay: Callable[[], bool] = lambda: True) -> bool:
        """Read one body, or rest before the next one.

        Args:
            may_stay: returns False while other streams wait for the thread. Call
                `requester.nudge()` when one begins to wait after it returned True.

        Returns:
            True if the stream is over.

        Raises:
            StreamUnreadable: the run has finished, and no read proved the end for too long.
            TriggerRealtimeError: the stream can't be read.
            Interrupted: the requester was stopped.
        """
        self._requester.rearm()
        writer = self._writer()
        if self._rested(writer, may_stay):
            return False
        body = self._new_body(writer, may_stay())
        try:
            self._read(body, may_stay)
        except Nudged:
            return False
        except TriggerRealtimeError as error:
            self._recover(error, body)
            return False
        self._requester.succeeded()
        return self._is_over_after(body)

    def _rested(self, writer: Writer, may_stay: Callable[[], bool]) -> bool:
        """Wait for the time of the next look. Return False if it has come."""
        left = self._rests_until - monotonic()
        if left <= 0 or writer is not self._rests_for:
            return False
        self._requester.pause(left if may_stay() else min(left, SHORT_REST_SECONDS))
        return True

    def _new_body(self, writer: Writer, may_stay: bool) -> StreamBody:
        if self._end.is_sought(writer):
            # Only a ping tells whether it still is the stream that was read.
            at_once = self._version == "v2" and not self._may_have_changed
            timeout = DRAIN_AT_ONCE if at_once else DRAIN_TIMEOUT_SECONDS
            patience = min(DRAIN_PATIENCE_SECONDS, self._requester.read_timeout)
            return StreamBody(timeout, writer, draining=True, patience=patience)
        if self._pieces.are_needed:
            return self._pieces.next(writer, self._version)
        return StreamBody(self._timeout if may_stay else min(self._timeout, TURN_SECONDS), writer)

    def _recover(self, error: TriggerRealtimeError, body: StreamBody) -> None:
        """Wait until the next attempt is due.

        Raises:
            TriggerRealtimeError: there is none.
        """
        if isinstance(error, ApiError) and error.status == RANGE_NOT_SATISFIABLE:
            error = ServerError(
                str(error), status=error.status, body=error.body, headers=error.headers
            )
        if body.draining:
            self._prove_nothing(error)
        self._may_have_changed = True
        self._cursor.doubt()
        if body.seeks_tail and body.version is None and body.age >= HEAD_SECONDS * READ_SHARE:
            self._cursor.give_up_tail_id()
            return
        if not body.has_bytes and isinstance(error, ApiConnectionError):
            if body.is_try:
                return
            self._note_silence(body)
        if isinstance(error, ApiConnectionError) and body.has_bytes and body.age > GOOD_SECONDS:
            self._requester.succeeded()
            logger.info("%s; going on", error)
        elif body.draining:
            self._requester.recover(error, longest=self._patience.longest_pause(monotonic()))
        else:
            # Some proxies cut what is silent. The next request tells whether it was no more.
            self._requester.recover(error, is_trouble=body.version is None)

    def _note_silence(self, body: StreamBody) -> None:
        if body.draining or body.age < self._requester.read_timeout * READ_SHARE:
            return
        self._version = body.version or self._version
        self._pieces.learn_from_silence(body, self._version)

    def _prove_nothing(self, error: TriggerRealtimeError | None = None) -> None:
        """Count a read of a finished run's stream that proved no end.

        Raises:
            StreamUnreadable: it was the last attempt.
        """
        asked = asked_wait(error.headers, time.time()) if isinstance(error, ApiError) else None
        if not self._patience.proved_nothing(monotonic(), asked or 0.0):
            return
        what = "no answer reached a proven end" if error is None else str(error)
        raise self._given_up(what) from error

    def _given_up(self, what: str) -> StreamUnreadable:
        run_id, key = self._stream
        return StreamUnreadable(
            f"stream {key} of run {run_id} was given up {self._patience.seconds:g} s after its"
            f" run had finished; parts of it may be missing: {what}",
            run_id=run_id,
            stream=key,
        )

    def _is_over_after(self, body: StreamBody) -> bool:
        if body.proves_the_end and (not body.may_be_cut or self._end.is_confirmed()):
            return self._is_over_at_end(body)
        if self._ends_when_idle() and not body.left_early and self._is_idle():
            if self._held_at_end or not self._cursor.is_holding:
                self._emit(self._cursor.finish(), 0)
                return True
            # The next body sends what is held back again: whole, if more of it was written.
            self._held_at_end = True
        if body.draining:
            self._prove_nothing()
        if body.has_parts:
            self._pauses.reset()
            self._restarts.reset()
        seconds = self._pieces.pause_after(body)
        if seconds is not None:
            self._rests_until, self._rests_for = monotonic() + seconds, body.writer
        elif body.has_parts:
            pass
        elif body.left_early:
            self._requester.pause(self._restarts.take())
        elif not body.was_held:
            self._requester.pause(self._pauses.take())
        return False

    def _is_over_at_end(self, body: StreamBody) -> bool:
        seconds = self._end.proven(body.writer, monotonic())
        self._patience.restart()
        if seconds is None:
            self._emit(self._cursor.finish(), 0)
            return True
        self._on_end()
        self._rests_until, self._rests_for = monotonic() + seconds, body.writer
        return False

    def _is_idle(self) -> bool:
        # 0.9: the server counts from when it sent the last part, we from when it was processed.
        return monotonic() - self._last_part_at > self._timeout * 0.9

    def _read(self, body: StreamBody, may_stay: Callable[[], bool]) -> None:
        headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            TIMEOUT_SECONDS: str(body.timeout),
            **self._cursor.request_headers(),
        }
        self._last_bytes_at = monotonic()
        body.seeks_tail = self._cursor.seeks_tail
        limit = HEAD_SECONDS if body.seeks_tail or body.is_try else None
        with self._requester.get(self._path, headers=headers, head_timeout=limit) as answer:
            body.version = self._version_of(answer)
            body.framed = answer.framed
            body.last_progress_at = monotonic()
            if body.draining:
                answer.limit_silence(body.patience)
            elif body.is_try:
                answer.limit_silence(HEAD_SECONDS)
            self._on_answer()
            if body.seeks_tail and body.version == "v1" and not self._open(answer, body):
                return
            chunks = answer.chunks()
            first = next(chunks, b"")
            if not first:
                # v2 would have said that it has nothing.
                body.drained = body.version == "v1" and self._cursor.version in (None, "v1")
                return
            body.has_bytes = True
            self._pieces.learn_from_bytes(body)
            if body.version == "v2":
                longest = min(V2_SILENCE_SECONDS, self._requester.read_timeout, body.patience)
                answer.set_silence(longest)
            if self._open(answer, body):
                self._read_parts(first, chunks, body, may_stay)

    @staticmethod
    def _version_of(answer: Answer) -> str:
        return normal_version(answer.headers.get(STREAM_VERSION))

    def _open(self, answer: Answer, body: StreamBody) -> bool:
        label, hide = self._requester.label, self._requester.hide_token
        kind = answer.headers.get("content-type", "text/event-stream")
        if kind.split(";")[0].strip().lower() != "text/event-stream":
            shown = hide(kind)[:100]
            raise UnreadableAnswer(f"{label}: the answer is {shown}, not an event stream")
        problem = None
        try:
            is_usable = self._cursor.open(answer.headers.get(STREAM_VERSION))
        except ProtocolError as error:
            problem = hide(str(error))
        if problem is not None:
            # Out here, where it gets no context: that would quote the header.
            raise ProtocolError(f"{label}: {problem}")
        self._version = body.version
        body.left_early = not is_usable
        return is_usable

    def _read_parts(
        self, chunk: bytes, chunks: Iterator[bytes], body: StreamBody, may_stay: Callable[[], bool]
    ) -> None:
        is_whole = False
        self._bytes = 0
        try:
            while chunk:
                self._take(chunk, body)
                if self._cursor.over or (body.draining and self._cursor.drained):
                    break
                if self._must_leave(body, may_stay):
                    body.left_early = True
                    return
                if self._is_out_of_patience(body):
                    return
                chunk = next(chunks, b"")
            is_whole = True
        finally:
            if self._cursor.at_unnamed_tail or self._cursor.drained:
                self._may_have_changed = False
            self._close(is_whole)
            body.drained = self._cursor.drained

    def _take(self, chunk: bytes, body: StreamBody) -> None:
        if body.may_be_flushed:
            self._cursor.idle()
        self._last_bytes_at = monotonic()
        parts = self._cursor.feed(chunk)
        self._bytes += len(chunk)
        size = parts.share_of(self._bytes)
        if parts or parts.skipped:
            self._bytes = 0
        if parts:
            body.has_parts = True
            body.last_part_at = monotonic()
            self._emit(parts, size)
            body.stalled_seconds += monotonic() - body.last_part_at
        if parts or self._cursor.is_within_event:
            body.last_progress_at = monotonic()

    def _is_out_of_patience(self, body: StreamBody) -> bool:
        """Return True if the server will never end the body; the rest of an event is waited for."""
        return body.is_out_of_patience and not self._cursor.is_within_event

    def _must_leave(self, body: StreamBody, may_stay: Callable[[], bool]) -> bool:
        if body.was_stalled:
            return True
        if body.draining:
            # Not for the sake of the turn: v1 ends one only after 5 s.
            return bool(body.timeout) and self._cursor.at_unnamed_tail
        return body.age > TURN_SECONDS and not may_stay()

    def _close(self, is_whole: bool) -> None:
        try:
            self._cursor.end(clean=is_whole)
        except (ProtocolError, ApiConnectionError) as error:
            kind = UnreadableAnswer if isinstance(error, ProtocolError) else ApiConnectionError
            problem = self._requester.hide_token(str(error))
            # The traceback's frames keep the rejected bytes alive: up to 64 MB of an endless line.
            error.__traceback__ = None
        else:
            return
        raise kind(f"{self._requester.label}: {problem}")

    def _emit(self, parts: PartBatch, size: int) -> None:
        if parts:
            self._held_at_end = False
            self._end.has_news()
            self._patience.restart()
            # A body that is cut after this counts as the first failure, not as one of a row.
            self._requester.succeeded()
            self._on_parts(parts, size)
            self._last_part_at = monotonic()
