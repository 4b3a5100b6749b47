"""Leads one stream: reads it as any client would, and writes its parts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from .._channel.requesters import Requesters
from .._feeds.buffering import Buffering
from .._feeds.stream_feed import StreamFeed
from .._http.requester import Origin
from .._wire.stream_cursor import StreamCursor
from .._wire.stream_end import Writer
from .._wire.stream_parts import PartBatch
from ..errors import TriggerRealtimeError
from .entries import DRAINED, OVER, WARNING, Entry, EntryId
from .pump import LeadingPump
from .shared_log import SharedLog
from .troubles import data_of
from .writers import StreamWriter

# What is known of a stream's writer only becomes more: each is known by its rank.
WRITERS = (Writer.WORKING, Writer.STOPPING, Writer.UNCERTAIN, Writer.GONE)
TIMEOUT_SECONDS = 60


class Places(Protocol):
    """Where a process is in one stream: a `Topic`."""

    @property
    def place(self) -> tuple[int, str] | None:
        """How many parts it read, and the position as text; None at the beginning."""

    def note(self, place: tuple[int, str] | None) -> None:
        """Note a place."""


class StreamPump(LeadingPump):
    """See above. For arguments see `LeadingPump`.

    Args:
        run_id, stream: the stream.
        places: where this process is in the stream, whoever leads.
        history: bytes that its log keeps.
        patience, buffering: as of a `StreamFeed`.
    """

    def __init__(
        self,
        run_id: str,
        stream: str,
        origin: Origin,
        log: SharedLog,
        key: str,
        token: str,
        on_end: Callable[[TriggerRealtimeError | None], None],
        *,
        places: Places,
        history: int,
        patience: float,
        buffering: Buffering,
    ) -> None:
        super().__init__(f"stream {stream} of run {run_id}", origin, log, key, token, on_end)
        self._stream = (run_id, stream)
        self._places = places
        self._history = history
        self._patience = patience
        self._buffering = buffering
        self._rank = 0
        # Orders what is written.
        self._lock = threading.Lock()
        self._writer: StreamWriter | None = None
        self._broken: Exception | None = None

    def on_writer(self, rank: int) -> None:
        """See `Pump`."""
        if rank > self._rank:
            self._rank = rank
            self.nudge()

    def _tail(self) -> EntryId | None:
        return self._writer.log.tail if self._writer is not None else None

    def _lead(self, requesters: Requesters) -> None:
        self._broken = None
        writer = StreamWriter(self.log, self.key, self.token, self._history)
        is_over = writer.begin(self._places.place)
        self._writer = writer
        if is_over:
            return
        cursor = StreamCursor() if writer.place is None else StreamCursor.restore(writer.place)
        feed = StreamFeed(
            self.requester_of(requesters),
            *self._stream,
            cursor,
            timeout=TIMEOUT_SECONDS,
            patience=self._patience,
            on_parts=self._on_parts,
            writer=lambda: WRITERS[min(self._rank, len(WRITERS) - 1)],
            on_end=lambda: self._write(Entry(DRAINED, {})),
            on_answer=self.is_well,
            buffering=self._buffering,
        )
        while not feed.step():
            if self._broken is not None:
                raise self._broken
        self._write(Entry(OVER, {}))

    def _on_parts(self, parts: PartBatch, size: int) -> None:
        if self._broken is not None:
            raise self._broken
        assert self._writer is not None
        with self._lock:
            self._writer.write(parts, size)
            self._places.note(self._writer.known)

    def _write(self, entry: Entry) -> None:
        assert self._writer is not None
        with self._lock:
            self._writer.say(entry)

    def break_off(self, error: Exception) -> None:
        """Let the pump's thread begin again."""
        self._broken = error
        self.nudge()

    def warn(self, error: TriggerRealtimeError) -> None:
        """Tell everybody of an error that is not terminal."""
        if self._writer is not None:
            with self._lock:
                self.say(Entry(WARNING, data_of(error)), self._writer.log)
