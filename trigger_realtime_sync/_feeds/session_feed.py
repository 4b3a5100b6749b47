"""The feed of one channel of a session (docs/protocol.md, section R9).

It is read as a v2 stream of a run is, across all runs of the session, until that is closed.
"""

from __future__ import annotations

from collections.abc import Callable

from .._http.answer import Answer
from .._http.requester import Requester
from .._wire.names import STREAM_VERSION
from .._wire.session_stream import SessionCursor
from .._wire.stream_cursor import normal_version
from .._wire.stream_end import Writer
from ..errors import ApiError, ConfigurationError, StreamUnreadable, TriggerRealtimeError
from .buffering import Buffering
from .stream_body import StreamBody
from .stream_feed import OnParts, StreamFeed

# Seconds: the least `Timeout-Seconds` that the route of a session takes.
LEAST_TIMEOUT = 1
# What a server answers that has no S2.
NOT_IMPLEMENTED = 501


def without_s2(label: str) -> ConfigurationError:
    """Return the error for a server that can't have sessions."""
    return ConfigurationError(
        f"{label}: this server has no sessions: they need S2, where it keeps streams"
    )


class SessionFeed(StreamFeed):
    """Reads one channel until its session is closed, and all of it was read; see `StreamFeed`.

    Args:
        label: names the channel in errors.
        key: `in`, `out` or the name of a side channel.
        path: of the channel.
        on_idle: called after each body that brought nothing.
    """

    def __init__(
        self,
        requester: Requester,
        label: str,
        key: str,
        path: str,
        cursor: SessionCursor,
        *,
        timeout: int,
        patience: float,
        on_parts: OnParts,
        writer: Callable[[], Writer],
        on_idle: Callable[[], None],
        on_answer: Callable[[], None],
        buffering: Buffering | None = None,
    ) -> None:
        super().__init__(
            requester,
            label,
            key,
            cursor,
            timeout=timeout,
            patience=patience,
            on_parts=on_parts,
            writer=writer,
            on_answer=on_answer,
            buffering=buffering,
        )
        self._path = path
        self._label = label
        self._on_idle = on_idle

    def _new_body(self, writer: Writer, may_stay: bool) -> StreamBody:
        body = super()._new_body(writer, may_stay)
        body.timeout = max(body.timeout, LEAST_TIMEOUT)
        return body

    @staticmethod
    def _version_of(answer: Answer) -> str:
        return normal_version(answer.headers.get(STREAM_VERSION) or "v2")

    def _must_leave(self, body: StreamBody, may_stay: Callable[[], bool]) -> bool:
        # Its close came in this body. What is draining ends by itself.
        return not body.draining and self._writer() is not Writer.WORKING

    def _recover(self, error: TriggerRealtimeError, body: StreamBody) -> None:
        if isinstance(error, ApiError) and error.status == NOT_IMPLEMENTED:
            raise without_s2(self._label) from None
        super()._recover(error, body)

    def _is_over_after(self, body: StreamBody) -> bool:
        over = super()._is_over_after(body)
        if not over and not body.draining and not body.has_parts and not body.left_early:
            self._on_idle()
        return over

    def _given_up(self, what: str) -> StreamUnreadable:
        return StreamUnreadable(
            f"{self._label} was given up {self._patience.seconds:g} s after its session was"
            f" closed; parts of it may be missing: {what}",
            stream=self._stream[1],
        )
