"""The parts of the streams of one subscription, and how far each reader of them has come.

The threads that read the network append; subscribers take all that is new to them, each at its own
pace; and whoever appends waits for the slowest of them, so that TCP holds the server back.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .places import PlaceLog

if TYPE_CHECKING:
    from .._wire.stream_parts import Place, Places

# What may wait for a subscriber before the reading stops, per stream: so many parts, or so many
# bytes of the body, whichever comes first.
MOST_PARTS_WAITING = 2_000
MOST_BYTES_WAITING = 1 << 20
# An iterator that nobody holds any more disappears without a word.
LOOK_AGAIN_SECONDS = 1.0

StreamKey = tuple[str, str]


class Log:
    """The parts of one stream. `values` are those from `base` on, `places` those after them.

    A log that was dropped and begun anew has another `lineage`: how far somebody had come in the
    old one means nothing in it.
    """

    __slots__ = ("base", "bytes", "last_event_id", "lineage", "places", "values")

    def __init__(self) -> None:
        self.lineage = object()
        self.base = 0
        self.bytes = 0
        self.values: list[Any] = []
        self.places = PlaceLog()
        self.last_event_id: Place | None = None

    @property
    def end(self) -> int:
        return self.base + len(self.values)

    def copy(self) -> Log:
        log = Log()
        log.lineage = self.lineage
        log.base, log.bytes, log.last_event_id = self.base, self.bytes, self.last_event_id
        log.values, log.places = list(self.values), self.places.copy()
        return log


class Taker:
    """One who takes parts: how many of each stream, and up to which byte, of which log."""

    def __init__(self) -> None:
        self.taken: dict[StreamKey, tuple[int, int, object]] = {}

    def progress(self, stream: StreamKey, log: Log) -> tuple[int, int]:
        """How many parts of the log were taken, and how many bytes of the body before that."""
        parts, size, lineage = self.taken.get(stream, (0, 0, None))
        return (parts, size) if lineage is log.lineage else (0, 0)

    def note(self, stream: StreamKey, log: Log, parts: int, size: int) -> None:
        self.taken[stream] = (parts, size, log.lineage)


class PartStore:
    """Args:
    most_kept: how many parts of a stream are kept to be looked at; None for all.
    logs: of another store, to be copied.
    """

    def __init__(
        self, most_kept: int | None = None, logs: Mapping[StreamKey, Log] | None = None
    ) -> None:
        self._most_kept = most_kept
        # Protects everything below; notified when parts came, were taken, or the end is near.
        self._changed = threading.Condition(threading.Lock())
        self._logs = {stream: log.copy() for stream, log in (logs or {}).items()}
        self._takers: weakref.WeakSet[Taker] = weakref.WeakSet()
        self._closed = False

    def append(
        self,
        stream: StreamKey,
        values: Sequence[Any],
        places: Iterable[Places],
        size: int,
        place: Place,
    ) -> None:
        """Adds parts, the places after them, and the place after all that was read.

        `places` may be empty for streams that are never taken from by `take_one`.
        """
        with self._changed:
            log = self._logs.setdefault(stream, Log())
            log.values.extend(values)
            for some in places:
                log.places.add(some)
            log.bytes += size
            log.last_event_id = place
            self._trim(stream, log)
            self._changed.notify_all()

    def wait_for_room(self, stream: StreamKey) -> None:
        """Blocks while a taker is too far behind in this stream."""
        with self._changed:
            while not self._closed and self._is_full(stream):
                self._changed.wait(LOOK_AGAIN_SECONDS)

    def take(self, taker: Taker, stream: StreamKey) -> tuple[list[Any], Any]:
        """All parts that are new to the taker, and the place after them."""
        with self._changed:
            log = self._logs.get(stream)
            if log is None:
                return [], None
            start = taker.progress(stream, log)[0]
            values = log.values[max(0, start - log.base) :]
            taker.note(stream, log, log.end, log.bytes)
            self._trim(stream, log)
            self._changed.notify_all()
            return values, log.last_event_id

    def take_one(self, taker: Taker, stream: StreamKey, timeout: float) -> tuple[Any, Any] | None:
        """`(part, place after it)`, or None when none came in time, or none will."""
        with self._changed:
            log = self._logs.setdefault(stream, Log())
            index, size = taker.progress(stream, log)
            index = max(index, log.base)
            if index >= log.end and timeout and not self._closed:
                self._changed.wait(timeout)
                index = max(index, log.base)
            if index >= log.end:
                return None
            value, place = log.values[index - log.base], log.places[index]
            caught_up = index + 1 >= log.end
            taker.note(stream, log, index + 1, log.bytes if caught_up else size)
            self._trim(stream, log)
            self._changed.notify_all()
            return value, place

    def add(self, taker: Taker) -> None:
        """From now on the reading waits for this taker."""
        with self._changed:
            self._takers.add(taker)

    def remove(self, taker: Taker) -> None:
        with self._changed:
            self._takers.discard(taker)
            self._changed.notify_all()

    def streams(self, run_id: str | None = None) -> list[StreamKey]:
        """The streams that have parts, of one run or of all."""
        with self._changed:
            return [key for key in self._logs if run_id in (None, key[0]) and self._logs[key].end]

    def values(self, stream: StreamKey) -> list[Any]:
        """The parts that are kept to be looked at."""
        with self._changed:
            log = self._logs.get(stream)
            if log is None or self._most_kept == 0:
                return []
            return log.values[-self._most_kept :] if self._most_kept else list(log.values)

    def last_event_id(self, stream: StreamKey) -> Any:
        """The place after the last part."""
        with self._changed:
            log = self._logs.get(stream)
            return None if log is None else log.last_event_id

    def forget(self, run_id: str) -> None:
        """Drops the streams of a run that is gone."""
        with self._changed:
            for key in [key for key in self._logs if key[0] == run_id]:
                del self._logs[key]
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing will be appended any more: nobody need wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    def copy(self) -> PartStore:
        """For another to go on with."""
        with self._changed:
            return PartStore(self._most_kept, self._logs)

    def inherited(self) -> PartStore:
        """Return a copy for a forked child, where a thread that is gone may hold the lock."""
        store = PartStore(self._most_kept, self._logs)
        store.close()
        return store

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
        """Drops the places that every taker is past, and the parts that need not be kept."""
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
            log.places.drop_before(log.base)
