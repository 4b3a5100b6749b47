"""What is made anew in a forked child, where no thread but the one that forked exists."""

from __future__ import annotations

import os
from collections.abc import Callable

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


def _renew() -> None:
    global _process
    _process = os.getpid()
    for renew in _renewals:
        renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
