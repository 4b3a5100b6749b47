"""The parts of the streams of one channel, and how far each receiver has read in them.

The threads that read the network append; receivers take the parts that are new to them, each at its
own pace; and the reading threads wait for the slowest of them, so that TCP holds the server back.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import weakref
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .._dispatch.waiters import Waiters
from ..models import Parts
from .part_log import PartLog
from .session_log import SessionLog

if TYPE_CHECKING:
    from .._wire.session_turns import Turn
    from .._wire.stream_parts import Control, Position, Positions

# How many parts, or bytes of the body, of one stream may wait for a taker before the reading of the
# stream pauses, whichever comes first.
MOST_PARTS_WAITING = 2_000
MOST_BYTES_WAITING = 1 << 20
# How often a paused reader looks again: an iterator that was dropped unclosed notifies nobody.
LOOK_AGAIN_SECONDS = 1.0

# How many bytes of the body the parts of all streams of a channel may have come in that are kept to
# be looked at.
MAX_PART_BYTES = 64 << 20
# They are dropped many at once: when there are too many, until this share of the bound is free.
SPARE_SHARE = 64
# Bytes of parts that are remembered as one batch: they count alike, and are of one age.
LARGEST_BATCH = 64 << 10

StreamKey = tuple[str, str]

logger = logging.getLogger("trigger_realtime_sync")


class Taker:
    """How far one receiver or iterator has read: of each stream the parts, bytes and log."""

    def __init__(self) -> None:
        self.taken: dict[StreamKey, tuple[int, int, object]] = {}

    def progress(self, stream: StreamKey, log: PartLog) -> tuple[int, int]:
        """Return how many parts of the log were taken, and how many bytes of the body before."""
        parts, size, lineage = self.taken.get(stream, (0, 0, None))
        return (parts, size) if lineage is log.lineage else (0, 0)

    def advance(self, stream: StreamKey, log: PartLog, parts: int, size: int) -> None:
        self.taken[stream] = (parts, size, log.lineage)


class PartStore:
    """Keeps the parts of many streams until every taker has them, and then the newest of them.

    Args:
        most_kept: how many parts of each stream stay to be looked at; None for all.
        most_bytes: how many bytes of the body those of all streams may have come in; None for any.
        label: what is read, for the log.
        has_controls: whether control records stand among them, as in a session.
    """

    def __init__(
        self,
        most_kept: int | None = None,
        most_bytes: int | None = MAX_PART_BYTES,
        label: str = "streams",
        *,
        has_controls: bool = False,
    ) -> None:
        self.has_controls = has_controls
        self._most_kept = most_kept
        self._most_bytes = most_bytes
        self._most: float = math.inf if most_bytes is None else most_bytes
        self._spare = self._most / SPARE_SHARE
        self._largest_batch = min(LARGEST_BATCH, self._spare)
        self._label = label
        # Notified when parts came or were taken, or a taker left.
        self._waiters = Waiters()
        # Protects everything below.
        self._lock = threading.Lock()
        self._logs: defaultdict[StreamKey, PartLog] = defaultdict(
            SessionLog if has_controls else PartLog
        )
        self._takers: weakref.WeakSet[Taker] = weakref.WeakSet()
        self._closed = False
        self._arrivals = itertools.count()
        self._bytes = 0
        # They are looked through only when there are more bytes than this.
        self._enough = self._most
        self._dropped = 0
        # That parts are dropped for their bytes: True once it is so, and once it is in the log.
        self._is_over = False
        self._is_told = False

    @property
    def kept_bytes(self) -> int:
        """How many bytes of the body the parts that are kept came in."""
        return self._bytes

    @property
    def dropped(self) -> int:
        """How many parts were dropped, of all streams together."""
        return self._dropped

    def append(
        self,
        stream: StreamKey,
        values: Sequence[Any],
        positions: Iterable[tuple[int, Positions]],
        size: int,
        position: Position,
        turns: Sequence[Turn] = (),
    ) -> None:
        """Append parts.

        Args:
            positions: after the parts, with the number of parts that each covers. May be empty for
                a stream that is never read by `take_one`.
            size: bytes of the body they came in.
            position: after everything that was read.
            turns: of a session, those that ended.
        """
        with self._lock:
            log = self._logs[stream]
            log.append(values, positions, position)
            if isinstance(log, SessionLog):
                log.add_turns(turns)
            self._bytes += log.weigh(size, next(self._arrivals), self._largest_batch)
            self._trim(stream, log)
            if self._bytes > self._enough:
                self._make_spare()
        self._waiters.notify()

    def wait_for_room(self, stream: StreamKey) -> None:
        """Block while a taker is too far behind in this stream."""
        self._tell_once()
        if not self._has_no_room(stream):
            return
        waiter = self._waiters.join()
        while self._has_no_room(stream):
            waiter.wait(LOOK_AGAIN_SECONDS)

    def take(self, taker: Taker, stream: StreamKey) -> tuple[Parts[Any], Any]:
        """Return all parts that are new to the taker, and the position after them; of a session
        what `SessionLog.since` does."""
        with self._lock:
            log = self._logs.get(stream)
            if log is None:
                return Parts(), None
            values = log.since(taker.progress(stream, log)[0])
            taker.advance(stream, log, log.end, log.bytes)
            self._trim(stream, log)
            position = log.position
            self._trim_bytes()
        self._waiters.notify()
        self._tell_once()
        return values, position

    def turns(self, stream: StreamKey) -> tuple[Turn, ...]:
        """Return the turns of a session's channel that are over, in order."""
        log = self._logs.get(stream)
        return log.turns if isinstance(log, SessionLog) else ()

    def keeps(self, stream: StreamKey, control: Control) -> bool:
        """Return True if a control record is there to be taken."""
        with self._lock:
            log = self._logs.get(stream)
            return isinstance(log, SessionLog) and log.keeps(control)

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
            value, position = log.at(index), log.position_after(index)
            caught_up = index + 1 >= log.end
            taker.advance(stream, log, index + 1, log.bytes if caught_up else size)
            self._trim(stream, log)
            if log.ends_a_batch(index + 1):
                # Not for each part: an iterator that is late has many of them.
                self._trim_bytes()
        self._waiters.notify()
        self._tell_once()
        return value, position

    def add(self, taker: Taker) -> None:
        """Apply backpressure for this taker from now on."""
        with self._lock:
            self._takers.add(taker)

    def remove(self, taker: Taker) -> None:
        with self._lock:
            self._takers.discard(taker)
            self._trim_bytes()
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
            return log.newest(self._most_kept)

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
                self._bytes -= sum(batch.bytes for _, batch in self._logs.pop(stream).batches())
                for taker in self._takers:
                    taker.taken.pop(stream, None)
            self._enough = self._most
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
        store = self._of_its_kind()
        with self._lock:
            store._logs.update({stream: log.copy() for stream, log in self._logs.items()})
            store._arrivals = itertools.count(next(self._arrivals))
            store._bytes, store._dropped = self._bytes, self._dropped
            store._is_over, store._is_told = self._is_over, self._is_told
        return store

    def inherited(self) -> PartStore:
        """Return the same parts under a lock of their own, for a forked child: a thread that is
        gone may hold this one."""
        store = self._of_its_kind()
        store._logs, store._closed = self._logs, True
        store._bytes, store._dropped = self._bytes, self._dropped
        return store

    def _of_its_kind(self) -> PartStore:
        return PartStore(
            self._most_kept, self._most_bytes, self._label, has_controls=self.has_controls
        )

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

    def _trim(self, stream: StreamKey, log: PartLog) -> None:
        """Drop parts that every taker has and that are more than are kept of a stream."""
        if self._most_kept is None:
            return
        surplus = log.surplus(self._most_kept)
        if surplus > 0:
            surplus = min(surplus, self._taken_of(stream, log) - log.base)
        if surplus > 0:
            self._drop(log, surplus)

    def _trim_bytes(self) -> None:
        if self._bytes > self._most:
            self._make_spare()

    def _make_spare(self) -> None:
        """Drop the oldest parts that every taker has, in whichever stream, until there is room for
        more."""
        oldest = sorted(
            (batch.arrival, batch.end, stream)
            for stream, log in self._logs.items()
            for _, batch in log.batches()
        )
        for _, end, stream in oldest:
            surplus = self._bytes - int(self._most - self._spare)
            if surplus <= 0:
                break
            log = self._logs[stream]
            start, batch = next(log.batches())
            # Otherwise some of what came before it is still to be taken.
            if batch.end == end:
                count = min(end, self._taken_of(stream, log)) - start
                self._drop_for_bytes(log, min(count, batch.needed(surplus, end - start)))
        # What is still to be taken is not looked through again for each part that comes.
        self._enough = max(self._most, self._bytes + self._spare)

    def _drop_for_bytes(self, log: PartLog, count: int) -> None:
        if count > 0:
            self._is_over = True
            self._drop(log, count)

    def _taken_of(self, stream: StreamKey, log: PartLog) -> int:
        """Return how many parts every taker has."""
        return min((taker.progress(stream, log)[0] for taker in self._takers), default=log.end)

    def _drop(self, log: PartLog, count: int) -> None:
        self._dropped += log.parts_in(count)
        self._bytes -= log.drop(count)

    def _tell_once(self) -> None:
        """Log that parts are dropped for their bytes. Call it without the lock: a log handler may
        look at the subscription."""
        if self._is_told or not self._is_over:
            return
        self._is_told = True
        logger.warning(
            "%s: parts that came in more than max_part_bytes=%s are dropped, the oldest first",
            self._label,
            self._most_bytes,
        )
