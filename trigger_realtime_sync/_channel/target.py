"""What to read: two subscriptions with the same id and target share a channel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from .._decode.rows import RowDecoder
from .._feeds.packet_fetcher import PacketFetcher
from .._http.requester import Origin
from .._http.tokens import Token
from .._wire.names import SKIP_COLUMNS, TAGS
from ..models import Task
from .part_store import MAX_PART_BYTES, PartStore
from .run_view import RunView

if TYPE_CHECKING:
    from .._wire.stream_cursor import StreamCursor


@attrs.frozen(kw_only=True)
class StreamOptions:
    """Which streams of the runs to read, and how.

    Attributes:
        key: the one stream to read, whatever streams the run names; None for the named ones.
        types: the types of the parts, by the key of their stream.
        start_index, last_event_id, from_latest: where to start the one stream.
        most_kept: how many parts of each stream are kept to be looked at.
        most_kept_bytes: in how many bytes of the body those of all streams may have come.
        timeout: seconds of silence after which the server is asked to end a body.
    """

    key: str | None = None
    types: tuple[tuple[str, Any], ...] = ()
    start_index: int | None = None
    last_event_id: str | None = None
    from_latest: bool = False
    most_kept: int | None = None
    most_kept_bytes: int | None = MAX_PART_BYTES
    timeout: int = 60

    def cursor(self) -> StreamCursor:
        """Return a cursor that starts where the user asked for."""
        # Imported here, because most subscriptions read no stream.
        from .._wire.stream_cursor import StreamCursor

        return self._cursor(StreamCursor)

    def _cursor(self, kind: type[StreamCursor]) -> StreamCursor:
        if self.last_event_id is not None:
            return kind.restore(self.last_event_id)
        return kind(start_index=self.start_index, from_latest=self.from_latest)


@attrs.frozen(kw_only=True)
class ChannelOptions(StreamOptions):
    """Which channel of a session to read, and how.

    Attributes:
        key: `in` or `out`, or the name of a side channel.
    """

    def cursor(self) -> StreamCursor:
        from .._wire.session_stream import SessionCursor

        return self._cursor(SessionCursor)


def _as_compared(query: tuple[tuple[str, str], ...]) -> tuple[tuple[str, Any], ...]:
    """Return the query so that columns or tags in another order make no other target."""
    return tuple(
        (name, _names(value) if name in (SKIP_COLUMNS, TAGS) else value) for name, value in query
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(sorted(text.split(",")))


@attrs.frozen(kw_only=True)
class Target:
    """Everything that decides what is asked of the server, and how its rows are typed.

    Attributes:
        absent_until: a moment of `time.monotonic()` before which a 404 means "not yet".
    """

    kind: str
    subject: str = attrs.field(eq=_names)
    path: str
    query: tuple[tuple[str, str], ...] = attrs.field(default=(), eq=_as_compared)
    base_url: str
    token: Token = attrs.field(repr=False)
    tasks: tuple[Task[Any, Any], ...] = ()
    streams: StreamOptions | None = None
    absent_until: float = attrs.field(default=-math.inf, eq=False)

    @property
    def label(self) -> str:
        """The target's name in thread names, errors and logs."""
        if self.is_session:
            assert self.streams is not None
            return f"{self.streams.key} of session {self.subject}"
        if self.streams is not None and self.streams.key is not None:
            return f"stream {self.streams.key} of run {self.subject}"
        return f"{self.kind} {self.subject}"

    @property
    def is_single(self) -> bool:
        """Whether it is one run."""
        return self.kind in ("run", "stream")

    @property
    def tags(self) -> frozenset[str]:
        """The tags that its runs carry, where it is about tags."""
        return frozenset(_names(self.subject)) if self.kind == "tag" else frozenset()

    @property
    def is_batch(self) -> bool:
        """Whether it is a batch."""
        return self.kind == "batch"

    @property
    def is_session(self) -> bool:
        """Whether it is a channel of a session, which has no run."""
        return self.kind == "session"

    def new_view(self) -> RunView:
        """Return an empty view."""
        if self.streams is None:
            return RunView()
        options = self.streams
        return RunView(
            parts=PartStore(
                options.most_kept,
                options.most_kept_bytes,
                self.label,
                has_controls=self.is_session,
            )
        )

    def decoder(self, origin: Origin) -> RowDecoder:
        """Return the decoder of its rows, which fetches large packets from the origin."""
        fetch = PacketFetcher(origin)
        if self.is_single:
            return RowDecoder(fetch=fetch, any_task=self.tasks[0] if self.tasks else None)
        return RowDecoder(self.tasks, fetch)
