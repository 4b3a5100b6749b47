"""The shared reading of one target: its feed, its latest state, and the receivers it notifies.

All subscriptions of one id share a channel. Changes come from the feeds on the channel's own
threads and go to each receiver's mailbox under the channel's lock, so that every receiver sees the
same order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Mapping
from functools import partial

from .._decode.kept_runs import LeftRun
from .._feeds.run_feed import RunChanges
from .._http.call import Interrupted
from .._http.requester import Origin
from ..errors import NotFoundError, TriggerRealtimeError
from ..models import AnyRun, State
from .audience import ChannelReceiver
from .base_channel import BaseChannel, StartThread
from .run_view import RunView
from .sources import NETWORK, Sources
from .strays import Strays
from .target import Target

logger = logging.getLogger("trigger_realtime_sync")

# Seconds that the reader releases the interpreter after posting changes, so that the callback need
# not wait for the reader's next blocking call: 0.08 ms to the callback instead of 0.8.
YIELD_SECONDS = 50e-6


class Channel(BaseChannel):
    """Reads the runs of one target.

    Args:
        target, origin, view: see `BaseChannel`.
        sources: what it reads with.
    """

    def __init__(
        self, target: Target, origin: Origin, view: RunView, sources: Sources = NETWORK
    ) -> None:
        super().__init__(target, origin, view)
        self._has_snapshot = False
        self._complete: set[str] = set()
        self._requester = self._requesters.make(self._on_trouble)
        self._decoder = target.decoder(origin)
        feeds = sources.runs(target, self._requesters, self._decoder, view)
        self._feed = feeds.of_target(
            self._requester, self._on_changes, partial(self._audience.report, target.label)
        )
        # A single run has none: a client may have thousands of these channels.
        self._strays = (
            None
            if target.is_single
            else Strays(
                target,
                view,
                self._requesters,
                feeds,
                self._start_thread,
                on_changes=self._on_stray_changes,
                on_lost=self._on_stray_lost,
            )
        )

    def start(self, start_thread: StartThread) -> None:
        super().start(start_thread)
        self._start_thread(self._read, f"run-feed {self.target.label}")

    def forget_seen(self) -> None:
        self._feed.forget_seen()
        super().forget_seen()

    # On the reading thread.

    def _read(self) -> None:
        try:
            self._feed.run()
        except Interrupted:
            return
        except TriggerRealtimeError as error:
            # Whoever keeps the error should not keep all that was read, which its frames hold.
            self._feed_failed(error.with_traceback(None))
        except Exception as error:  # noqa: BLE001 (it is logged)
            self._audience.fail(self._requester.unforeseen(error))

    def _feed_failed(self, error: TriggerRealtimeError) -> None:
        self._audience.fail(error)

    def _on_changes(self, changes: RunChanges) -> bool:
        with self._lock:
            self._state = State.LIVE
            first = not self._has_snapshot
            if first:
                self._has_snapshot = True
                self._drop_all_but(changes.rows)
            if changes or first:
                self._apply(changes)
            if first:
                for receiver in self._audience:
                    self._tell_all_there_are(receiver)
            goes_on = self._reads_on()
        log_failures(self.target.label, changes)
        if self._strays is not None:
            self._strays.follow_those_left(changes)
        if changes:
            self._audience.end_complete()
            time.sleep(YIELD_SECONDS)
        return goes_on and not self._audience.ended

    def _drop_all_but(self, row_keys: Container[str]) -> None:
        """Drop cached runs that the first snapshot no longer contains (never a single run, whose
        row may just be late)."""
        for row_key in self.view.by_key():
            if row_key not in row_keys and not self.target.is_single:
                self._drop(row_key)

    def _apply(self, changes: RunChanges) -> None:
        """Put changes into the view and notify."""
        runs = self.view.put(changes.rows)
        self._on_put(runs)
        finished = _finished(runs)
        complete = {row_key for row_key in finished if self._is_complete(runs[row_key])}
        self._complete |= complete
        for receiver in self._audience:
            receiver.notify(runs, finished, complete)
        if not self.target.is_single:
            for row_key in changes.gone:
                self._drop(row_key)
        for row_key, error in changes.failures.items():
            for receiver in self._audience:
                receiver.notify_failure(row_key, error)

    def _tell_all_there_are(self, receiver: ChannelReceiver) -> None:
        # The runs of a batch, and a single one, are kept whole.
        if self.target.tags:
            receiver.notify_all_there_are(self.view.by_key().keys())

    # On the threads of runs that are followed singly.

    def _on_stray_changes(self, changes: RunChanges, left: list[str]) -> bool:
        with self._lock:
            for row_key in left:
                del changes.rows[row_key]
                self._drop(row_key)
            self._apply(changes)
        log_failures(self.target.label, changes)
        self._audience.end_complete()
        finished = bool(changes.rows) and all(run.is_finished for run in changes.rows.values())
        return not left and not finished and not self._audience.ended

    def _on_stray_lost(self, run_id: str, error: TriggerRealtimeError) -> None:
        logger.info(
            "%s: run %s is followed no longer: %s",
            self.target.label,
            run_id,
            error,
            extra={"run_id": run_id},
        )
        if not isinstance(error, NotFoundError):
            return
        with self._lock:
            for row_key in [one for one, run in self.view.by_key().items() if run.id == run_id]:
                self._drop(row_key)

    # Overridden by channels that read more than runs. All are called under the lock.

    def _welcome(self, receiver: ChannelReceiver) -> None:
        if self._has_snapshot:
            runs = self.view.by_key()
            receiver.notify(runs, _finished(runs), self._complete)
            self._tell_all_there_are(receiver)

    def _on_put(self, runs: Mapping[str, AnyRun]) -> None:
        """Called when runs changed and are in the view."""

    def _drop(self, row_key: str) -> None:
        run = self.view.drop(row_key)
        self._complete.discard(row_key)
        if run is not None and self.target.tags:
            left = LeftRun(run)
            for receiver in self._audience:
                receiver.notify_left(row_key, left)

    def _is_complete(self, run: AnyRun) -> bool:
        return run.is_finished

    def _reads_on(self) -> bool:
        return True


def log_failures(label: str, changes: RunChanges) -> None:
    """Log rows that can't be decoded. Call it without the lock: a log handler may look at the
    subscription."""
    for error in changes.failures.values():
        logger.error("%s: a row does not decode: %s", label, error)


def _finished(runs: Mapping[str, AnyRun]) -> set[str]:
    return {row_key for row_key, run in runs.items() if run.is_finished}
