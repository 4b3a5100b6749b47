"""Waiting for conditions, and recording the calls of callbacks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from trigger_realtime_sync._clock import monotonic

PATIENCE = 10.0

# Seconds within which what waits for nothing is over on a busy machine. Nothing that this library
# waits for takes less than a second.
AT_ONCE = 0.5


def eventually(condition: Callable[[], Any], what: str = "", seconds: float = PATIENCE) -> Any:
    """Return the condition's value as soon as it is true; fail if it never is.

    A condition that looks at the last of something which is still empty is not true yet.
    """
    deadline = monotonic() + seconds
    while True:
        with contextlib.suppress(IndexError):
            if said := condition():
                return said
        if monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.002)


def threads_named(part: str) -> list[threading.Thread]:
    """Return the living threads with this in their names.

    Python lists one whose start was interrupted too, for ever: it never lived.
    """
    return [one for one in threading.enumerate() if part in one.name and one.is_alive()]


class Recorder:
    """Callbacks that remember what they were called with, on which thread, and when."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.events: list[tuple[str, Any]] = []
        self.times: list[float] = []
        self.threads: set[int] = set()
        self.overlaps = 0
        self._running = 0

    def _note(self, kind: str, value: Any) -> None:
        with self._changed:
            self.overlaps += self._running > 0
            self._running += 1
            self.events.append((kind, value))
            self.times.append(monotonic())
            self.threads.add(threading.get_ident())
            self._changed.notify_all()
        # A second callback at the same time would be seen here.
        time.sleep(0)
        with self._changed:
            self._running -= 1

    def on_update(self, run: Any) -> None:
        self._note("update", run)

    def on_complete(self, run: Any) -> None:
        self._note("complete", run)

    def on_error(self, error: Any) -> None:
        self._note("error", error)

    @property
    def options(self) -> dict[str, Any]:
        """For `subscribe_…(…, **recorder.options)`."""
        return {
            "on_update": self.on_update,
            "on_complete": self.on_complete,
            "on_error": self.on_error,
        }

    def of(self, kind: str) -> list[Any]:
        with self._changed:
            return [value for name, value in self.events if name == kind]

    @property
    def updates(self) -> list[Any]:
        return self.of("update")

    @property
    def completes(self) -> list[Any]:
        return self.of("complete")

    @property
    def errors(self) -> list[Any]:
        return self.of("error")

    @property
    def statuses(self) -> list[str]:
        return [run.status.value for run in self.updates]

    def wait(self, kind: str, count: int = 1, seconds: float = PATIENCE) -> list[Any]:
        """Block until at least this many calls of a kind came; return their arguments."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.of(kind)) >= count, seconds):
                raise AssertionError(f"not {count} {kind}s within {seconds} s: {self.events}")
            return self.of(kind)


class Gate:
    """A callback that blocks until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()
        self.calls = 0

    def __call__(self, *arguments: Any) -> None:
        self.calls += 1
        self.entered.set()
        self.go.wait(30)
