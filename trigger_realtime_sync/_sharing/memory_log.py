"""A shared log within one process: what the store of a fleet must do, without the store."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

import attrs

from .._clock import monotonic
from .entries import Codec, EntryId, Placed, Unreadable
from .shared_log import (
    ALONE,
    ANY,
    Append,
    Appended,
    Claim,
    Fenced,
    Listener,
    Moved,
    Share,
    Standing,
)


@attrs.define
class _Log:
    entries: list[tuple[EntryId, bytes]] = attrs.field(factory=list)
    token: str | None = None
    says: str = ""
    until: float = 0.0
    writer: int = 0

    @property
    def tail(self) -> EntryId | None:
        return self.entries[-1][0] if self.entries else None


class MemoryStore:
    """What several `MemoryLog` share, as several processes share a Redis.

    Args:
        lease: seconds that a lease lasts.
        clock: seconds, for leases.
        today: microseconds, from which epochs are made.
    """

    def __init__(
        self,
        lease: float = 3.0,
        clock: Callable[[], float] = monotonic,
        today: Callable[[], int] = lambda: int(monotonic() * 1e6),
    ) -> None:
        self.lease = lease
        self.clock = clock
        self.today = today
        self.lock = threading.Lock()
        self.logs: dict[str, _Log] = {}
        self.wanted: dict[str, tuple[str, float]] = {}
        self.processes: dict[str, float] = {}
        self.members: list[MemoryLog] = []

    def log(self, key: str) -> _Log:
        return self.logs.setdefault(key, _Log())

    def publish(self, key: str, message: tuple[EntryId, bytes] | None) -> None:
        for member in self.members:
            if key in member.keys:
                member.messages.append((key, message))
                member.came.set()


class MemoryLog:
    """One process's way to the store. See `SharedLog`."""

    def __init__(self, store: MemoryStore, codec: Codec | None = None) -> None:
        self._store = store
        self._codec = codec or Codec()
        self.keys: set[str] = set()
        self.messages: deque[tuple[str, tuple[EntryId, bytes] | None]] = deque()
        self.came = threading.Event()
        self._joined: deque[str] = deque()
        store.members.append(self)

    def append(self, append: Append) -> Appended:
        store = self._store
        with store.lock:
            log = store.log(append.key)
            if log.token != append.token or log.until <= store.clock():
                raise Fenced
            if append.tail != ANY and append.tail != log.tail:
                raise Moved
            before = log.tail
            if append.opens or before is None:
                epoch = max(store.today(), before.epoch + 1 if before else 1)
                id_ = EntryId(epoch, 1)
            else:
                id_ = before.next
            blob = self._codec.encode(append.entry)
            log.entries.append((id_, blob))
            oldest = id_ if append.keep_from == ALONE else append.keep_from
            if oldest is not None:
                log.entries = [one for one in log.entries if one[0] >= oldest]
            store.publish(append.key, (id_, blob))
            return Appended(id_, len(blob))

    def read(self, key: str, after: EntryId | None, most: int) -> list[Placed]:
        with self._store.lock:
            entries = list(self._store.log(key).entries)
        return [self._placed(id_, blob) for id_, blob in entries if after is None or id_ > after][
            :most
        ]

    def tail(self, key: str) -> Placed | None:
        with self._store.lock:
            entries = self._store.log(key).entries
            return self._placed(*entries[-1]) if entries else None

    def _placed(self, id_: EntryId, blob: bytes) -> Placed:
        try:
            return Placed(id_, self._codec.decode(blob))
        except Unreadable:
            return Placed(id_, None)

    def claim(self, process: str, claims: Sequence[Claim], share: Share) -> list[Standing]:
        store = self._store
        with store.lock:
            now = store.clock()
            store.processes[process] = now + 3 * store.lease
            most = share.most(sum(until > now for until in store.processes.values()))
            standings = []
            for one in claims:
                log = store.log(one.key)
                if log.until <= now:
                    log.token, log.says = None, ""
                takes = log.token is None and one.wants and most > 0
                if takes:
                    most -= 1
                if takes or log.token == one.token:
                    log.token, log.says, log.until = one.token, one.says, now + store.lease
                if one.writer > log.writer:
                    log.writer = one.writer
                    store.publish(one.key, None)
                if one.follows:
                    said = one.target or store.wanted.get(one.key, ("", 0.0))[0]
                    store.wanted[one.key] = (said, now + 3 * store.lease)
                left = log.until - now if log.token else 0.0
                standings.append(
                    Standing(
                        token=log.token,
                        says=log.says,
                        left=left,
                        tail=log.tail,
                        writer=log.writer,
                    )
                )
            return standings

    def release(self, key: str, token: str) -> None:
        with self._store.lock:
            log = self._store.log(key)
            if log.token == token:
                log.token = None
                self._store.publish(key, None)

    def wanted(self) -> dict[str, str]:
        with self._store.lock:
            now = self._store.clock()
            return {k: target for k, (target, until) in self._store.wanted.items() if until > now}

    def subscribe(self, keys: Sequence[str]) -> None:
        with self._store.lock:
            self.keys.update(keys)
            self._joined.extend(keys)
        self.came.set()

    def unsubscribe(self, keys: Sequence[str]) -> None:
        with self._store.lock:
            self.keys.difference_update(keys)

    def listen(self, listener: Listener, seconds: float) -> None:
        self.came.wait(seconds)
        self.came.clear()
        while self._joined:
            listener.on_joined(self._joined.popleft())
        while self.messages:
            key, message = self.messages.popleft()
            if message is None:
                listener.on_hint(key)
            else:
                listener.on_entry(key, *message)

    def wake(self) -> None:
        self.came.set()

    def close(self) -> None:
        with self._store.lock:
            if self in self._store.members:
                self._store.members.remove(self)
