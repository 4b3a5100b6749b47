"""The clock that all waits run on.

Libraries that stop the time of a test, as freezegun does, replace `time.monotonic` wherever they
find it, and the time of a wait never comes then. This one they don't know.
"""

from __future__ import annotations

import time
from functools import partial

if hasattr(time, "clock_gettime"):
    monotonic = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
else:
    # Windows. They look for the function, and not inside of others.
    monotonic = partial(time.monotonic)
