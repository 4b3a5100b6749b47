"""Ctrl-C that comes at a bad moment."""

from __future__ import annotations

import signal


class Uninterrupted:
    """A block of the main thread that Ctrl-C ends only once it is through, or if it comes twice.

    The second one is for a block that waits for something itself: a full pipe, say.
    """

    def __init__(self) -> None:
        self._came = False

    def __enter__(self) -> None:
        # Whoever started this process may have it ignored, which it stays.
        self._holds = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._holds:
            signal.signal(signal.SIGINT, self._on_interrupt)

    def __exit__(self, *exc_info: object) -> None:
        if self._holds:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._came:
            raise KeyboardInterrupt

    def _on_interrupt(self, number: int, frame: object) -> None:
        if self._came:
            raise KeyboardInterrupt
        self._came = True
