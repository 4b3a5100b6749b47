"""A channel that knows when its batch is complete (docs/protocol.md, section 1)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .._feeds.batch_members import read_members
from .._feeds.run_feed import RunChanges
from .._http.call import Interrupted
from .._http.requester import Origin, Requester
from ..errors import TriggerRealtimeError
from ..models import AnyRun
from .channel import Channel
from .run_view import RunView
from .sources import NETWORK, Sources
from .target import Target

logger = logging.getLogger("trigger_realtime_sync")


class BatchChannel(Channel):
    """Reads a batch, and ends when all of its runs are complete.

    Which runs the batch has is asked when someone waits for them, or when all known runs have
    finished. Runs that the feed does not show are followed singly.

    Attributes:
        members: the ids of the batch's runs, None while they are unknown.
        members_error: why they can't be asked for, or one of them not be followed; or None. The
            channel goes on without.
    """

    def __init__(
        self, target: Target, origin: Origin, view: RunView, sources: Sources = NETWORK
    ) -> None:
        super().__init__(target, origin, view, sources)
        self.members: list[str] | None = None
        self.members_error: TriggerRealtimeError | None = None
        self._unfinished: set[str] = set()
        # The ids of runs that finished, be they still in the view or not.
        self._finished: set[str] = set()
        # The ids of members that could not be followed.
        self._lost: set[str] = set()
        self._wanted = False
        self._asks = False

    def want_members(self) -> None:
        """Ask for the members as soon as it is known which of them the feed shows."""
        with self._lock:
            self._wanted = True
            if self._has_snapshot:
                self._ask()

    def _on_changes(self, changes: RunChanges) -> bool:
        goes_on = super()._on_changes(changes)
        with self._lock:
            all_finished = bool(self.view) and not self._unfinished and self.members_error is None
            if self._wanted or all_finished:
                self._ask()
        if changes:
            self._end_if_complete()
        return goes_on and not self._audience.ended

    def _on_put(self, runs: Mapping[str, AnyRun]) -> None:
        for row_key, run in runs.items():
            if run.is_finished:
                self._unfinished.discard(row_key)
                self._finished.add(run.id)
            else:
                self._unfinished.add(row_key)

    def _drop(self, row_key: str) -> None:
        super()._drop(row_key)
        self._unfinished.discard(row_key)

    def _ask(self) -> None:
        known = self.members is not None and self.members_error is None
        if self._audience.ended or self._asks or known:
            return
        self._wanted, self.members_error = False, None
        requester = self._requesters.make()
        self._asks = True
        self._start_thread(
            lambda: self._read_members(requester), f"batch-members {self.target.subject}"
        )

    def _end_if_complete(self) -> None:
        if self.members is None or self._unfinished:
            return
        if self._finished.issuperset(self.members):
            self._audience.end_all()

    # On the thread that asks for the members.

    def _read_members(self, requester: Requester) -> None:
        try:
            members = read_members(requester, self.target.subject)
        except Interrupted:
            return
        except TriggerRealtimeError as error:
            logger.warning("%s: its runs are not known: %s", self.target.label, error)
            self._members_failed(error.with_traceback(None))
        except Exception as error:  # noqa: BLE001 (it is logged)
            self._members_failed(requester.unforeseen(error, "asking for its runs"))
        else:
            self._on_members(members)

    def _members_failed(self, error: TriggerRealtimeError) -> None:
        with self._lock:
            self.members_error = error
            self._asks = False
        self._audience.wake()

    def _on_members(self, members: list[str]) -> None:
        with self._lock:
            self.members = members
            known = {run.id for run in self.view.runs()} | self._finished
            known -= self._lost
            self._lost.clear()
        self._end_if_complete()
        # Runs that were reused by their idempotency key belong to the batch, but not to its feed.
        assert self._strays is not None
        self._strays.ask(run_id for run_id in members if run_id not in known)

    # On the threads of runs that are followed singly.

    def _on_stray_changes(self, changes: RunChanges, left: list[str]) -> bool:
        goes_on = super()._on_stray_changes(changes, left)
        self._end_if_complete()
        return goes_on

    def _on_stray_lost(self, run_id: str, error: TriggerRealtimeError) -> None:
        # It is one of those that are waited for.
        logger.warning(
            "%s: run %s can't be followed: %s",
            self.target.label,
            run_id,
            error,
            extra={"run_id": run_id},
        )
        with self._lock:
            self._lost.add(run_id)
        self._members_failed(error)
