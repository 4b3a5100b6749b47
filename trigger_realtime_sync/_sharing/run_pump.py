"""Leads the runs of one target: reads them as any client would, and writes what it reads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

from .._channel.feeds import Feeds
from .._channel.requesters import Requesters
from .._channel.run_view import RunView
from .._channel.strays import Strays
from .._channel.target import Target
from .._decode.rows import RowDecoder
from .._feeds.run_feed import RunChanges
from .._http.requester import Origin
from ..errors import NotFoundError, TriggerRealtimeError
from .entries import WARNING, Entry, EntryId
from .plain_rows import PlainDecoder, PlainRow
from .pump import LeadingPump
from .shared_log import SharedLog
from .troubles import data_of
from .writers import RunWriter

logger = logging.getLogger("trigger_realtime_sync")

StartThread = Callable[[Callable[[], None], str], None]


class RunPump(LeadingPump):
    """See above. For arguments see `LeadingPump`.

    Args:
        target: whose runs.
        start_thread: starts the threads of runs that are followed singly.
    """

    def __init__(
        self,
        target: Target,
        origin: Origin,
        log: SharedLog,
        key: str,
        token: str,
        start_thread: StartThread,
        on_end: Callable[[TriggerRealtimeError | None], None],
    ) -> None:
        super().__init__(f"{target.kind} {target.subject}", origin, log, key, token, on_end)
        self._target = target
        self._start_thread = start_thread
        # Orders what the feed and the threads of single runs write, so that the log's order is that
        # in which they were judged. Held while the log is written: nobody else waits for it.
        self._lock = threading.Lock()
        self._view = RunView()
        self._writer: RunWriter
        self._broken: Exception | None = None
        self._requesters: Requesters

    def on_writer(self, rank: int) -> None:
        """Only streams have a writer."""

    def _tail(self) -> EntryId | None:
        return self._writer.log.tail if self._writer.has_opened else None

    def _lead(self, requesters: Requesters) -> None:
        self._broken = None
        self._writer = RunWriter(self.log, self.key, self.token)
        self._view = RunView()
        known = self._writer.known()
        self._view.put({key: cast(Any, PlainRow(row)) for key, row in known.items()})
        self._absent = set(known)
        decoder = cast(RowDecoder, PlainDecoder())
        feeds = Feeds(self._target, requesters, decoder, self._view)
        requester = self.requester_of(requesters)
        self._strays = (
            None
            if self._target.is_single
            else Strays(
                self._target,
                self._view,
                requesters,
                feeds,
                self._start_thread,
                on_changes=self._on_stray_changes,
                on_lost=self._on_stray_lost,
            )
        )
        feed = feeds.of_target(requester, self._on_changes, self.warn)
        feed.run()

    def _on_changes(self, changes: RunChanges) -> bool:
        if self._broken is not None:
            raise self._broken
        self.is_well()
        is_first = not self._writer.has_opened
        with self._lock:
            self._write(changes.rows, () if self._target.is_single else changes.gone)
            if is_first and not self._target.is_single:
                self._follow_absent(changes)
        if self._strays is not None:
            self._strays.follow_those_left(changes)
        return not self.stopped

    def _follow_absent(self, changes: RunChanges) -> None:
        """Look after the rows of an earlier leader that the first snapshot does not have:
        unfinished ones must be followed singly, and the others have left."""
        absent = self._view.known(self._absent - changes.rows.keys())
        unfinished = [key for key, row in absent.items() if not row.is_finished]
        changes.missing = [*(changes.missing or ()), *unfinished]
        self._write({}, [key for key in absent if key not in unfinished])

    def _write(self, rows: Mapping[str, Any], gone: Any) -> None:
        put = self._view.put(rows)
        for row_key in gone:
            self._view.drop(row_key)
        columns = {key: cast(PlainRow, row).columns for key, row in put.items()}
        self._writer.write(columns, gone, self._all_rows)

    def _all_rows(self) -> dict[str, Mapping[str, Any]]:
        return {key: cast(Any, row).columns for key, row in self._view.by_key().items()}

    # On the threads of runs that are followed singly.

    def _on_stray_changes(self, changes: RunChanges, left: list[str]) -> bool:
        for row_key in left:
            changes.rows.pop(row_key, None)
        try:
            with self._lock:
                if self._broken is not None or not self._writer.has_opened:
                    return False
                self._write(changes.rows, left)
        except Exception as error:  # noqa: BLE001 (it is raised on the pump's thread)
            self.break_off(error)
            return False
        finished = bool(changes.rows) and all(row.is_finished for row in changes.rows.values())
        return not left and not finished and not self.stopped

    def _on_stray_lost(self, run_id: str, error: TriggerRealtimeError) -> None:
        logger.info(
            "%s: run %s is followed no longer: %s",
            self.label,
            run_id,
            error,
            extra={"target": self.label, "run_id": run_id},
        )
        if isinstance(error, NotFoundError):
            keys = [key for key, row in self._view.by_key().items() if row.id == run_id]
            self._on_stray_changes(RunChanges(), keys)

    # On any thread.

    def break_off(self, error: Exception) -> None:
        """Let the pump's thread begin again."""
        self._broken = error
        self.nudge()

    def warn(self, error: TriggerRealtimeError) -> None:
        """Tell everybody of an error that is not terminal."""
        with self._lock:
            self.say(Entry(WARNING, data_of(error)), self._writer.log)
