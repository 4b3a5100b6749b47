"""Follows one stream by the shared log: a `StreamSource`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .._clock import monotonic
from .._feeds.sources import StreamSource
from .._feeds.stream_feed import OnParts
from .._http.requester import Requester
from .._wire.stream_cursor import StreamCursor
from .._wire.stream_end import Writer
from .._wire.stream_parts import Control, PartBatch, Stretch
from .entries import ERROR, WARNING, Placed
from .link import LONG_SECONDS, HubLink
from .stream_pump import WRITERS
from .stream_replica import MissingParts, OtherParts, StreamReplica
from .tailing import Tailer
from .troubles import error_of

logger = logging.getLogger("trigger_realtime_sync")

# Seconds that a stream keeps its thread while others wait for it.
SHORT_SECONDS = 0.1
# The share of the time-out after which a stream is idle.
IDLE_SHARE = 0.9


class StreamFollower:
    """Reads on the thread that calls `step`.

    Args:
        link, tailer, requester: as of a `RunFollower`.
        replica: how much was taken before.
        cursor: where to begin without the log.
        timeout, on_parts, writer, on_end, ends_when_idle, on_answer: as of a `StreamFeed`.
        make_direct: makes what reads without the fleet, given where, and what to do with parts.
    """

    def __init__(
        self,
        link: HubLink,
        tailer: Tailer,
        requester: Requester,
        *,
        replica: StreamReplica,
        cursor: StreamCursor,
        timeout: float,
        on_parts: OnParts,
        writer: Callable[[], Writer],
        on_end: Callable[[], None],
        ends_when_idle: Callable[[], bool],
        on_answer: Callable[[], None],
        make_direct: Callable[[StreamCursor, OnParts], StreamSource],
    ) -> None:
        self._link = link
        self._tailer = tailer
        self._requester = requester
        self._replica = replica
        self._timeout = timeout
        self._on_parts = on_parts
        self._writer = writer
        self._on_end = on_end
        self._ends_when_idle = ends_when_idle
        self._on_answer = on_answer
        self._make_direct = make_direct
        # Where the API goes on after what was taken.
        self._cursor = cursor
        self._direct: StreamSource | None = None
        self._cannot_follow = False
        self._in_trouble = False
        self._is_new = True
        # Up to which part the API is read, before the log is.
        self._until = 0
        self._last_part_at = self._last_entry_at = monotonic()

    @property
    def silence(self) -> float:
        """See `StreamSource`."""
        direct = self._direct
        return direct.silence if direct is not None else monotonic() - self._last_entry_at

    def step(self, may_stay: Callable[[], bool] = lambda: True) -> bool:
        """See `StreamSource`."""
        try:
            is_over = self._step(may_stay)
        except BaseException:
            self._link.leave()
            raise
        if is_over:
            self._link.leave()
        return is_over

    def _step(self, may_stay: Callable[[], bool]) -> bool:
        if self._direct is not None:
            return self._read_directly(may_stay)
        self._requester.rearm()
        self._link.join()
        writer = self._writer()
        self._link.tell_writer(WRITERS.index(writer))
        try:
            for placed in self._link.entries():
                self._take(placed, writer)
        except MissingParts as missing:
            self._until = missing.until
            self._begin_directly("parts before those of the shared log are read from the API")
        except OtherParts:
            self._cannot_follow = True
        if self._replica.over:
            return True
        if self._cannot_follow or self._link.must_read_directly:
            self._begin_directly("it is read without the shared log")
        if self._direct is not None:
            return False
        if self._replica.drained and writer is not Writer.WORKING:
            self._replica.drained = False
            self._on_end()
        self._show_health()
        if self._is_idle():
            return True
        self._link.wait(self._patience() if may_stay() else SHORT_SECONDS)
        return False

    def _is_idle(self) -> bool:
        is_silent = monotonic() - self._last_part_at > self._timeout * IDLE_SHARE
        return is_silent and self._ends_when_idle()

    def _patience(self) -> float:
        if not self._ends_when_idle():
            return LONG_SECONDS
        return max(self._last_part_at + self._timeout * IDLE_SHARE - monotonic() + 0.01, 0.0)

    def _take(self, placed: Placed, writer: Writer) -> None:
        self._last_entry_at = monotonic()
        entry = placed.entry
        if entry is None:
            self._cannot_follow = True
            return
        if entry.kind == ERROR and not self._tailer.is_old(placed.id):
            raise error_of(entry.data)
        if entry.kind in (ERROR, WARNING):
            return
        parts, size = self._replica.take(entry)
        if self._is_new:
            self._is_new = False
            self._on_answer()
        if parts:
            self._emit(parts, size)

    def _emit(self, parts: PartBatch, size: int) -> None:
        place = str(parts.position)
        self._cursor = StreamCursor.restore(place)
        self._link.note_place(self._replica.index, place)
        self._requester.note_contact()
        self._on_parts(parts, size)
        self._last_part_at = self._last_entry_at = monotonic()

    def _show_health(self) -> None:
        if self._link.trouble is not None:
            if not self._in_trouble:
                logger.warning("%s: %s", self._requester.label, self._link.trouble)
            self._in_trouble = True
            self._requester.note_trouble()
        elif self._in_trouble:
            self._in_trouble = False
            self._on_answer()

    # Without the log.

    def _begin_directly(self, why: str) -> None:
        logger.info("%s: %s", self._requester.label, why)
        self._direct = self._make_direct(self._cursor, self._on_direct_parts)
        if self._cannot_follow:
            self._link.leave()
        self._link.is_quiet = True

    def _read_directly(self, may_stay: Callable[[], bool]) -> bool:
        assert self._direct is not None
        if self._direct.step(may_stay):
            return True
        has_caught_up = self._replica.index >= self._until
        if has_caught_up and not self._cannot_follow and not self._link.must_read_directly:
            self._direct = None
            self._link.is_quiet = False
            self._tailer.inbox.miss()
        return False

    def _on_direct_parts(self, parts: PartBatch, size: int) -> None:
        last = parts.items[-1]
        # Control records stand among parts in sessions alone, which are not shared.
        assert not isinstance(last, Control)
        after = last.index + (len(last.values) if isinstance(last, Stretch) else 1)
        self._replica.index = max(self._replica.index, after)
        self._replica.place = str(parts.position)
        self._emit(parts, size)
        if self._until and self._replica.index >= self._until and not self._cannot_follow:
            self._requester.nudge()
