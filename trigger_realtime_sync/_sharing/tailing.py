"""The entries of one log as they come: what is published, and what a gap makes be read."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import attrs

from .entries import Codec, EntryId, Placed, Unreadable
from .reader import LogReader, Verdict
from .shared_log import SharedLog
from .writers import pages

# How many entries, and bytes of them, wait for a follower that is busy. Beyond them nothing is
# kept: the log has it.
MOST_WAITING = 1000
MOST_BYTES_WAITING = 4 << 20


class Inbox:
    """What was published for one follower. Safe from any thread, and never full: what does not fit
    is a gap."""

    def __init__(self) -> None:
        # Protects everything below.
        self._lock = threading.Lock()
        self._items: deque[tuple[EntryId, bytes]] = deque()
        self._bytes = 0
        self._gap = False
        self._look: tuple[EntryId | None, EntryId | None] = (None, None)

    def post(self, id_: EntryId, blob: bytes) -> None:
        """Take an entry; without bytes it must be read from the log."""
        with self._lock:
            is_full = len(self._items) >= MOST_WAITING or self._bytes >= MOST_BYTES_WAITING
            if self._gap or is_full or not blob:
                self._drop()
            else:
                self._items.append((id_, blob))
                self._bytes += len(blob)

    def miss(self) -> None:
        """Note that something may not have been published, or not for us."""
        with self._lock:
            self._drop()

    def look_at(self, tail: EntryId | None, before: EntryId | None) -> None:
        """Note the last entry of the log, and which was taken last before that was asked."""
        with self._lock:
            self._look = (tail, before)

    def _drop(self) -> None:
        self._items.clear()
        self._bytes = 0
        self._gap = True

    def take(
        self,
    ) -> tuple[list[tuple[EntryId, bytes]], bool, tuple[EntryId | None, EntryId | None]]:
        """Return what was published, whether there is a gap, and what `look_at` was told last."""
        with self._lock:
            items, gap, look = list(self._items), self._gap, self._look
            self._items.clear()
            self._bytes = 0
            self._gap, self._look = False, (None, None)
            return items, gap, look

    def __bool__(self) -> bool:
        return bool(self._items) or self._gap


class Tailer:
    """Yields each entry of a log once and in order, for one follower.

    Attributes:
        inbox: where what is published comes in.
        start: the tail when the follower came, None where the log was empty, or not read yet.
    """

    def __init__(self, log: SharedLog, key: str, codec: Codec) -> None:
        self.inbox = Inbox()
        self.start: EntryId | None = None
        self._log = log
        self._key = key
        self._codec = codec
        self._reader = LogReader()
        self._has_read = False
        self._past: EntryId | None = None

    @property
    def last(self) -> EntryId | None:
        """The last entry that was taken. Safe from any thread."""
        return self._reader.last

    def is_old(self, id_: EntryId) -> bool:
        """Return True for what the log had when the follower came: errors of then are not its
        own."""
        return not self._has_read or (self.start is not None and id_ <= self.start)

    def entries(self) -> Iterator[Placed]:
        """Yield what is new. An entry counts as taken when the next one is asked for.

        Raises:
            LogAway: the log can't be read.
        """
        items, gap, (tail, before) = self.inbox.take()
        for id_, blob in items:
            verdict = self._reader.judge(id_)
            if verdict is Verdict.GAP:
                gap = True
                break
            if verdict is Verdict.TAKE:
                yield self._placed(id_, blob)
                self._reader.take(id_)
        if self._has_read and self._reader.went_back(tail, before):
            self._past = tail
        if gap or (self._has_read and self._reader.is_behind(tail)):
            yield from self._read()
            self._past = None

    def _read(self) -> Iterator[Placed]:
        try:
            for page in pages(self._log, self._key, self._reader.last):
                for placed in page:
                    if self._reader.judge(placed.id) is Verdict.GAP and self._reader.last:
                        # What is between was trimmed, and what is here begins with a snapshot, or
                        # with parts that say where they belong.
                        self._reader.last = None
                    if self._past is not None and placed.id <= self._past:
                        placed = attrs.evolve(placed, is_past=True)
                    yield placed
                    self._reader.take(placed.id)
        except BaseException:
            self.inbox.miss()
            raise
        if not self._has_read:
            self._has_read, self.start = True, self._reader.last

    def _placed(self, id_: EntryId, blob: bytes) -> Placed:
        try:
            return Placed(id_, self._codec.decode(blob))
        except Unreadable:
            return Placed(id_, None)
