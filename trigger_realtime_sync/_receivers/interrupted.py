"""Whether a signal handler, or a `__del__`, has interrupted what may hold a lock on this thread."""

from __future__ import annotations

import sys
import threading
from types import FrameType

from .delivery import Delivery

# The private rooms: what takes locks is in them.
_OURS = __name__.split(".")[0] + "._"
# Around each callback of the user's: no lock is held there.
_CALLBACK = Delivery.call.__code__
# The collector calls it anywhere, while a lock of Python's own is held too.
_FINALIZER = "__del__"
# Modules that take locks which the janitor needs, or that finalize (`weakref.finalize`).
_OTHERS = frozenset({"logging", "weakref"})
# The functions of `threading` that take the locks of starting. What waits for an event, as main
# threads do, is not among them.
_STARTING = frozenset({"start", "enumerate", "_delete"})
_BOOTSTRAP = "_bootstrap_inner"


def is_inside() -> bool:
    """Return True if whoever called the public method may have interrupted this thread while it
    held a lock that the janitor needs: then it must not wait for the janitor.

    So it is where a frame of ours lies below. Frames of the public modules don't count: they hold
    no lock.
    """
    # From the caller on: this frame is ours as well.
    frame: FrameType | None = sys._getframe(1)
    called: FrameType | None = None
    while frame is not None:
        if frame.f_code is _CALLBACK:
            return False
        module = frame.f_globals.get("__name__", "")
        if module.startswith(_OURS) or module in _OTHERS:
            return True
        if frame.f_code.co_name == _FINALIZER:
            return True
        if module == threading.__name__ and _may_hold_a_lock(frame, called):
            return True
        called, frame = frame, frame.f_back
    return False


def _may_hold_a_lock(frame: FrameType, called: FrameType | None) -> bool:
    """Return True if a frame of `threading` may hold a lock.

    Args:
        called: the frame that it has called.
    """
    name = frame.f_code.co_name
    if name != _BOOTSTRAP:
        return name in _STARTING
    # It is below of all that a thread does, and holds none while it runs the thread's function.
    return called is None or (
        called.f_globals.get("__name__") == threading.__name__ and called.f_code.co_name != "run"
    )
