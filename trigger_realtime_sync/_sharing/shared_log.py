"""What a fleet needs of the store that it shares: five methods.

A log is a list of entries under a key. One process at a time may append, the one that holds the
key's lease; whoever held it before is refused, however late it comes, and so is whoever does not
know the log's tail. So no two leaders ever mix, and no lease has to be trusted: it only saves work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import attrs

from .entries import Entry, EntryId, Placed


class Refused(Exception):
    """The append was not done, and this leader must begin again, or stop."""


class Fenced(Refused):
    """The lease is another one's, or nobody's."""


class Moved(Refused):
    """The tail is not the one that was expected: the store lost something, or put it back."""


class LogAway(Exception):
    """The store does not answer. What was being done may have been done."""


@attrs.frozen(kw_only=True)
class Append:
    """One append.

    Attributes:
        key: of the log.
        token: of the lease.
        entry: what to append.
        opens: whether it opens an epoch.
        tail: the id of the last entry there is, None if there is none; ANY if that does not matter.
        keep_from: the oldest entry to keep; None for all. With ALONE only the new one is kept.
    """

    key: str
    token: str
    entry: Entry
    opens: bool
    tail: EntryId | None
    keep_from: EntryId | None = None


class Appended(NamedTuple):
    """Where an entry is, and how many bytes it takes."""

    id: EntryId
    size: int


# Stands for any tail, and for the entry that is being appended. No log has them.
ANY = EntryId(0, 0)
ALONE = EntryId(0, 1)


@attrs.define(kw_only=True)
class Claim:
    """What a process says of one key, each third of a lease.

    Attributes:
        key: of the log.
        token: of the lease it holds, or would hold.
        wants: whether it would lead now.
        holds: whether it led when it was last answered.
        says: if it leads: the time of the server's last answer, and how it goes, as one text.
        writer: what it knows of a stream's writer, as a rank; ranks only grow.
        target: describes what is read, for those who lead what others follow; never a token. Empty
            where that was said not long ago.
        follows: whether it follows the key itself.
    """

    key: str
    token: str
    wants: bool
    holds: bool = False
    says: str = ""
    writer: int = 0
    target: str = ""
    follows: bool = True


# How many leases beyond its share a process takes at a time.
BEYOND_SHARE = 2


@attrs.frozen(kw_only=True)
class Share:
    """How many leases a process may take: its share of what it follows, and few beyond it.

    Attributes:
        keys: how many keys it follows.
        led: how many of them it leads.
        late: how many were left to others, who did not take them.
    """

    keys: int
    led: int
    late: int

    def most(self, processes: int) -> int:
        """Return how many it may take where there are so many processes."""
        return max(-(-self.keys // processes) + BEYOND_SHARE - self.led, 0) + self.late


@attrs.frozen(kw_only=True)
class Standing:
    """What a process is told about one key.

    Attributes:
        token: of whoever holds the lease, or None.
        says: what the holder said last.
        left: seconds until the lease ends unless it is renewed.
        tail: the id of the log's last entry.
        writer: the highest rank that anyone said.
    """

    token: str | None
    says: str
    left: float
    tail: EntryId | None
    writer: int


@attrs.frozen
class Listener:
    """Who is told what is published. Called on one thread, which must not block.

    Attributes:
        on_entry: called with the key, the id and the bytes of an entry; without bytes where it must
            be read from the log.
        on_hint: called with a key whose claim should be made now: its lease was given up, or its
            writer's state changed.
        on_joined: called with a key from which on what is published is told.
    """

    on_entry: Callable[[str, EntryId, bytes], None]
    on_hint: Callable[[str], None]
    on_joined: Callable[[str], None]


class SharedLog(Protocol):
    """Safe from any thread, but for `listen`. Any method may raise LogAway."""

    def append(self, append: Append) -> Appended:
        """Append an entry, and publish it.

        Raises:
            Fenced, Moved: see there.
        """

    def read(self, key: str, after: EntryId | None, most: int) -> list[Placed]:
        """Return the entries after this one, the oldest first."""

    def tail(self, key: str) -> Placed | None:
        """Return the last entry, None without any."""

    def claim(self, process: str, claims: Sequence[Claim], share: Share) -> list[Standing]:
        """Renew the leases that are held, and take those that are wanted and free.

        Args:
            process: names this process.
            share: how many to take at most.

        Returns:
            How each key stands.
        """

    def release(self, key: str, token: str) -> None:
        """Give up a lease, if it is still held."""

    def wanted(self) -> dict[str, str]:
        """Return what is followed by anyone: the targets by key."""

    def subscribe(self, keys: Sequence[str]) -> None:
        """Tell the listener what is published for these keys, too."""

    def unsubscribe(self, keys: Sequence[str]) -> None:
        """Tell it no longer."""

    def listen(self, listener: Listener, seconds: float) -> None:
        """Tell the listener what is published, for so many seconds or until `wake`. Call it on one
        thread only."""

    def wake(self) -> None:
        """Let `listen` return soon."""

    def close(self) -> None:
        """Close all connections."""
