"""The feed of one stream of a run (PROTOCOL, section 4)."""

from __future__ import annotations

import time
from collections.abc import Callable

from .._protocol.headers import STREAM_VERSION, TIMEOUT_SECONDS
from .._protocol.parts import AnyPart
from .._protocol.streams import StreamCursor
from .._transport.failures import UnreadableAnswer
from .._transport.http import Answer
from .._transport.requester import Requester, segment
from .._transport.sockets import Nudged
from ..errors import ApiConnectionError, ProtocolError, TriggerRealtimeError

# Of the reads after the run has finished: the last one ends this long after the last part.
DRAIN_TIMEOUT_SECONDS = 1
# A body without news that ends sooner than this was not held: the next one is asked for later.
HELD_SECONDS = 1.0
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
# Bodies in a row that ended at once and without a proven end, before they are taken for whole.
DOUBTS_LIMIT = 5

Sink = Callable[[list[AnyPart], int], None]


class StreamFeed:
    """Reads one stream until its run has finished and a further read brings nothing.

    Args:
        requester: asks on behalf of the thread that drives the feed.
        run_id, key: which stream.
        cursor: where to start.
        timeout: seconds of silence after which the server is to end a body.
        on_parts: called with new parts and the bytes they came in. It may block.
        run_is_finished: whether the run is, as far as is known. `requester.nudge()` when it
            becomes so.
        ends_when_idle: whether a body without news ends the stream, finished run or not.
    """

    def __init__(
        self,
        requester: Requester,
        run_id: str,
        key: str,
        cursor: StreamCursor,
        *,
        timeout: int,
        on_parts: Sink,
        run_is_finished: Callable[[], bool],
        ends_when_idle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._requester = requester
        self._path = f"/realtime/v1/streams/{segment(run_id)}/{segment(key)}"
        self._cursor = cursor
        self._timeout = timeout
        self._on_parts = on_parts
        self._run_is_finished = run_is_finished
        self._ends_when_idle = ends_when_idle
        self._pause = FIRST_PAUSE
        self._doubts = 0

    def step(self, longest: int | None = None) -> bool:
        """Reads one body. Whether the stream is over.

        Args:
            longest: seconds of silence after which the body is to end, if less than usual.

        Raises:
            TriggerRealtimeError: the stream can't be read.
            Interrupted: the feed was told to end.
        """
        self._requester.rearm()
        finished = self._run_is_finished()
        timeout = (
            DRAIN_TIMEOUT_SECONDS if finished else min(self._timeout, longest or self._timeout)
        )
        started = time.monotonic()
        try:
            news = self._read_body(timeout, stop_when_drained=finished)
        except Nudged:
            return False
        except TriggerRealtimeError as error:
            self._requester.recover(error)
            return False
        if news is None:
            return False
        if news:
            self._pause = FIRST_PAUSE
        elif finished or self._ends_when_idle():
            self._hand_out(self._cursor.finish(), 0)
            return True
        elif time.monotonic() - started < HELD_SECONDS:
            self._requester.succeeded()
            self._requester.pause(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return False

    def _read_body(self, timeout: int, *, stop_when_drained: bool) -> bool | None:
        """Whether the body brought news. None where it was of no use."""
        headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            TIMEOUT_SECONDS: str(timeout),
            **self._cursor.request_headers(),
        }
        answer = self._requester.get(self._path, headers=headers)
        try:
            if answer.status == 204:
                return False
            if not self._cursor.open(answer.headers.get(STREAM_VERSION)):
                return None
            return self._read_parts(answer, timeout, stop_when_drained)
        finally:
            answer.close()

    def _read_parts(self, answer: Answer, timeout: int, stop_when_drained: bool) -> bool:
        news = clean = False
        started = last = time.monotonic()
        try:
            for chunk in answer.chunks():
                if time.monotonic() - last > timeout / 2:
                    self._cursor.idle()
                parts = self._cursor.feed(chunk)
                news = news or bool(parts)
                self._hand_out(parts, len(chunk))
                last = time.monotonic()
                if self._cursor.over or (stop_when_drained and self._cursor.drained):
                    break
            clean = True
        finally:
            self._end(clean)
        if not news and not answer.framed:
            self._doubt(time.monotonic() - started)
        return news

    def _doubt(self, seconds: float) -> None:
        """An end that proves nothing may be a cut, unless the server had kept the body open."""
        if seconds >= HELD_SECONDS:
            return
        self._doubts += 1
        if self._doubts < DOUBTS_LIMIT:
            raise ApiConnectionError(f"{self._requester.source}: the answer broke off at once")

    def _end(self, clean: bool) -> None:
        try:
            self._cursor.end(clean=clean)
        except ProtocolError as error:
            raise UnreadableAnswer(f"{self._requester.source}: {error}") from None

    def _hand_out(self, parts: list[AnyPart], size: int) -> None:
        if parts:
            self._doubts = 0
            # Data arrived: a body that is cut off later is the first failure of its row.
            self._requester.succeeded()
            self._on_parts(parts, size)
