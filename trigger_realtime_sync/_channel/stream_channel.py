"""A channel that reads the streams of its runs as well."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .._decode.packets import STORE, PacketValue, media_type
from .._decode.typed import structure
from .._feeds.stream_feed import StreamFeed
from .._http.requester import Origin, Requester
from .._wire.stream_cursor import StreamCursor
from .._wire.stream_parts import AnyPart, BadPart, Part, PartBatch, Positions, Stretch
from ..errors import PayloadError, TriggerRealtimeError
from ..models import AnyRun, State, unread
from .audience import ChannelReceiver
from .channel import Channel
from .part_store import PartStore, StreamKey
from .run_view import RunView
from .stream_readers import Reader, StreamReaders
from .target import Target

logger = logging.getLogger("trigger_realtime_sync")

# How many undecodable parts may be queued for a blocked `on_error`; older ones are dropped.
MOST_FAILURES_WAITING = 2_000
# Seconds that the first read of a stream waits to learn whether its run has finished.
FIRST_ANSWER_SECONDS = 0.3


class StreamChannel(Channel):
    """Reads runs and their streams. A run is complete once it has finished and they are drained."""

    def __init__(self, target: Target, origin: Origin, view: RunView) -> None:
        super().__init__(target, origin, view)
        assert target.streams is not None
        self._options = target.streams
        self._types = dict(self._options.types)
        self._row_keys: dict[str, str] = {}
        self._run_is_unknown = False
        # Set once the run's own feed has said, or can't say, whether it has finished.
        self._run_was_asked = threading.Event()
        self._failures = itertools.count()
        # Streams whose last request failed. Adding and discarding are atomic: no lock is needed.
        self._troubled: set[StreamKey] = set()
        self._readers = StreamReaders(self._make_reader, self._start_thread, self._on_stream_ended)

    @property
    def parts(self) -> PartStore:
        assert self.view.parts is not None
        return self.view.parts

    @property
    def state(self) -> State:
        state = super().state
        if state is State.LIVE and self._troubled and self.target.is_single:
            return State.RETRYING
        return state

    def start(self, started: Callable[[Any], None]) -> None:
        super().start(started)
        if self._options.key is not None:
            self._readers.update(self.target.subject, [self._options.key], finished=False)

    def stop(self) -> None:
        super().stop()
        self._run_was_asked.set()
        self._readers.stop()
        self.parts.close()

    # Overrides of the channel, called under its lock.

    def _welcome(self, receiver: ChannelReceiver) -> None:
        for run_id, key in self.parts.streams():
            receiver.notify_parts(run_id, key)

    def _on_put(self, runs: Mapping[str, AnyRun]) -> None:
        for row_key, run in runs.items():
            run_id = self._stream_run_id(run)
            self._row_keys[run_id] = row_key
            keys = [self._options.key] if self._options.key is not None else _streams_of(run)
            self._readers.update(run_id, keys, finished=run.is_finished)
            self._run_was_asked.set()

    def _drop(self, row_key: str) -> None:
        run = self.view.get(row_key)
        if run is not None and run.is_finished:
            is_read = row_key in self._complete and self.parts.is_taken(run.id)
            if not is_read:
                # A shape lacks a run that its window has left behind: its parts are still due.
                return
        super()._drop(row_key)
        if run is not None:
            self._row_keys.pop(run.id, None)
            self._readers.forget(run.id)
            self.parts.forget(run.id)

    def _is_complete(self, run: AnyRun) -> bool:
        return run.is_finished and self._readers.is_drained(self._stream_run_id(run))

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
        return any(not receiver.stops_on_completion for receiver in self._audience)

    def _feed_failed(self, error: TriggerRealtimeError) -> None:
        if self._options.key is None:
            super()._feed_failed(error)
            return
        # The stream may be readable where the run is not: read it until it is idle.
        logger.warning(
            "%s: whether the run has finished is not known: %s", self.target.label, error
        )
        self._run_is_unknown = True
        self._run_was_asked.set()

    # On the threads of the readers.

    def _make_reader(self, run_id: str, key: str, is_finished: Callable[[], bool]) -> Reader:
        stream = (run_id, key)
        requester = Requester(
            self._requesters.origin,
            f"stream {key} of run {run_id}",
            on_trouble=lambda: self._troubled.add(stream),
            on_contact=self._requesters.on_contact,
        )
        feed = StreamFeed(
            requester,
            run_id,
            key,
            self._cursor(run_id, key),
            timeout=self._options.timeout,
            on_parts=lambda parts, size: self._on_parts(requester, run_id, key, parts, size),
            run_is_finished=lambda: self._is_finished(is_finished),
            ends_when_idle=lambda: self._run_is_unknown,
            on_answer=lambda: self._troubled.discard(stream),
        )
        return Reader(run_id, key, requester, feed)

    def _is_finished(self, is_finished: Callable[[], bool]) -> bool:
        """Wait a moment for the first answer of the run's feed: a finished run's stream is drained,
        not followed."""
        if not self._run_was_asked.wait(FIRST_ANSWER_SECONDS):
            self._run_was_asked.set()
        return is_finished()

    def _cursor(self, run_id: str, key: str) -> StreamCursor:
        """Return a cursor that goes on after the cached parts."""
        position = self.parts.position((run_id, key))
        if position is not None:
            return StreamCursor.restore(str(position))
        return self._options.cursor()

    def _on_parts(
        self, requester: Requester, run_id: str, key: str, parts: PartBatch, size: int
    ) -> None:
        values, positions, problems = _structured(parts, self._types.get(key))
        failures = [_failure(run_id, key, part, problem) for part, problem in problems]
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

    def _on_stream_ended(self, run_id: str, key: str, error: TriggerRealtimeError | None) -> None:
        self._troubled.discard((run_id, key))
        if error is not None and not self._goes_on_without(run_id, key, error):
            self._audience.fail(error)
            return
        with self._lock:
            row_key = self._row_keys.get(run_id)
            run = self.view.get(row_key) if row_key is not None else None
            if row_key is not None and run is not None and self._is_complete(run):
                self._complete.add(row_key)
                for receiver in self._audience:
                    receiver.notify_complete(row_key, run)
            complete = self._run_is_unknown
        if complete:
            self._audience.end_all()
        else:
            self._audience.end_complete()

    def _goes_on_without(self, run_id: str, key: str, error: TriggerRealtimeError) -> bool:
        """Return whether the subscription goes on: with many runs, a failing stream ends alone."""
        if self.target.is_single:
            return False
        logger.error("%s is lost: %s", f"stream {key} of run {run_id}", error)
        with self._lock:
            for receiver in self._audience:
                receiver.notify_failure(f"{run_id}\0{key}", error)
        return True


def _streams_of(run: AnyRun) -> list[str]:
    """Return the keys of a run's streams: `metadata["$$streams"]` if that is a non-empty list of
    strings, else `realtime_streams`."""
    metadata = unread(run, "metadata")
    if isinstance(metadata, PacketValue) and media_type(metadata.content_type) == STORE:
        # Fetching it would block the reading thread, under the channel's lock.
        named = None
    else:
        named = _named_streams(run)
    if isinstance(named, list) and named and all(isinstance(key, str) for key in named):
        return [key for key in named if key]
    return [key for key in run.realtime_streams if key]


def _named_streams(run: AnyRun) -> Any:
    try:
        return (run.metadata or {}).get("$$streams")
    except (PayloadError, AttributeError):
        return None


_Positions = list[tuple[int, Positions]]
_Problems = list[tuple[AnyPart, ValueError]]


def _structured(batch: PartBatch, type_: Any) -> tuple[list[Any], _Positions, _Problems]:
    """Return the good values, the positions after them, and the other parts with their problems.

    Args:
        type_: what each value is structured to; None leaves it as it is.
    """
    values: list[Any] = []
    positions: _Positions = []
    problems: _Problems = []
    for item in batch.items:
        if isinstance(item, BadPart):
            problems.append((item, ValueError(item.reason)))
            continue
        if isinstance(item, Part):
            item = Stretch([item.value], item.index, [item.position].__getitem__)
        if type_ is None:
            values += item.values
            positions.append((len(item.values), item.positions))
        else:
            fitting = _structure_all(item, type_, values, problems)
            positions.append((len(fitting), _chosen(item.positions, fitting)))
    return values, positions, problems


def _structure_all(
    stretch: Stretch, type_: Any, values: list[Any], problems: _Problems
) -> list[int]:
    """Append the structured values, and the parts that do not fit; return the numbers of those
    that do."""
    fitting: list[int] = []
    for n, value in enumerate(stretch.values):
        try:
            values.append(structure(value, type_))
            fitting.append(n)
        except ValueError as problem:
            problems.append((Part(value, stretch.index + n, stretch.positions(n)), problem))
    return fitting


def _chosen(positions: Positions, numbers: list[int]) -> Positions:
    return lambda n: positions(numbers[n])


def _failure(run_id: str, key: str, part: AnyPart, problem: ValueError) -> PayloadError:
    raw = part.raw if isinstance(part, BadPart) else part.value
    return PayloadError(
        f"stream {key} of run {run_id}: part {part.index}: {problem}",
        run_id=run_id,
        field=key,
        raw=raw,
    )
