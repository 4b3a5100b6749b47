"""Whether a signal handler, or a `__del__`, has interrupted a call of ours on this thread."""

from __future__ import annotations

import sys
from types import FrameType

from .delivery import Delivery

# The private rooms: what takes locks is in them.
_OURS = __name__.split(".")[0] + "._"
# Around each callback of the user's: no lock is held there.
_CALLBACK = Delivery.call.__code__


def is_inside() -> bool:
    """Return True if a frame of ours lies below whoever called the public method.

    Frames of the public modules don't count: they hold no lock.
    """
    # From the caller on: this frame is ours as well.
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is _CALLBACK:
            return False
        if frame.f_globals.get("__name__", "").startswith(_OURS):
            return True
        frame = frame.f_back
    return False
