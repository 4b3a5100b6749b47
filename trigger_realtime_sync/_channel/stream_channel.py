"""A channel that reads the streams of its runs as well."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from typing import Any

from .._decode.packets import STORE, PacketValue, media_type
from .._feeds.buffering import Buffering
from .._http.requester import Origin, Requester
from .._wire.stream_end import Writer
from .._wire.stream_parts import PartBatch
from ..errors import PayloadError, TriggerRealtimeError
from ..models import AnyRun, State, unread
from .audience import ChannelReceiver
from .base_channel import StartThread
from .channel import Channel
from .late_writers import LateWriters
from .part_types import failure_of, structured
from .run_view import RunView
from .sources import NETWORK, Sources
from .stream_opener import StreamHooks, StreamOpener
from .stream_readers import StreamReaders
from .target import Target

logger = logging.getLogger("trigger_realtime_sync")

# How many undecodable parts may be queued for a blocked `on_error`; older ones are dropped.
MOST_FAILURES_WAITING = 2_000


class StreamChannel(Channel):
    """Reads runs and their streams. A run is complete once it has finished and they are over.

    Args:
        target, origin, view: see `Channel`.
        patience: seconds for which the end of a finished run's streams is sought.
        buffering: what is known of proxies on the way to the server.
        sources: what it reads with.
    """

    def __init__(
        self,
        target: Target,
        origin: Origin,
        view: RunView,
        patience: float,
        buffering: Buffering,
        sources: Sources = NETWORK,
    ) -> None:
        super().__init__(target, origin, view, sources)
        assert target.streams is not None
        assert view.parts is not None
        self.parts = view.parts
        self._options = target.streams
        self._types = dict(self._options.types)
        self._row_keys: dict[str, str] = {}
        # The row keys of finished runs that left before all was read, or taken.
        self._leaving: set[str] = set()
        # The ids of runs that left after that: where one comes back, its parts are no news.
        self._left_read: set[str] = set()
        self._failures = itertools.count()
        hooks = StreamHooks(
            on_parts=self._on_parts,
            on_drained=self._on_stream_drained,
            on_contact=self._requesters.on_contact,
            on_untrusted=self._requesters.on_untrusted,
        )
        self._opener = StreamOpener(
            origin, self._options, self.parts, patience, buffering, hooks, sources.stream
        )
        self._readers = StreamReaders(
            self._opener.open, self._start_thread, self._on_stream_lost, self._on_stream_ended
        )
        self._late = LateWriters(self._start_thread, self._on_writer_gone)

    @property
    def state(self) -> State:
        state = super().state
        if state is State.LIVE and self._opener.troubled and self.target.is_single:
            return State.RETRYING
        return state

    def start(self, start_thread: StartThread) -> None:
        super().start(start_thread)
        if self._options.key is not None:
            self._readers.update(self.target.subject, [self._options.key], Writer.WORKING)

    def stop(self) -> None:
        super().stop()
        self._opener.run_was_asked.set()
        self._late.stop()
        self._readers.stop()
        self.parts.close()

    # Overrides of the channel, called under its lock.

    def _welcome(self, receiver: ChannelReceiver) -> None:
        super()._welcome(receiver)
        for run_id, key in self.parts.streams():
            receiver.notify_parts(run_id, key)
        for row_key, run in self.view.by_key().items():
            if row_key not in self._complete and self._readers.is_drained(self._stream_run_id(run)):
                receiver.notify_drained(row_key, run)

    def _on_put(self, runs: Mapping[str, AnyRun]) -> None:
        self._leaving.difference_update(runs)
        for row_key in list(self._leaving):
            self._drop(row_key)
        for row_key, run in runs.items():
            run_id = self._stream_run_id(run)
            if run_id in self._left_read:
                continue
            self._row_keys[run_id] = row_key
            keys = [self._options.key] if self._options.key is not None else _streams_of(run)
            writer = self._late.writer_of(
                run_id, run, self._decoder.has_start, self._requester.server_time
            )
            self._readers.update(run_id, keys, writer)
            self._opener.run_was_asked.set()
            if not self._is_complete(run) and self._readers.is_drained(self._stream_run_id(run)):
                for receiver in self._audience:
                    receiver.notify_drained(row_key, run)

    def _drop(self, row_key: str) -> None:
        run = self.view.get(row_key)
        if run is not None and run.is_finished:
            is_read, was_put = row_key in self._complete, run.id in self._row_keys
            if (was_put and not is_read) or not self.parts.is_taken(run.id):
                # A shape lacks a run that its window has left behind: its parts are still due.
                self._leaving.add(row_key)
                return
            if is_read:
                self._left_read.add(run.id)
        self._leaving.discard(row_key)
        super()._drop(row_key)
        if run is not None:
            self._row_keys.pop(run.id, None)
            self._late.forget(run.id)
            self._readers.forget(run.id)
            self.parts.forget(run.id)

    def _is_complete(self, run: AnyRun) -> bool:
        return run.is_finished and self._readers.is_over(self._stream_run_id(run))

    def _stream_run_id(self, run: AnyRun) -> str:
        """Return the run id to use in stream URLs: for a single run, the id the user passed."""
        return self.target.subject if self.target.is_single else run.id

    def _reads_on(self) -> bool:
        """Return whether to poll on: not for a finished run whose streams are being drained."""
        if not self.target.is_single:
            return True
        run = self.view.latest()
        if run is None or not run.is_finished:
            return True
        if self._readers.waits_for_writer(self.target.subject):
            # Only the run's own feed says when its worker has stopped.
            return True
        return any(not receiver.stops_on_completion for receiver in self._audience)

    def _feed_failed(self, error: TriggerRealtimeError) -> None:
        run = self.view.latest()
        if self.target.is_single and run is not None and run.is_finished:
            logger.warning("%s: when its worker stops is not known: %s", self.target.label, error)
            return
        if self._options.key is None:
            super()._feed_failed(error)
            return
        # The stream may be readable where the run is not: read it until it is idle.
        logger.warning(
            "%s: whether the run has finished is not known: %s", self.target.label, error
        )
        self._opener.run_is_unknown = True
        self._opener.run_was_asked.set()

    # On the threads of the readers.

    def _on_parts(
        self, requester: Requester, run_id: str, key: str, parts: PartBatch, size: int
    ) -> None:
        values, positions, problems = structured(parts, self._types.get(key))
        label = f"stream {key} of run {run_id}"
        failures = [failure_of(label, key, part, problem, run_id) for part, problem in problems]
        if self._options.key is None:
            positions.clear()  # `take_one` never reads many streams
        with self._lock:
            if self._audience.ended or requester.stopped:
                return
            self._state = State.LIVE
            self.parts.append((run_id, key), values, positions, size, parts.position)
            for failure in failures:
                number = next(self._failures) % MOST_FAILURES_WAITING
                for receiver in self._audience:
                    receiver.notify_failure(f"{key}\0{number}", failure)
            for receiver in self._audience:
                if values:
                    receiver.notify_parts(run_id, key)
        for failure in failures:
            logger.error("%s", failure)
        self.parts.wait_for_room((run_id, key))

    def _on_stream_drained(self, run_id: str, key: str) -> None:
        self._readers.mark_drained(run_id, key)
        with self._lock:
            self._notify_end_of(run_id)

    def _on_stream_lost(self, run_id: str, key: str, error: TriggerRealtimeError) -> None:
        if self._options.key is not None:
            self._audience.fail(error)
            return
        logger.error(
            "stream %s of run %s is lost: %s", key, run_id, error, extra={"run_id": run_id}
        )
        with self._lock:
            for receiver in self._audience:
                receiver.notify_failure(f"{run_id}\0{key}", error, urgent=True)

    def _on_stream_ended(self, run_id: str, key: str) -> None:
        self._opener.troubled.discard((run_id, key))
        with self._lock:
            self._notify_end_of(run_id)
            complete = self._opener.run_is_unknown
        if complete:
            self._audience.end_all()
        else:
            self._audience.end_complete()

    def _notify_end_of(self, run_id: str) -> None:
        """Notify that a run is complete, or that its streams are drained, where it is so. Called
        under the lock."""
        row_key = self._row_keys.get(run_id)
        run = self.view.get(row_key) if row_key is not None else None
        if row_key is None or run is None:
            return
        if self._is_complete(run):
            self._complete.add(row_key)
            for receiver in self._audience:
                receiver.notify_complete(row_key, run)
        elif self._readers.is_drained(self._stream_run_id(run)):
            for receiver in self._audience:
                receiver.notify_drained(row_key, run)

    # On the thread of the late writers.

    def _on_writer_gone(self, run_id: str) -> None:
        self._readers.update(run_id, (), Writer.GONE)
        with self._lock:
            self._notify_end_of(run_id)
        self._audience.end_complete()


def _streams_of(run: AnyRun) -> list[str]:
    """Return the keys of a run's streams: `metadata["$$streams"]` if that is a non-empty list of
    strings, else `realtime_streams`."""
    metadata = unread(run, "metadata")
    if isinstance(metadata, PacketValue) and media_type(metadata.content_type) == STORE:
        # Fetching it would block the reading thread, under the channel's lock.
        named = None
    else:
        named = _named_streams(run)
    keys = run.realtime_streams
    if isinstance(named, list) and named and all(isinstance(key, str) for key in named):
        keys = named
    # No path can hold the others.
    return [key for key in keys if key and _is_encodable(key)]


def _is_encodable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named_streams(run: AnyRun) -> Any:
    try:
        return (run.metadata or {}).get("$$streams")
    except (PayloadError, AttributeError):
        return None
