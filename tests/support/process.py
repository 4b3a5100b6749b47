"""What this process holds, by Linux's `/proc`."""

from __future__ import annotations

import contextlib
import os


def resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_sockets() -> int:
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        # Closed since it was listed.
        with contextlib.suppress(OSError):
            count += "socket:" in os.readlink(f"/proc/self/fd/{fd}")
    return count
