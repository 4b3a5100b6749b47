"""The stream readers of one subscription: which read, which wait their turn, which are done.

At most so many read at once. While others wait, a reader gives its place up at the end of each
body, which is a short one then, and queues again: every stream advances, however many there are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from .._feeds.stream_feed import StreamFeed
from .._http.call import Interrupted
from .._http.requester import Requester
from ..errors import ProtocolError, TriggerRealtimeError

logger = logging.getLogger("trigger_realtime_sync")

# Connections that one subscription opens for streams at the same time.
MOST_READERS = 64
# A stream whose run has finished is asked once more after so long a silence, or, if it is never
# silent, after a while.
SILENT_SECONDS = 0.1
LONGEST_BUSY_SECONDS = 2.0


class Reader:
    """One stream: its feed, and the run it belongs to."""

    def __init__(self, run_id: str, key: str, requester: Requester, feed: StreamFeed) -> None:
        self.run_id = run_id
        self.key = key
        self.requester = requester
        self.feed = feed


class MakeReader(Protocol):
    def __call__(self, run_id: str, key: str, is_finished: Callable[[], bool]) -> Reader: ...


class _RunStreams:
    """What is known of the streams of one run: all their keys, and the readers of those that are
    not over."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.open: dict[str, Reader] = {}
        self.finished = False


class StreamReaders:
    """Args:
    make_reader: makes the reader of a stream.
    start_thread: starts a thread, given its work and its label.
    on_over: called on a reading thread when a stream is over; with the error that ended it, if
        any. No lock is held.
    """

    def __init__(
        self,
        make_reader: MakeReader,
        start_thread: Callable[[Callable[[], None], str], threading.Thread],
        on_over: Callable[[str, str, TriggerRealtimeError | None], None],
        most: int = MOST_READERS,
    ) -> None:
        self._make_reader = make_reader
        self._start_thread = start_thread
        self._on_over = on_over
        self._most = most
        # Protects everything below.
        self._lock = threading.Lock()
        self._runs: dict[str, _RunStreams] = {}
        self._queue: deque[Reader] = deque()
        self._staying: set[Reader] = set()
        self._threads = 0
        self._stopped = False
        # When the readers that are gone last had an answer, in epoch seconds, or 0 for never.
        self._last_contact = 0.0

    @property
    def last_contact(self) -> float:
        """When any reader last had an answer, in epoch seconds, or 0 for never."""
        with self._lock:
            self._note_contact(one for run in self._runs.values() for one in run.open.values())
            return self._last_contact

    def _note_contact(self, readers: Iterable[Reader]) -> None:
        contacts = [reader.requester.last_contact or 0.0 for reader in readers]
        self._last_contact = max([self._last_contact, *contacts])

    def update(self, run_id: str, keys: Iterable[str], *, finished: bool) -> None:
        """Reads the streams that a run names now, each once; drains them when it has finished."""
        nudged: list[Reader] = []
        with self._lock:
            if self._stopped:
                return
            run = self._runs.setdefault(run_id, _RunStreams())
            if finished and not run.finished:
                run.finished = True
                nudged = list(run.open.values())
            for key in keys:
                if key not in run.keys:
                    run.keys.add(key)
                    reader = self._make_reader(run_id, key, lambda: run.finished)
                    run.open[key] = reader
                    self._enqueue(reader)
            if self._queue and self._threads >= self._most:
                # They were told that nobody waits.
                nudged += self._staying
                self._staying.clear()
        self._nudge(nudged)

    def _nudge(self, readers: list[Reader]) -> None:
        """Those that are being sent something are left to read it first."""
        silent = [reader for reader in readers if reader.feed.silence >= SILENT_SECONDS]
        for reader in silent:
            reader.requester.nudge()
        if len(silent) < len(readers):
            busy = [reader for reader in readers if reader not in silent]
            self._start_thread(partial(self._nudge_when_silent, busy), f"end of {busy[0].run_id}")

    def _nudge_when_silent(self, readers: list[Reader]) -> None:
        deadline = time.monotonic() + LONGEST_BUSY_SECONDS
        while readers and not self._stopped:
            time.sleep(SILENT_SECONDS / 5)
            late = time.monotonic() > deadline
            for reader in list(readers):
                if late or reader.feed.silence >= SILENT_SECONDS:
                    reader.requester.nudge()
                    readers.remove(reader)

    def is_drained(self, run_id: str) -> bool:
        """Whether every stream of the run is over."""
        with self._lock:
            run = self._runs.get(run_id)
            return run is None or not run.open

    def forget(self, run_id: str) -> None:
        """Stops reading the streams of a run that is gone."""
        with self._lock:
            run = self._runs.pop(run_id, None)
            if run is not None:
                self._note_contact(run.open.values())
        for reader in run.open.values() if run is not None else ():
            reader.requester.stop()

    def stop(self) -> None:
        """Ends all readers, wherever they are."""
        with self._lock:
            self._stopped = True
            self._queue.clear()
            readers = [reader for run in self._runs.values() for reader in run.open.values()]
        for reader in readers:
            reader.requester.stop()

    def abandon(self) -> None:
        """In a forked child."""
        self._lock = threading.Lock()
        self._stopped = True
        for run in self._runs.values():
            for reader in run.open.values():
                reader.requester.abandon()

    def _enqueue(self, reader: Reader) -> None:
        self._queue.append(reader)
        if self._threads < self._most:
            self._threads += 1
            self._start_thread(self._work, f"stream {reader.run_id} {reader.key}")

    def _next(self) -> Reader | None:
        with self._lock:
            if self._queue and not self._stopped:
                return self._queue.popleft()
            self._threads -= 1
            return None

    def _work(self) -> None:
        while (reader := self._next()) is not None:
            threading.current_thread().name = (
                f"trigger-realtime stream {reader.run_id} {reader.key}"
            )
            self._read(reader)

    def _read(self, reader: Reader) -> None:
        """Until the stream is over, or another reader wants the place."""
        error: TriggerRealtimeError | None = None
        try:
            while not reader.feed.step(lambda: self._may_stay(reader)):
                with self._lock:
                    self._staying.discard(reader)
                    if self._queue:
                        self._queue.append(reader)
                        return
        except Interrupted:
            with self._lock:
                self._staying.discard(reader)
            return
        except TriggerRealtimeError as failure:
            # Whoever keeps the error need not keep all that was read.
            error = failure.with_traceback(None)
        except Exception as failure:
            logger.exception("%s: the reader failed", reader.requester.label)
            error = ProtocolError(f"{reader.requester.label}: the reader failed: {failure!r}")
        self._over(reader, error)

    def _may_stay(self, reader: Reader) -> bool:
        with self._lock:
            if self._queue:
                return False
            self._staying.add(reader)
            return True

    def _over(self, reader: Reader, error: TriggerRealtimeError | None) -> None:
        with self._lock:
            self._staying.discard(reader)
            run = self._runs.get(reader.run_id)
            if run is None or run.open.get(reader.key) is not reader:
                return
            del run.open[reader.key]
            self._note_contact([reader])
        self._on_over(reader.run_id, reader.key, error)
