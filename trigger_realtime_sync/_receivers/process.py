"""What becomes of clients when the process forks or ends."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING

from .._http.call import close_inherited

if TYPE_CHECKING:
    from ..client import RealtimeClient

# How long the end of the process waits for threads: a thread that logs while the interpreter is
# torn down can abort it, so the readers are ended first.
EXIT_SECONDS = 0.2

_clients: weakref.WeakSet[RealtimeClient] = weakref.WeakSet()


def watch(client: RealtimeClient) -> None:
    """Looks after this client from now on."""
    _clients.add(client)


def _close_all() -> None:
    for client in list(_clients):
        client._close(EXIT_SECONDS)


def _reset_all() -> None:
    close_inherited()
    for client in list(_clients):
        client._after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
