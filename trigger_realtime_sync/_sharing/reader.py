"""Which entries of a log are next, late, or beyond a gap. Pure."""

from __future__ import annotations

import enum

from .entries import EntryId


class Verdict(enum.Enum):
    """What to do with an entry that was published or read."""

    TAKE = enum.auto()
    OLD = enum.auto()
    GAP = enum.auto()


class LogReader:
    """Where one follower is in its log.

    Attributes:
        last: the id of the last entry that was taken, None before the first.
    """

    def __init__(self) -> None:
        self.last: EntryId | None = None

    def judge(self, id_: EntryId) -> Verdict:
        """Return what to do with an entry.

        One that opens an epoch needs nothing before it: a snapshot says all, and a continuation
        where it goes on, so that its taker knows whether parts are missing.
        """
        if self.last is not None and id_ <= self.last:
            return Verdict.OLD
        if self.last is not None and id_ == self.last.next:
            return Verdict.TAKE
        return Verdict.TAKE if id_.n == 1 else Verdict.GAP

    def take(self, id_: EntryId) -> None:
        """Note that an entry was taken."""
        self.last = id_

    def is_behind(self, tail: EntryId | None) -> bool:
        """Return True if there is something to read, by the tail of the log."""
        return tail is not None and (self.last is None or tail > self.last)

    def went_back(self, tail: EntryId | None, before: EntryId | None) -> bool:
        """Return True, and begin again, if the log lost what was taken: it was put back, or begun
        anew by a clock that went back.

        Args:
            tail: the tail of the log.
            before: the last entry that was taken before the tail was looked at.
        """
        if tail is None or before is None or tail >= before:
            return False
        self.last = None
        return True
