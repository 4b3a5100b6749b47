"""Follows the runs of one target by the shared log: a `RunSource`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .._clock import monotonic
from .._decode.rows import RowDecoder
from .._feeds.run_feed import OnChanges, RunChanges, ToldRuns
from .._feeds.sources import RunSource
from .._http.call import Nudged
from .._http.requester import Requester
from .._wire.changes import Changes
from ..errors import TriggerRealtimeError
from .entries import ERROR, SNAPSHOT, WARNING, Placed
from .link import LONG_SECONDS, HubLink
from .run_replica import RunReplica
from .tailing import Tailer
from .troubles import error_of

logger = logging.getLogger("trigger_realtime_sync")


class RunFollower:
    """Reads on the thread that calls `run`.

    Args:
        link: the way to the hub.
        tailer: of the log.
        requester: of the thread.
        decoder, told, on_changes: as of a `RunFeed`.
        on_warning: called with an error that is not terminal.
        make_direct: makes what reads without the fleet, given what to do with its changes.
    """

    def __init__(
        self,
        link: HubLink,
        tailer: Tailer,
        requester: Requester,
        *,
        decoder: RowDecoder,
        told: ToldRuns,
        on_changes: OnChanges,
        on_warning: Callable[[TriggerRealtimeError], None],
        make_direct: Callable[[OnChanges], RunSource],
    ) -> None:
        self._link = link
        self._tailer = tailer
        self._requester = requester
        self._on_changes = on_changes
        self._on_warning = on_warning
        self._make_direct = make_direct
        self._replica = RunReplica(decoder.decode, told)
        self._forget_requested = False
        self._in_trouble = False
        self._cannot_follow = False

    def forget_seen(self) -> None:
        """See `RunSource`."""
        self._forget_requested = True

    def run(self) -> None:
        """See `RunSource`."""
        self._link.join()
        try:
            while self._step():
                pass
        finally:
            self._link.leave()

    def _step(self) -> bool:
        self._requester.rearm()
        if self._cannot_follow or self._link.must_read_directly:
            return self._read_directly()
        if self._forget_requested:
            self._forget_requested = False
            self._replica.forget_seen()
        for placed in self._link.entries():
            if not self._take(placed):
                return False
        if self._cannot_follow:
            return True
        if not self._show_health():
            return False
        changes = self._replica.confirmed(monotonic())
        if changes and not self._on_changes(changes):
            return False
        ends = self._replica.doubts_end
        self._link.wait(LONG_SECONDS if ends is None else max(ends - monotonic(), 0.0))
        return True

    def _take(self, placed: Placed) -> bool:
        entry = placed.entry
        if entry is None:
            if not self._cannot_follow:
                logger.error(
                    "%s: an entry of the shared log can't be read here: another key encrypted it,"
                    " or a newer version wrote it; this process reads for itself",
                    self._requester.label,
                )
            self._cannot_follow = True
            return True
        if entry.kind in (ERROR, WARNING):
            if not self._tailer.is_old(placed.id):
                error = error_of(entry.data)
                if entry.kind == ERROR:
                    raise error
                error.terminal = False
                self._on_warning(error)
            return True
        changes = self._replica.take(entry, monotonic(), is_past=placed.is_past)
        if entry.kind == SNAPSHOT:
            self._in_trouble = False
        elif not changes:
            return True
        return self._on_changes(changes)

    def _show_health(self) -> bool:
        if self._link.trouble is not None:
            if not self._in_trouble:
                logger.warning("%s: %s", self._requester.label, self._link.trouble)
            self._in_trouble = True
            self._requester.note_trouble()
        elif self._in_trouble and self._replica.has_snapshot:
            self._in_trouble = False
            return self._on_changes(Changes())
        return True

    def _read_directly(self) -> bool:
        """Read without the fleet, until it can be followed again. Return True to go on."""
        goes_on = True

        def tell(changes: RunChanges) -> bool:
            nonlocal goes_on
            goes_on = self._on_changes(changes)
            return goes_on and (self._cannot_follow or self._link.must_read_directly)

        if self._cannot_follow:
            self._link.leave()
        try:
            self._make_direct(tell).run()
        except Nudged:
            return True
        # What the log says may be older than what was told meanwhile, but goes on from there.
        self._tailer.inbox.miss()
        return goes_on
