"""The latest known state of one target, readable on any thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone

from ..models import AnyRun
from .part_store import PartStore

_LAST = datetime.max.replace(tzinfo=timezone.utc)


def creation(run: AnyRun) -> tuple[datetime, str]:
    """Return the sort key of a run: when it was created."""
    return run.created_at or _LAST, run.id


class RunView:
    """Runs by row key, shown in the order in which they were created.

    Attributes:
        parts: the parts of their streams, where streams are read.
    """

    def __init__(
        self, runs: Mapping[str, AnyRun] | None = None, parts: PartStore | None = None
    ) -> None:
        self.parts = parts
        # Protects everything below: the reading thread writes, any thread reads.
        self._lock = threading.Lock()
        self._runs = dict(runs or {})
        self._order: list[str] | None = None

    def put(self, runs: Mapping[str, AnyRun]) -> Mapping[str, AnyRun]:
        """Put new states of runs. A run that is known to have finished stays so: another feed may
        have been ahead.

        Returns:
            The runs that were put, by row key.
        """
        put: dict[str, AnyRun] = {}
        with self._lock:
            if not self._runs:
                self._runs.update(runs)
                self._order = None
                return runs
            for row_key, run in runs.items():
                before = self._runs.get(row_key)
                if before is None:
                    self._order = None
                elif before.is_finished and not run.is_finished:
                    continue
                elif before.created_at != run.created_at:
                    self._order = None
                self._runs[row_key] = run
                put[row_key] = run
        return put

    def drop(self, row_key: str) -> AnyRun | None:
        """Forget a run, and return it."""
        with self._lock:
            run = self._runs.pop(row_key, None)
            if run is not None:
                self._order = None
            return run

    def get(self, row_key: str) -> AnyRun | None:
        """Return a run, or None."""
        with self._lock:
            return self._runs.get(row_key)

    def known(self, row_keys: Iterable[str]) -> dict[str, AnyRun]:
        """Return those of these runs that are known."""
        with self._lock:
            runs = self._runs
            return (
                {row_key: runs[row_key] for row_key in row_keys if row_key in runs} if runs else {}
            )

    def by_key(self) -> dict[str, AnyRun]:
        """Return the runs by row key, in the order of creation."""
        with self._lock:
            if self._order is None:
                self._order = sorted(self._runs, key=lambda row_key: creation(self._runs[row_key]))
            return {row_key: self._runs[row_key] for row_key in self._order}

    def runs(self) -> list[AnyRun]:
        """Return the runs in the order of creation."""
        return list(self.by_key().values())

    def latest(self) -> AnyRun | None:
        """Return the run of a single-run target."""
        with self._lock:
            return next(reversed(self._runs.values()), None)

    def copy(self) -> RunView:
        """Return a copy that another channel can go on from."""
        with self._lock:
            runs = dict(self._runs)
        return RunView(runs, None if self.parts is None else self.parts.copy())

    def __len__(self) -> int:
        return len(self._runs)

    def __bool__(self) -> bool:
        return bool(self._runs) or (self.parts is not None and bool(self.parts.streams()))

    def inherited(self) -> RunView:
        """Return the same runs and parts under locks of their own, for a forked child: a thread
        that is gone may hold these. Nothing is copied, since nothing changes them there."""
        view = RunView(parts=None if self.parts is None else self.parts.inherited())
        view._runs = self._runs
        return view
