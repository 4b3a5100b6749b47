"""What becomes of clients when the process forks or ends."""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol

from .._clock import monotonic
from .._forks import in_child
from .._http.call import close_inherited
from .._http.fetches import stop_all

# How many seconds the end of the process waits for the threads of all clients: a thread that logs
# while the interpreter is torn down can abort it, so the readers are ended first.
EXIT_SECONDS = 0.2


class Watched(Protocol):
    """What has threads to be ended, and locks to be made anew."""

    def stop(self) -> None:
        """Let all threads end."""

    def close(self, deadline: float) -> object:
        """End all threads, and wait for them until a time of `time.monotonic()`."""

    def after_fork(self) -> None:
        """In the child: replace everything that a thread of the parent may have locked."""


_watched: weakref.WeakSet[Watched] = weakref.WeakSet()


def watch(one: Watched) -> None:
    """Look after this one from now on, for as long as it is referenced."""
    _watched.add(one)


def _close_all() -> None:
    watched = list(_watched)
    for one in watched:
        one.stop()
    stop_all()
    deadline = monotonic() + EXIT_SECONDS
    for one in watched:
        one.close(deadline)


def _renew_all() -> None:
    close_inherited()
    for one in list(_watched):
        one.after_fork()


atexit.register(_close_all)
in_child(_renew_all)
