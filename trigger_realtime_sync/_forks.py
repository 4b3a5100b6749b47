"""What is made anew in a forked child, where no thread but the one that forked exists."""

from __future__ import annotations

# logging first: a fork takes the locks of who registered last first, and an import may want its.
import logging  # noqa: F401
import os
import threading
from collections.abc import Callable

# Held while something is imported that was not imported with the client, and while the process
# forks: a child that is forked in the middle of an import waits for ever for it to end. Reentrant:
# a signal handler may do either.
importing = threading.RLock()
# Seconds that a fork waits for an import, which may itself wait for the thread that forks.
LONGEST_WAIT = 5.0

_renewals: list[Callable[[], object]] = []
_process = os.getpid()


def in_child(renew: Callable[[], object]) -> None:
    """Call this function in every child that is forked from now on."""
    _renewals.append(renew)


def notice() -> None:
    """Do what the hook below would have done, in a child of a fork that skipped it.

    uwsgi forks so, unless it is told otherwise. Every public call begins with this.
    """
    if os.getpid() != _process:
        _renew()


def _before_fork() -> None:
    importing.acquire(timeout=LONGEST_WAIT)


def _after_fork() -> None:
    try:
        importing.release()
    except RuntimeError:
        # It was not to be had in time.
        pass


def _after_fork_in_child() -> None:
    _after_fork()
    _renew()


def _renew() -> None:
    global _process, importing
    # Whoever held it does not exist here.
    importing = threading.RLock()
    _process = os.getpid()
    for renew in _renewals:
        renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
