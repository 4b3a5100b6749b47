"""The parts of the streams of one channel, and how far each receiver has read in them.

The threads that read the network append; receivers take the parts that are new to them, each at its
own pace; and the reading threads wait for the slowest of them, so that TCP holds the server back.
"""

from __future__ import annotations

import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .._dispatch.waiters import Waiters
from .position_log import PositionLog

if TYPE_CHECKING:
    from .._wire.stream_parts import Position, Positions

# How many parts, or bytes of the body, of one stream may wait for a taker before the reading of the
# stream pauses, whichever comes first.
MOST_PARTS_WAITING = 2_000
MOST_BYTES_WAITING = 1 << 20
# How often a paused reader looks again: an iterator that was dropped unclosed notifies nobody.
LOOK_AGAIN_SECONDS = 1.0

StreamKey = tuple[str, str]


class Log:
    """The parts of one stream that are kept.

    Attributes:
        lineage: another object for a log that was dropped and begun anew: progress in the old one
            means nothing in the new one.
        base: how many parts were dropped.
        bytes: the size of the body up to the last part.
        values: the parts from `base` on.
        positions: after each part, by its number.
        position: after everything that was read.
    """

    __slots__ = ("base", "bytes", "lineage", "position", "positions", "values")

    def __init__(self) -> None:
        self.lineage = object()
        self.base = 0
        self.bytes = 0
        self.values: list[Any] = []
        self.positions = PositionLog()
        self.position: Position | None = None

    @property
    def end(self) -> int:
        return self.base + len(self.values)

    def copy(self) -> Log:
        log = Log()
        log.lineage = self.lineage
        log.base, log.bytes, log.position = self.base, self.bytes, self.position
        log.values, log.positions = list(self.values), self.positions.copy()
        return log


class Taker:
    """How far one receiver or iterator has read: of each stream the parts, bytes and log."""

    def __init__(self) -> None:
        self.taken: dict[StreamKey, tuple[int, int, object]] = {}

    def progress(self, stream: StreamKey, log: Log) -> tuple[int, int]:
        """Return how many parts of the log were taken, and how many bytes of the body before."""
        parts, size, lineage = self.taken.get(stream, (0, 0, None))
        return (parts, size) if lineage is log.lineage else (0, 0)

    def advance(self, stream: StreamKey, log: Log, parts: int, size: int) -> None:
        self.taken[stream] = (parts, size, log.lineage)


class PartStore:
    """Keeps the parts of many streams until every taker has them, and then the newest of them.

    Args:
        most_kept: how many parts of each stream stay to be looked at; None for all.
    """

    def __init__(self, most_kept: int | None = None) -> None:
        self._most_kept = most_kept
        # Notified when parts came or were taken, or a taker left.
        self._waiters = Waiters()
        # Protects everything below.
        self._lock = threading.Lock()
        self._logs: defaultdict[StreamKey, Log] = defaultdict(Log)
        self._takers: weakref.WeakSet[Taker] = weakref.WeakSet()
        self._closed = False

    def append(
        self,
        stream: StreamKey,
        values: Sequence[Any],
        positions: Iterable[tuple[int, Positions]],
        size: int,
        position: Position,
    ) -> None:
        """Append parts.

        Args:
            positions: after the parts, with the number of parts that each covers. May be empty for
                a stream that is never read by `take_one`.
            size: bytes of the body they came in.
            position: after everything that was read.
        """
        with self._lock:
            log = self._logs[stream]
            log.values.extend(values)
            for count, some in positions:
                log.positions.add(count, some)
            log.bytes += size
            log.position = position
            self._trim(stream, log)
        self._waiters.notify()

    def wait_for_room(self, stream: StreamKey) -> None:
        """Block while a taker is too far behind in this stream."""
        if not self._has_no_room(stream):
            return
        waiter = self._waiters.join()
        while self._has_no_room(stream):
            waiter.wait(LOOK_AGAIN_SECONDS)

    def take(self, taker: Taker, stream: StreamKey) -> tuple[list[Any], Any]:
        """Return all parts that are new to the taker, and the position after them."""
        with self._lock:
            log = self._logs.get(stream)
            if log is None:
                return [], None
            start = taker.progress(stream, log)[0]
            values = log.values[max(0, start - log.base) :]
            taker.advance(stream, log, log.end, log.bytes)
            self._trim(stream, log)
            position = log.position
        self._waiters.notify()
        return values, position

    def take_one(self, taker: Taker, stream: StreamKey, timeout: float) -> tuple[Any, Any] | None:
        """Return `(part, position after it)`; None if none came in `timeout` seconds, or none
        will."""
        one = self._next(taker, stream)
        if one is not None or not timeout:
            return one
        waiter = self._waiters.join()
        # It may have come meanwhile.
        one = self._next(taker, stream)
        if one is None and not self._closed:
            waiter.wait(timeout)
            one = self._next(taker, stream)
        return one

    def _next(self, taker: Taker, stream: StreamKey) -> tuple[Any, Any] | None:
        with self._lock:
            log = self._logs[stream]
            index, size = taker.progress(stream, log)
            index = max(index, log.base)
            if index >= log.end:
                return None
            value, position = log.values[index - log.base], log.positions[index]
            caught_up = index + 1 >= log.end
            taker.advance(stream, log, index + 1, log.bytes if caught_up else size)
            self._trim(stream, log)
        self._waiters.notify()
        return value, position

    def add(self, taker: Taker) -> None:
        """Apply backpressure for this taker from now on."""
        with self._lock:
            self._takers.add(taker)

    def remove(self, taker: Taker) -> None:
        with self._lock:
            self._takers.discard(taker)
        self._waiters.notify()

    def streams(self, run_id: str | None = None) -> list[StreamKey]:
        """Return the streams that have parts, of one run or of all."""
        with self._lock:
            return [s for s, log in self._logs.items() if log.end and run_id in (None, s[0])]

    def values(self, stream: StreamKey) -> list[Any]:
        """Return the parts that are kept to be looked at."""
        with self._lock:
            log = self._logs.get(stream)
            if log is None or self._most_kept == 0:
                return []
            return log.values[-self._most_kept :] if self._most_kept else list(log.values)

    def position(self, stream: StreamKey) -> Any:
        """Return the position after the last part, None if none came."""
        with self._lock:
            log = self._logs.get(stream)
            return None if log is None else log.position

    def is_taken(self, run_id: str) -> bool:
        """Return True if every taker has all parts of the run's streams."""
        with self._lock:
            logs = [(stream, log) for stream, log in self._logs.items() if stream[0] == run_id]
            return all(
                taker.progress(stream, log)[0] >= log.end
                for taker in self._takers
                for stream, log in logs
            )

    def forget(self, run_id: str) -> None:
        """Drop the streams of a run that is gone."""
        with self._lock:
            for stream in [stream for stream in self._logs if stream[0] == run_id]:
                del self._logs[stream]
        self._waiters.notify()

    def close(self) -> None:
        """Release all who wait: nothing will be appended any more."""
        with self._lock:
            self._closed = True
        self._waiters.notify()

    @property
    def closed(self) -> bool:
        return self._closed

    def copy(self) -> PartStore:
        """Return a copy for the next channel to continue from."""
        store = PartStore(self._most_kept)
        with self._lock:
            store._logs.update({stream: log.copy() for stream, log in self._logs.items()})
        return store

    def inherited(self) -> PartStore:
        """Return the same parts under a lock of their own, for a forked child: a thread that is
        gone may hold this one."""
        store = PartStore(self._most_kept)
        store._logs, store._closed = self._logs, True
        return store

    def _has_no_room(self, stream: StreamKey) -> bool:
        with self._lock:
            return not self._closed and self._is_full(stream)

    def _is_full(self, stream: StreamKey) -> bool:
        log = self._logs.get(stream)
        if log is None:
            return False
        for taker in self._takers:
            parts, size = taker.progress(stream, log)
            if log.end - parts >= MOST_PARTS_WAITING:
                return True
            if parts < log.end and log.bytes - size >= MOST_BYTES_WAITING:
                return True
        return False

    def _trim(self, stream: StreamKey, log: Log) -> None:
        """Drop parts that every taker has and that need not be kept, with their positions."""
        if self._most_kept is None:
            return
        surplus = len(log.values) - self._most_kept
        if surplus <= 0:
            return
        for taker in self._takers:
            surplus = min(surplus, taker.progress(stream, log)[0] - log.base)
        if surplus > 0:
            del log.values[:surplus]
            log.base += surplus
            log.positions.drop_before(log.base)
