"""What stands for a value that was left out, where None is a value."""

from __future__ import annotations

from enum import Enum


class NoPayload(Enum):
    """The type of `NONE`."""

    NONE = "no payload"

    def __repr__(self) -> str:
        return "<none>"


# A payload that was left out: the task gets undefined. None arrives as null.
NONE = NoPayload.NONE
