"""The feed of one stream of a run (docs/protocol.md, section 4).

The feed requests one body after the other; `StreamCursor` decides where each begins, so that no
part is lost or comes twice. The server ends a body after a silence. Once the run has finished, the
feed drains the stream: the first body that says so, that is empty, or that ends after a silence is
the last one. The feed's patience bounds how long it waits for a server that never ends such a body.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from .._http.answer import Answer
from .._http.call import Nudged
from .._http.requester import Requester
from .._http.retry import DoublingPause, UnreadableAnswer
from .._wire.names import STREAM_VERSION, TIMEOUT_SECONDS, stream_path
from .._wire.stream_cursor import StreamCursor
from .._wire.stream_parts import PartBatch
from ..errors import ApiConnectionError, ProtocolError, TriggerRealtimeError
from .stream_body import StreamBody

logger = logging.getLogger("trigger_realtime_sync")

# `Timeout-Seconds` of a draining body: whole seconds of silence after which the server should end
# it. Short, because the run has finished.
DRAIN_TIMEOUT_SECONDS = 1
# Seconds without progress after which a server that has not ended a draining body never will.
DRAIN_PATIENCE_SECONDS = 10.0
# Seconds that a body is read for, or may be silent, while other streams wait for the thread.
TURN_SECONDS = 5
# A body without parts that ended sooner than this many seconds was not held.
HELD_SECONDS = 1.0
# A body that is cut after more seconds than this is no failure: proxies cut idle connections, and
# servers restart.
GOOD_SECONDS = 5.0
# Seconds before the next request to a server that does not hold its bodies, doubling from the first
# pause to the longest.
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0

OnParts = Callable[[PartBatch, int], None]


class StreamFeed:
    """Reads one stream until it is drained: its run has finished, and no more parts come.

    Args:
        requester: sends the requests of the thread that calls `step`.
        cursor: where to start.
        timeout: seconds of silence after which the server should end a body.
        on_parts: called with new parts and the number of bytes they came in. It may block.
        run_is_finished: returns True once the run is known to have finished. Call
            `requester.nudge()` at that moment.
        ends_when_idle: returns True if a silence of `timeout` drains the stream of any run.
        on_answer: called when a request succeeds.
    """

    def __init__(
        self,
        requester: Requester,
        run_id: str,
        key: str,
        cursor: StreamCursor,
        *,
        timeout: int,
        on_parts: OnParts,
        run_is_finished: Callable[[], bool],
        ends_when_idle: Callable[[], bool] = lambda: False,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._requester = requester
        self._path = stream_path(run_id, key)
        self._cursor = cursor
        self._timeout = timeout
        self._on_parts = on_parts
        self._run_is_finished = run_is_finished
        self._ends_when_idle = ends_when_idle
        self._on_answer = on_answer
        self._pauses = DoublingPause(FIRST_PAUSE, LONGEST_PAUSE)
        self._bytes = 0
        self._empty_bodies = 0
        self._last_part_at = time.monotonic()
        self._last_bytes_at = 0.0

    @property
    def silence(self) -> float:
        """Seconds since the last bytes came or were requested. Safe from any thread."""
        return time.monotonic() - self._last_bytes_at

    def step(self, may_stay: Callable[[], bool] = lambda: True) -> bool:
        """Read one body.

        Args:
            may_stay: returns False while other streams wait for the thread. Call
                `requester.nudge()` when one begins to wait after it returned True.

        Returns:
            True if the stream is drained.

        Raises:
            TriggerRealtimeError: the stream can't be read.
            Interrupted: the requester was stopped.
        """
        self._requester.rearm()
        body = self._new_body(may_stay())
        try:
            self._read(body, may_stay)
        except Nudged:
            return False
        except TriggerRealtimeError as error:
            is_end = isinstance(error, ApiConnectionError) and self._is_out_of_patience(body)
            if not (is_end and body.answered):
                self._recover(error, body)
                return False
        self._requester.succeeded()
        return not body.left_early and self._is_drained_after(body)

    def _new_body(self, may_stay: bool) -> StreamBody:
        if self._run_is_finished():
            patience = min(DRAIN_PATIENCE_SECONDS, self._requester.read_timeout)
            return StreamBody(DRAIN_TIMEOUT_SECONDS, draining=True, patience=patience)
        return StreamBody(self._timeout if may_stay else min(self._timeout, TURN_SECONDS))

    def _recover(self, error: TriggerRealtimeError, body: StreamBody) -> None:
        if isinstance(error, ApiConnectionError) and body.has_bytes and body.age > GOOD_SECONDS:
            self._requester.succeeded()
            logger.info("%s; going on", error)
        else:
            self._requester.recover(error)

    def _is_drained_after(self, body: StreamBody) -> bool:
        is_last = body.shows_the_end and not self._may_be_cut(body)
        if is_last or (self._ends_when_idle() and self._is_idle()):
            self._emit(self._cursor.finish(), 0)
            return True
        if body.has_parts:
            self._pauses.reset()
        elif body.age < HELD_SECONDS:
            self._requester.pause(self._pauses.take())
        return False

    def _may_be_cut(self, body: StreamBody) -> bool:
        """Return True for a first empty body without a length: only a second one confirms it."""
        if body.framed or body.has_bytes:
            return False
        self._empty_bodies += 1
        return self._empty_bodies < 2

    def _is_idle(self) -> bool:
        # 0.9: the server counts from when it sent the last part, we from when it was processed.
        return time.monotonic() - self._last_part_at > self._timeout * 0.9

    def _read(self, body: StreamBody, may_stay: Callable[[], bool]) -> None:
        headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            TIMEOUT_SECONDS: str(body.timeout),
            **self._cursor.request_headers(),
        }
        self._last_bytes_at = time.monotonic()
        with self._requester.get(self._path, headers=headers) as answer:
            body.answered, body.framed = True, answer.framed
            body.last_progress_at = time.monotonic()
            if body.draining:
                answer.limit_silence(body.patience)
            self._on_answer()
            chunks = answer.chunks()
            first = next(chunks, b"")
            body.has_bytes = bool(first)
            if first and self._open(answer, body):
                self._read_parts(first, chunks, body, may_stay)

    def _open(self, answer: Answer, body: StreamBody) -> bool:
        kind = answer.headers.get("content-type", "text/event-stream")
        if kind.split(";")[0].strip().lower() != "text/event-stream":
            label = self._requester.label
            raise UnreadableAnswer(f"{label}: the answer is {kind[:100]}, not an event stream")
        is_usable = self._cursor.open(answer.headers.get(STREAM_VERSION))
        body.left_early = not is_usable
        return is_usable

    def _read_parts(
        self, chunk: bytes, chunks: Iterator[bytes], body: StreamBody, may_stay: Callable[[], bool]
    ) -> None:
        clean = False
        try:
            while chunk:
                self._take(chunk, body)
                body.drained = self._cursor.drained
                if self._cursor.over or (body.draining and body.drained):
                    break
                if self._must_leave(body, may_stay):
                    body.left_early = True
                    return
                if self._is_out_of_patience(body):
                    break
                chunk = next(chunks, b"")
            clean = True
        finally:
            self._end(clean)

    def _take(self, chunk: bytes, body: StreamBody) -> None:
        if body.is_silent:
            self._cursor.idle()
        self._last_bytes_at = time.monotonic()
        parts = self._cursor.feed(chunk)
        self._bytes += len(chunk)
        if parts:
            body.has_parts = True
            body.last_part_at = time.monotonic()
            self._emit(parts, self._bytes)
            self._bytes = 0
            body.stalled_seconds += time.monotonic() - body.last_part_at
        if parts or self._cursor.is_within_event:
            body.last_progress_at = time.monotonic()

    def _is_out_of_patience(self, body: StreamBody) -> bool:
        """Return True if the server will never end the body; the rest of an event is waited for."""
        return body.is_out_of_patience and not self._cursor.is_within_event

    def _must_leave(self, body: StreamBody, may_stay: Callable[[], bool]) -> bool:
        # While the subscriber stalled us the server may have closed the body mid-line, and buffered
        # bytes carry no time stamp. Start a new body.
        if body.stalled_seconds > body.timeout / 2:
            return True
        return body.age > TURN_SECONDS and not may_stay()

    def _end(self, clean: bool) -> None:
        try:
            self._cursor.end(clean=clean)
        except ProtocolError as error:
            problem = str(error)
            # The traceback's frames keep the rejected bytes alive: up to 64 MB of an endless line.
            error.__traceback__ = None
        else:
            return
        raise UnreadableAnswer(f"{self._requester.label}: {problem}")

    def _emit(self, parts: PartBatch, size: int) -> None:
        if parts:
            self._empty_bodies = 0
            # A body that is cut after this counts as the first failure, not as one of a row.
            self._requester.succeeded()
            self._on_parts(parts, size)
            self._last_part_at = time.monotonic()
