"""What one thread waits for and another one rings, from inside a signal handler too."""

from __future__ import annotations

import queue

from .._clock import at_a_time, monotonic


class Bell:
    """An event whose `ring` takes no lock: it may interrupt a `wait` on the same thread, anywhere.

    For one waiting thread at a time.

    Attributes:
        rung: whether it was rung since it was last cleared.
    """

    def __init__(self) -> None:
        self.rung = False
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Let the wait end, and later ones too until it is cleared."""
        if not self.rung:
            self.rung = True
            self._rings.put(None)

    def clear(self) -> None:
        """Forget that it was rung."""
        self.rung = False
        while not self._rings.empty():
            self._rings.get_nowait()

    def wait(self, seconds: float) -> bool:
        """Wait until it is rung, but no longer than this. Return whether it was."""
        deadline = monotonic() + seconds
        while not self.rung and (left := deadline - monotonic()) > 0:
            try:
                self._rings.get(timeout=at_a_time(left))
            except queue.Empty:
                pass
        return self.rung
