"""What it takes to read one stream of a channel: its requester, its cursor and its feed."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from .._dispatch.waiters import Flag
from .._feeds.buffering import Buffering
from .._feeds.sources import StreamSource
from .._feeds.stream_feed import StreamFeed
from .._http.requester import Origin, Requester
from .._wire.stream_cursor import StreamCursor
from .._wire.stream_end import Writer
from .._wire.stream_parts import PartBatch
from ..errors import ConnectionUntrusted
from .part_store import PartStore, StreamKey
from .stream_readers import Reader
from .target import StreamOptions

# Seconds that the first read of a stream waits to learn whether its run has finished.
FIRST_ANSWER_SECONDS = 0.3

# Takes what `StreamFeed` takes.
MakeStreamSource = Callable[..., StreamSource]


@attrs.frozen(kw_only=True)
class StreamHooks:
    """What a channel wants to know of its streams; called on their threads.

    Attributes:
        on_parts: called with the requester, the run's id, the key, new parts and their size.
        on_drained: called with the run's id and the key when the end was proven.
        on_contact: called after each answer.
        on_untrusted: called before each wait for a certificate that is trusted again.
    """

    on_parts: Callable[[Requester, str, str, PartBatch, int], None]
    on_drained: Callable[[str, str], None]
    on_contact: Callable[[], None]
    on_untrusted: Callable[[ConnectionUntrusted], None]


class StreamOpener:
    """Makes the readers of a channel's streams.

    Args:
        patience: seconds for which the end of a finished run's streams is sought.
        buffering: what is known of proxies on the way to the server.
        make_source: makes what reads a stream; None for the feed over the network.

    Attributes:
        troubled: the streams whose last request failed. Adding and discarding are atomic: no lock
            is needed.
        run_was_asked: set once the run's own feed has said, or can't say, whether it has finished.
        run_is_unknown: whether it can't say.
    """

    def __init__(
        self,
        origin: Origin,
        options: StreamOptions,
        parts: PartStore,
        patience: float,
        buffering: Buffering,
        hooks: StreamHooks,
        make_source: MakeStreamSource | None = None,
    ) -> None:
        self.troubled: set[StreamKey] = set()
        self.run_was_asked = Flag()
        self.run_is_unknown = False
        self._origin = origin
        self._options = options
        self._parts = parts
        self._patience = patience
        self._buffering = buffering
        self._hooks = hooks
        self._make_source: MakeStreamSource = make_source or StreamFeed

    def open(self, run_id: str, key: str, writer: Callable[[], Writer]) -> Reader:
        """Return a new reader.

        Args:
            writer: returns what is known of the stream's writer.
        """
        stream = (run_id, key)
        requester = Requester(
            self._origin,
            f"stream {key} of run {run_id}",
            on_trouble=lambda: self.troubled.add(stream),
            on_contact=self._hooks.on_contact,
            on_untrusted=self._hooks.on_untrusted,
        )
        feed = self._make_source(
            requester,
            run_id,
            key,
            self._cursor(stream),
            timeout=self._options.timeout,
            patience=self._patience,
            on_parts=lambda parts, size: self._hooks.on_parts(requester, run_id, key, parts, size),
            writer=lambda: self._known_writer(writer),
            on_end=lambda: self._hooks.on_drained(run_id, key),
            ends_when_idle=lambda: self.run_is_unknown,
            on_answer=lambda: self.troubled.discard(stream),
            buffering=self._buffering,
        )
        return Reader(run_id, key, requester, feed)

    def _known_writer(self, writer: Callable[[], Writer]) -> Writer:
        """Wait a moment for the first answer of the run's feed: a finished run's stream is drained,
        not followed."""
        if not self.run_was_asked.wait(FIRST_ANSWER_SECONDS):
            self.run_was_asked.set()
        return writer()

    def _cursor(self, stream: StreamKey) -> StreamCursor:
        """Return a cursor that goes on after the cached parts."""
        position = self._parts.position(stream)
        if position is not None:
            return StreamCursor.restore(str(position))
        return self._options.cursor()
