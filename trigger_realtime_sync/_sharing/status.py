"""What operators may want to know of sharing."""

from __future__ import annotations

from typing import NamedTuple


class SharedTarget(NamedTuple):
    """One thing that is read for the fleet.

    Attributes:
        target: its name, `"run run_1234"` say.
        age: seconds since the server last answered whoever reads it; None if that is not known.
        leader: the process that reads it, `"host:4321"`; None if nobody does.
    """

    target: str
    age: float | None
    leader: str | None
