"""What a channel needs of whatever reads for it.

The feeds over the network, `RunFeed` and `StreamFeed`, are one kind. Whoever replaces one sends and
waits by the requester it is given, so that the channel can end it and wake it; says by
`requester.note_contact` and `note_trouble` how it goes where it sends nothing itself; and raises
what a feed raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class RunSource(Protocol):
    """Tells the changes of the runs of one target, on the thread that calls `run`."""

    def run(self) -> None:
        """Read until `on_changes` returns False.

        Raises:
            TriggerRealtimeError: the runs can't be read.
            Interrupted: the requester was stopped.
        """

    def forget_seen(self) -> None:
        """Report every row again when the next snapshot contains it. Safe from any thread."""


class SingleRunSource(RunSource, Protocol):
    """Tells the changes of one run, by looks too."""

    @property
    def requests(self) -> int:
        """How many were sent by looks."""

    def look(self) -> bool:
        """Tell its latest state, once, without waiting for a change; see `RunFeed.look`."""


class StreamSource(Protocol):
    """Tells the parts of one stream, on the thread that calls `step`."""

    @property
    def silence(self) -> float:
        """Seconds since the last bytes came or were requested. Safe from any thread."""

    def step(self, may_stay: Callable[[], bool] = ...) -> bool:
        """Read for a while, or wait for what is new.

        Args:
            may_stay: returns False while other streams wait for the thread. A
                `requester.nudge()` comes when one begins to wait after it returned True.

        Returns:
            True if the stream is over.

        Raises:
            TriggerRealtimeError: the stream can't be read.
            Interrupted: the requester was stopped.
        """
