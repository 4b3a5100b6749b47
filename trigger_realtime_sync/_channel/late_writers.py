"""Which finished runs may still write to their streams, and for how long that is waited for.

The server says that a run is cancelled at once, and that it has ended when its worker has stopped
(docs/protocol.md, section 4).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from .._clock import monotonic
from .._dispatch.waiters import Waiters
from .._wire.stream_end import LATE_SECONDS, Writer
from ..models import AnyRun, RunStatus

# The process of a run that ended so may go on for a moment, and write.
MAY_OUTLIVE_ITS_RUN = frozenset(
    {RunStatus.FAILED, RunStatus.CRASHED, RunStatus.TIMED_OUT, RunStatus.SYSTEM_FAILURE}
)


class LateWriters:
    """Knows the writers of a channel's runs. A thread bounds the wait for those of cancelled runs;
    it lives while there is one.

    Args:
        start_thread: starts a thread, given its work and its name.
        on_gone: called on that thread, without a lock, with the id of a run that was waited for
            long enough.
    """

    def __init__(
        self,
        start_thread: Callable[[Callable[[], None], str], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self._start_thread = start_thread
        self._on_gone = on_gone
        # Notified when something below changes.
        self._waiters = Waiters()
        # Protects everything below.
        self._lock = threading.Lock()
        self._deadlines: dict[str, float] = {}
        self._gone: set[str] = set()
        self._seen_working: set[str] = set()
        self._runs = False
        self._stopped = False

    def writer_of(
        self, run_id: str, run: AnyRun, has_start: bool, server_time: datetime | None
    ) -> Writer:
        """Return what a state of a run says of its writer.

        Args:
            has_start: whether the state tells when the run started.
            server_time: now, by the server's clock, if that is known.
        """
        with self._lock:
            if not run.is_finished:
                self._seen_working.add(run_id)
                return Writer.WORKING
            left = LATE_SECONDS - self._age_of(run_id, run, server_time)
            if run.status in MAY_OUTLIVE_ITS_RUN:
                return Writer.UNCERTAIN if left > 0 else Writer.GONE
            may_have_started = run.started_at is not None or not has_start
            if run.status == RunStatus.CANCELED and run.finished_at is None and may_have_started:
                return Writer.STOPPING if self._is_expected(run_id, left) else Writer.GONE
            self._deadlines.pop(run_id, None)
            self._waiters.notify()
            return Writer.GONE

    def _age_of(self, run_id: str, run: AnyRun, server_time: datetime | None) -> float:
        """Return how many seconds ago a finished run reached its state.

        It is 0 for one that was seen before it finished, and where the server names no time.
        """
        if run_id in self._seen_working or server_time is None or run.updated_at is None:
            return 0.0
        return (server_time - run.updated_at).total_seconds()

    def _is_expected(self, run_id: str, seconds: float) -> bool:
        """Return True if the end of a run is waited for, from now on for that long at most."""
        if run_id in self._gone or self._stopped:
            return False
        if run_id not in self._deadlines:
            if seconds <= 0:
                self._gone.add(run_id)
                return False
            self._deadlines[run_id] = monotonic() + seconds
            self._waiters.notify()
            if not self._runs:
                self._runs = True
                self._start_thread(self._work, "late-writers")
        return True

    def forget(self, run_id: str) -> None:
        """Wait no more for a run, which is gone."""
        with self._lock:
            self._deadlines.pop(run_id, None)
            self._gone.discard(run_id)
            self._seen_working.discard(run_id)
            self._waiters.notify()

    def stop(self) -> None:
        """Wait for nothing more."""
        with self._lock:
            self._stopped = True
            self._deadlines.clear()
            self._waiters.notify()

    def _work(self) -> None:
        while (gone := self._next()) is not None:
            for run_id in gone:
                self._on_gone(run_id)

    def _next(self) -> list[str] | None:
        """Block until the time of a run is up. Return None if none is left."""
        waiter = self._waiters.join()
        while True:
            with self._lock:
                if not self._deadlines:
                    self._runs = False
                    return None
                now = monotonic()
                gone = [run_id for run_id, at in self._deadlines.items() if at <= now]
                if gone:
                    for run_id in gone:
                        del self._deadlines[run_id]
                    self._gone.update(gone)
                    return gone
                left = min(self._deadlines.values()) - now
            waiter.wait(left)
