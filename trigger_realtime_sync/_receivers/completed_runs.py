"""The runs of which one subscriber was told everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .._decode.kept_runs import Summaries, shelve
from ..models import AnyRun

# How many bytes of runs are kept whole that are no longer part of what is followed.
MOST_BYTES = 4 << 20


class CompletedRuns(Mapping[str, AnyRun]):
    """Completed runs by id, all that there ever were.

    Of those that left what is followed, the newest are whole, and of the others there are id, task,
    status and times. Written by one thread at a time, read on any.
    """

    def __init__(self) -> None:
        # A summary is bytes.
        self._runs: dict[str, AnyRun | bytes] = {}
        self._summaries = Summaries()
        self._left: dict[str, int] = {}
        self._bytes = 0

    def inherited(self) -> CompletedRuns:
        """Return the same runs for a forked child, where no more are added."""
        copy = CompletedRuns()
        copy._runs, copy._summaries = self._runs.copy(), self._summaries
        return copy

    def add(self, run: AnyRun) -> None:
        """Add a run."""
        self._runs[run.id] = run

    def leave(self, run_id: str, latest: AnyRun | None) -> None:
        """Note that a run left what is followed.

        Args:
            latest: its state, where a later one was told after it had completed.
        """
        run = self._runs.get(run_id)
        if run is None:
            return
        if latest is not None and latest.is_finished:
            run = latest
        if isinstance(run, bytes):
            return
        self._bytes -= self._left.pop(run_id, 0)
        self._runs[run_id], self._left[run_id] = shelve(run)
        self._bytes += self._left[run_id]
        while self._bytes > MOST_BYTES:
            self._reduce(next(iter(self._left)))

    def _reduce(self, run_id: str) -> None:
        self._bytes -= self._left.pop(run_id)
        run = self._runs[run_id]
        if not isinstance(run, bytes):
            self._runs[run_id] = self._summaries.of(run)

    def __getitem__(self, run_id: str) -> AnyRun:
        run = self._runs[run_id]
        return self._summaries.run(run_id, run) if isinstance(run, bytes) else run

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._runs

    def __iter__(self) -> Iterator[str]:
        # All at once: another thread may add one.
        return iter(list(self._runs))

    def __len__(self) -> int:
        return len(self._runs)
