"""The clock that all waits run on, and how long they last at a time.

Libraries that stop the time of a test, as freezegun does, replace `time.monotonic` wherever they
find it, and the time of a wait never comes then. This one they don't know.
"""

from __future__ import annotations

import threading
import time
from functools import partial

# Seconds that one wait lasts at the most: Python refuses some that are longer.
LONGEST_SECONDS = 1e6
# The same on the main thread, for the sake of signals.
SIGNAL_SECONDS = 0.5

if hasattr(time, "clock_gettime"):
    monotonic = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
else:
    # Windows. They look for the function, and not inside of others.
    monotonic = partial(time.monotonic)


def at_a_time(seconds: float | None) -> float:
    """Return for how long this thread may wait before it looks again whether it waits on.

    Python runs the handler of a signal on the main thread, when that does anything. A signal ends
    a wait of that thread, but not if it comes just before the wait begins, or if the system gives
    it to another thread: then its handler would run when the wait is over.

    Args:
        seconds: for how long it waits in all; None for no bound.
    """
    is_main = threading.get_ident() == threading.main_thread().ident
    longest = SIGNAL_SECONDS if is_main else LONGEST_SECONDS
    return longest if seconds is None else min(max(0.0, seconds), longest)
