"""The stream readers of one channel: which of them read, wait for their turn, or have ended.

Only MOST_READERS read at once. While others wait, bodies are kept short, and at the end of each a
reader gives up its thread and queues again: every stream advances, however many there are.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from .._clock import monotonic
from .._feeds.sources import StreamSource
from .._http.call import Interrupted
from .._http.log_fields import about
from .._http.requester import Requester
from .._wire.stream_end import Writer
from ..errors import TriggerRealtimeError

logger = logging.getLogger("trigger_realtime_sync")

# How many connections one channel opens for streams at the same time.
MOST_READERS = 64
# A stream whose run has finished is asked again after this many seconds of silence, or, if it is
# never silent, after this many seconds in all.
SILENT_SECONDS = 0.1
LONGEST_BUSY_SECONDS = 2.0


class Reader:
    """One stream: its feed, and the run it belongs to."""

    def __init__(self, run_id: str, key: str, requester: Requester, feed: StreamSource) -> None:
        self.run_id = run_id
        self.key = key
        self.requester = requester
        self.feed = feed


class MakeReader(Protocol):
    def __call__(self, run_id: str, key: str, writer: Callable[[], Writer]) -> Reader: ...


class _RunStreams:
    """The streams of one run: all their keys, the readers of those that have not ended, and the
    keys of those whose end was proven once."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.open: dict[str, Reader] = {}
        self.drained: set[str] = set()
        self.writer = Writer.WORKING

    @property
    def is_drained(self) -> bool:
        return self.writer is not Writer.WORKING and self.open.keys() <= self.drained

    @property
    def is_over(self) -> bool:
        return not self.open and self.writer is not Writer.STOPPING


class StreamReaders:
    """Reads the streams of a channel's runs, on threads of its own.

    Args:
        make_reader: makes the reader of a stream.
        start_thread: starts a thread, given its work and its name.
        on_lost: called on a reading thread, without a lock, with the error that ends a stream;
            before it counts as ended, so that nobody takes its run for complete until this is told.
        on_ended: called on a reading thread, without a lock, when a stream has ended.
        most: how many streams are read at once.
    """

    def __init__(
        self,
        make_reader: MakeReader,
        start_thread: Callable[[Callable[[], None], str], None],
        on_lost: Callable[[str, str, TriggerRealtimeError], None],
        on_ended: Callable[[str, str], None],
        most: int = MOST_READERS,
    ) -> None:
        self._make_reader = make_reader
        self._start_thread = start_thread
        self._on_lost = on_lost
        self._on_ended = on_ended
        self._most = most
        # Protects everything below.
        self._lock = threading.Lock()
        self._runs: dict[str, _RunStreams] = {}
        self._queue: deque[Reader] = deque()
        self._staying: set[Reader] = set()
        self._threads = 0
        self._stopped = False

    def update(self, run_id: str, keys: Iterable[str], writer: Writer) -> None:
        """Read the streams that a run names now, each once; drain them once it has finished.

        Args:
            writer: what is known of whoever writes them.
        """
        nudged: list[Reader] = []
        with self._lock:
            if self._stopped:
                return
            run = self._runs.setdefault(run_id, _RunStreams())
            if writer is not run.writer and run.writer is not Writer.GONE:
                run.writer = writer
                nudged = list(run.open.values())
            for key in keys:
                if key not in run.keys:
                    run.keys.add(key)
                    reader = self._make_reader(run_id, key, lambda: run.writer)
                    run.open[key] = reader
                    self._enqueue(reader)
            if self._queue and self._threads >= self._most:
                # They were allowed to stay because the queue was empty; now it is not.
                nudged += self._staying
                self._staying.clear()
        self._nudge(nudged)

    def _nudge(self, readers: list[Reader]) -> None:
        """Interrupt silent readers at once, busy ones as soon as they fall silent."""
        silent = [reader for reader in readers if reader.feed.silence >= SILENT_SECONDS]
        for reader in silent:
            reader.requester.nudge()
        if len(silent) < len(readers):
            busy = [reader for reader in readers if reader not in silent]
            self._start_thread(partial(self._nudge_when_silent, busy), f"drain {busy[0].run_id}")

    def _nudge_when_silent(self, readers: list[Reader]) -> None:
        deadline = monotonic() + LONGEST_BUSY_SECONDS
        while readers and not self._stopped:
            time.sleep(SILENT_SECONDS / 5)
            late = monotonic() > deadline
            for reader in list(readers):
                if late or reader.feed.silence >= SILENT_SECONDS:
                    reader.requester.nudge()
                    readers.remove(reader)

    def mark_drained(self, run_id: str, key: str) -> None:
        """Note that the end of a stream was proven, though its writer may write on."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None:
                run.drained.add(key)

    def is_drained(self, run_id: str) -> bool:
        """Return whether the run has finished, and the end of all its streams was proven once."""
        with self._lock:
            run = self._runs.get(run_id)
            return run is not None and run.is_drained

    def is_over(self, run_id: str) -> bool:
        """Return whether every stream of the run has ended, and none will begin."""
        with self._lock:
            run = self._runs.get(run_id)
            return run is None or run.is_over

    def waits_for_writer(self, run_id: str) -> bool:
        """Return whether the run was cancelled, and its task may still write."""
        with self._lock:
            run = self._runs.get(run_id)
            return run is not None and run.writer is Writer.STOPPING

    def forget(self, run_id: str) -> None:
        """Stop reading the streams of a run that is gone."""
        with self._lock:
            run = self._runs.pop(run_id, None)
        for reader in run.open.values() if run is not None else ():
            reader.requester.stop()

    def stop(self) -> None:
        """End all readers, whatever they are blocked on."""
        with self._lock:
            self._stopped = True
            self._queue.clear()
            readers = [reader for run in self._runs.values() for reader in run.open.values()]
        for reader in readers:
            reader.requester.stop()

    def _enqueue(self, reader: Reader) -> None:
        self._queue.append(reader)
        if self._threads < self._most:
            self._threads += 1
            self._start_thread(self._work, _thread_name(reader))

    def _next(self) -> Reader | None:
        with self._lock:
            if self._queue and not self._stopped:
                return self._queue.popleft()
            self._threads -= 1
            return None

    def _work(self) -> None:
        while (reader := self._next()) is not None:
            threading.current_thread().name = f"trigger-realtime {_thread_name(reader)}"
            with about(run_id=reader.run_id):
                self._read(reader)

    def _read(self, reader: Reader) -> None:
        """Read until the stream has ended, or another reader waits for the thread."""
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
            # Whoever keeps the error should not keep all that was read, which its frames hold.
            error = failure.with_traceback(None)
        except Exception as failure:  # noqa: BLE001 (it is logged)
            error = reader.requester.unforeseen(failure)
        self._end(reader, error)

    def _may_stay(self, reader: Reader) -> bool:
        with self._lock:
            if self._queue:
                return False
            self._staying.add(reader)
            return True

    def _end(self, reader: Reader, error: TriggerRealtimeError | None) -> None:
        with self._lock:
            self._staying.discard(reader)
            run = self._runs.get(reader.run_id)
            if run is None or run.open.get(reader.key) is not reader:
                return
        if error is not None:
            self._on_lost(reader.run_id, reader.key, error)
        with self._lock:
            del run.open[reader.key]
        self._on_ended(reader.run_id, reader.key)


def _thread_name(reader: Reader) -> str:
    return f"stream-feed {reader.run_id} {reader.key}"
