"""The feed of one stream of a run (PROTOCOL, section 4)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import attrs

from .._http.answer import Answer
from .._http.call import Nudged
from .._http.requester import Requester
from .._http.retry import UnreadableAnswer
from .._wire.names import STREAM_VERSION, TIMEOUT_SECONDS, stream_path
from .._wire.stream_cursor import StreamCursor
from .._wire.stream_parts import PartBatch
from ..errors import ApiConnectionError, ProtocolError, TriggerRealtimeError

logger = logging.getLogger("trigger_realtime_sync")

# Of the reads after the run has finished: the last one ends this long after the last part.
DRAIN_TIMEOUT_SECONDS = 1
# A server that has not ended that answer after so long a silence never will.
DRAIN_PATIENCE_SECONDS = 10.0
# While other streams wait for the place, a body is read for so long, or until so long a silence.
TURN_SECONDS = 5
# A body without news that ends sooner than this was not held: the next one is asked for later.
HELD_SECONDS = 1.0
# A body that is cut off after this time did well: proxies cut what is idle, and servers restart.
GOOD_SECONDS = 5.0
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0

Sink = Callable[[PartBatch, int], None]


@attrs.define
class _Body:
    """One body: what it is read for, and what became of it.

    Attributes:
        timeout: seconds of silence after which the server is to end it.
        draining: whether it was asked for after the run had finished.
        patience: seconds of silence after which a server that was asked to end it never will.
        last: when the last part came, or the body began.
        heard: when the server last said more than that it is there, and was listened to.
        answered: whether its head came.
        framed: whether that says where it ends, other than with the connection.
        spoke: whether a byte of it came.
        useful: whether it is in the format that was asked for.
        drained: whether it said that nothing more is in the stream.
        stalled: seconds that a slow subscriber took in all.
        given_up: whether it was left before its end, though more may come.
    """

    timeout: int
    draining: bool
    patience: float = DRAIN_PATIENCE_SECONDS
    started: float = attrs.field(factory=time.monotonic)
    last: float = attrs.field(factory=time.monotonic)
    heard: float = attrs.field(factory=time.monotonic)
    answered: bool = False
    framed: bool = False
    spoke: bool = False
    news: bool = False
    useful: bool = True
    drained: bool = False
    stalled: float = 0.0
    given_up: bool = False

    @property
    def age(self) -> float:
        return time.monotonic() - self.started

    @property
    def is_silent(self) -> bool:
        """For so long that the server may be about to end it, or has."""
        return time.monotonic() - self.last > self.timeout / 2

    @property
    def is_waited_out(self) -> bool:
        """Whether the server ought to have ended it long ago."""
        return self.draining and time.monotonic() - self.heard >= self.patience

    @property
    def is_the_last(self) -> bool:
        """Having ended, whether it shows that the stream of a finished run is over."""
        is_quiet = self.is_silent or self.is_waited_out or not self.news
        return self.draining and (self.drained or is_quiet)


class StreamFeed:
    """Reads one stream until its run has finished and nothing more is in it.

    Args:
        requester: asks on behalf of the thread that drives the feed.
        run_id, key: which stream.
        cursor: where to start.
        timeout: seconds of silence after which the server is to end a body.
        on_parts: called with new parts and the bytes they came in. It may block.
        run_is_finished: whether the run is, as far as is known. `requester.nudge()` when it
            becomes so.
        ends_when_idle: whether a silence of `timeout` ends the stream, finished run or not.
        on_good: called when the server grants a request.
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
        on_good: Callable[[], None] = lambda: None,
    ) -> None:
        self._requester = requester
        self._path = stream_path(run_id, key)
        self._cursor = cursor
        self._timeout = timeout
        self._on_parts = on_parts
        self._run_is_finished = run_is_finished
        self._ends_when_idle = ends_when_idle
        self._on_good = on_good
        self._pause = FIRST_PAUSE
        self._bytes = 0
        self._empty = 0
        self._silent_since = time.monotonic()
        self._heard = 0.0

    @property
    def silence(self) -> float:
        """Seconds since the last bytes came, or were asked for. Any thread."""
        return time.monotonic() - self._heard

    def step(self, may_stay: Callable[[], bool] = lambda: True) -> bool:
        """Reads one body. Whether the stream is over.

        Args:
            may_stay: whether nobody else waits for the place. `requester.nudge()` when somebody
                does after all.

        Raises:
            TriggerRealtimeError: the stream can't be read.
            Interrupted: the feed was told to end.
        """
        self._requester.rearm()
        body = self._new_body(may_stay())
        try:
            self._read(body, may_stay)
        except Nudged:
            return False
        except TriggerRealtimeError as error:
            was_silent = isinstance(error, ApiConnectionError) and self._is_waited_out(body)
            if not (was_silent and body.answered):
                self._recover(error, body)
                return False
        self._requester.succeeded()
        return body.useful and not body.given_up and self._is_over_after(body)

    def _new_body(self, may_stay: bool) -> _Body:
        if self._run_is_finished():
            patience = min(DRAIN_PATIENCE_SECONDS, self._requester.longest_silence)
            return _Body(DRAIN_TIMEOUT_SECONDS, draining=True, patience=patience)
        return _Body(self._timeout if may_stay else min(self._timeout, TURN_SECONDS), False)

    def _recover(self, error: TriggerRealtimeError, body: _Body) -> None:
        if isinstance(error, ApiConnectionError) and body.spoke and body.age > GOOD_SECONDS:
            self._requester.succeeded()
            logger.info("%s; going on", error)
        else:
            self._requester.recover(error)

    def _is_over_after(self, body: _Body) -> bool:
        is_last = body.is_the_last and not self._may_be_cut(body)
        if is_last or (self._ends_when_idle() and self._is_idle()):
            self._hand_out(self._cursor.finish(), 0)
            return True
        if body.news:
            self._pause = FIRST_PAUSE
        elif body.age < HELD_SECONDS:
            self._requester.pause(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return False

    def _may_be_cut(self, body: _Body) -> bool:
        """An empty body without a length may have been cut: only two in a row are believed."""
        if body.framed or body.spoke:
            return False
        self._empty += 1
        return self._empty < 2

    def _is_idle(self) -> bool:
        # Nearly: the server counts from when it sent the last part.
        return time.monotonic() - self._silent_since > self._timeout * 0.9

    def _read(self, body: _Body, may_stay: Callable[[], bool]) -> None:
        headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            TIMEOUT_SECONDS: str(body.timeout),
            **self._cursor.request_headers(),
        }
        self._heard = time.monotonic()
        answer = self._requester.get(self._path, headers=headers)
        body.answered, body.framed, body.heard = True, answer.framed, time.monotonic()
        if body.draining:
            answer.limit_silence(body.patience)
        self._on_good()
        try:
            chunks = answer.chunks()
            first = next(chunks, b"")
            body.spoke = bool(first)
            if first and self._open(answer, body):
                self._read_parts(first, chunks, body, may_stay)
        finally:
            answer.close()

    def _open(self, answer: Answer, body: _Body) -> bool:
        kind = answer.headers.get("content-type", "text/event-stream")
        if kind.split(";")[0].strip().lower() != "text/event-stream":
            source = self._requester.source
            raise UnreadableAnswer(f"{source}: the answer is {kind[:100]}, not an event stream")
        body.useful = self._cursor.open(answer.headers.get(STREAM_VERSION))
        return body.useful

    def _read_parts(
        self, chunk: bytes, chunks: Iterator[bytes], body: _Body, may_stay: Callable[[], bool]
    ) -> None:
        clean = False
        try:
            while chunk:
                self._take(chunk, body)
                body.drained = self._cursor.drained
                if self._cursor.over or (body.draining and body.drained):
                    break
                if self._is_to_leave(body, may_stay):
                    body.given_up = True
                    return
                if self._is_waited_out(body):
                    break
                chunk = next(chunks, b"")
            clean = True
        finally:
            self._end(clean)

    def _take(self, chunk: bytes, body: _Body) -> None:
        if body.is_silent:
            self._cursor.idle()
        self._heard = time.monotonic()
        parts = self._cursor.feed(chunk)
        self._bytes += len(chunk)
        if parts:
            body.news = True
            body.last = time.monotonic()
            self._hand_out(parts, self._bytes)
            self._bytes = 0
            body.stalled += time.monotonic() - body.last
        if parts or self._cursor.is_within_event:
            body.heard = time.monotonic()

    def _is_waited_out(self, body: _Body) -> bool:
        """What has begun to come is waited for like anything else."""
        return body.is_waited_out and not self._cursor.is_within_event

    def _is_to_leave(self, body: _Body, may_stay: Callable[[], bool]) -> bool:
        # Meanwhile the server may have ended the body for idleness, half a line last, and what the
        # network still holds of it does not show when that was sent. A new body does.
        if body.stalled > body.timeout / 2:
            return True
        return body.age > TURN_SECONDS and not may_stay()

    def _end(self, clean: bool) -> None:
        try:
            self._cursor.end(clean=clean)
        except ProtocolError as error:
            problem = str(error)
            # Its frames hold the bytes that were refused: 64 MB of an endless line.
            error.__traceback__ = None
        else:
            return
        raise UnreadableAnswer(f"{self._requester.source}: {problem}")

    def _hand_out(self, parts: PartBatch, size: int) -> None:
        if parts:
            self._empty = 0
            # Data arrived: a body that is cut off later is the first failure of its row.
            self._requester.succeeded()
            self._on_parts(parts, size)
            self._silent_since = time.monotonic()
