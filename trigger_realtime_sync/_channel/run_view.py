"""The latest known state of one subscription, readable from any thread."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timezone

from .._wire.shape_log import went_back
from ..models import AnyRun
from .part_store import PartStore

_LAST = datetime.max.replace(tzinfo=timezone.utc)


def creation(run: AnyRun) -> tuple[datetime, str]:
    """Sorts runs by when they were created."""
    return run.created_at or _LAST, run.id


class RunView:
    """Runs by the key of their row, shown in the order in which they were created.

    Attributes:
        parts: those of their streams, where streams are read.
    """

    def __init__(
        self, runs: Mapping[str, AnyRun] | None = None, parts: PartStore | None = None
    ) -> None:
        self.parts = parts
        # Protects the two below: the reading thread writes, any thread reads.
        self._lock = threading.Lock()
        self._runs = dict(runs or {})
        self._order: list[str] | None = None

    def put(self, runs: Mapping[str, AnyRun]) -> Mapping[str, AnyRun]:
        """Puts those that are not older than what is known, and returns these: a cache, or another
        feed, may have been ahead."""
        news: dict[str, AnyRun] = {}
        with self._lock:
            if not self._runs:
                self._runs.update(runs)
                self._order = None
                return runs
            for key, run in runs.items():
                before = self._runs.get(key)
                if before is None:
                    self._order = None
                elif went_back(before, run):
                    continue
                elif before.created_at != run.created_at:
                    self._order = None
                self._runs[key] = run
                news[key] = run
        return news

    def drop(self, key: str) -> None:
        with self._lock:
            if self._runs.pop(key, None) is not None:
                self._order = None

    def get(self, key: str) -> AnyRun | None:
        with self._lock:
            return self._runs.get(key)

    def by_key(self) -> dict[str, AnyRun]:
        """The runs by key, in the order of creation."""
        with self._lock:
            if self._order is None:
                self._order = sorted(self._runs, key=lambda key: creation(self._runs[key]))
            return {key: self._runs[key] for key in self._order}

    def runs(self) -> list[AnyRun]:
        """The runs in the order of creation."""
        return list(self.by_key().values())

    def latest(self) -> AnyRun | None:
        """The one run of a single-run subscription."""
        with self._lock:
            return next(reversed(self._runs.values()), None)

    def copy(self) -> RunView:
        with self._lock:
            runs = dict(self._runs)
        return RunView(runs, None if self.parts is None else self.parts.copy())

    def __len__(self) -> int:
        return len(self._runs)

    def __bool__(self) -> bool:
        return bool(self._runs) or (self.parts is not None and bool(self.parts.streams()))

    def abandon_lock(self) -> None:
        """In a forked child, where a lock may be held by a thread that does not exist."""
        self._lock = threading.Lock()
        if self.parts is not None:
            self.parts.abandon()
