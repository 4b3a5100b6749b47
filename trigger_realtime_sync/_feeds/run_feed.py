"""The feed of runs: long polls of one shape (docs/protocol.md, section 2)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from .._clock import monotonic
from .._decode.kept_runs import shelve
from .._decode.rows import RowDecoder
from .._http.answer import Answer
from .._http.requester import Requester
from .._http.retry import DoublingPause, Restarts, Rotated, UnreadableAnswer, is_rotation
from .._wire.changes import Changes
from .._wire.message_reader import MessageReader, names_another_run
from .._wire.poll_times import PollTimes
from .._wire.shape_log import MissingHeader, ShapeLog
from ..errors import (
    ApiConnectionError,
    ApiError,
    ProtocolError,
    RateLimitError,
    ShapeStale,
    TriggerRealtimeError,
)
from ..models import AnyRun
from .unplaced import Unplaced

logger = logging.getLogger("trigger_realtime_sync")

RunChanges = Changes[AnyRun]
OnChanges = Callable[[RunChanges], bool]
ToldRuns = Callable[[Iterable[str]], Mapping[str, AnyRun]]


class Opinion(Protocol):
    """Who else knows of the runs of a feed. Called on the feed's thread."""

    def hasten(self) -> None:
        """Called when the feed said what a sound one does not say."""

    def after(self, log: ShapeLog[AnyRun], changes: RunChanges) -> RunChanges | None:
        """Called after each answer, or failure. Returns a run that has finished though the feed
        does not say so."""


# After this many consecutive empty answers that came back at once, assume that the server does not
# hold polls.
HOT_ANSWERS = 5
# An answer that took this many seconds was held.
HELD_SECONDS = 0.1
# Seconds between the polls of a server that does not hold them, doubling from the first pause to
# the longest: few requests, and changes are still seen soon.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
# How often one look starts again, and how many answers may bring it nothing: an empty one may begin
# a snapshot, and another one end it.
MOST_RESTARTS_OF_A_LOOK = 1
USELESS_ANSWERS = 7

POLL_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    # Electric's answers are made to be cached.
    "Cache-Control": "no-store",
}


class RunFeed:
    """Follows one shape.

    Args:
        requester: sends the requests of the thread that calls `run` or `look`.
        path: the path of the shape.
        query: the parameters that select its rows and columns.
        decoder: decodes its rows.
        run_id: the run that the shape is, None where it is many. Its row may be missing at first,
            but a deletion makes the feed start again.
        told: returns the last known states of rows, by row key. Called on the feed's thread.
        has_window: whether runs leave the shape in the course of time.
        on_changes: called on the feed's thread after each up-to-date answer, with its changes,
            which may be empty. Returns True to go on.
        on_stale: called on the feed's thread when the server does not bring the feed up to date for
            a minute, and every hour from then on.
        opinion: who else knows of the runs.

    Attributes:
        log: the shape as read so far.
        requests: how many were sent.
    """

    def __init__(
        self,
        requester: Requester,
        path: str,
        query: Mapping[str, str],
        decoder: RowDecoder,
        *,
        run_id: str | None,
        on_changes: Callable[[RunChanges], bool],
        told: ToldRuns | None = None,
        has_window: bool = False,
        on_stale: Callable[[ShapeStale], None] = lambda error: None,
        opinion: Opinion | None = None,
    ) -> None:
        self._requester = requester
        self._path = path
        self._query = query
        self._run_id = run_id
        self._on_changes = on_changes
        self._on_stale = on_stale
        self._opinion = opinion
        self._forget_requested = False
        self._pauses = DoublingPause(FIRST_PAUSE, LONGEST_PAUSE, free=HOT_ANSWERS - 1)
        self._restarts = Restarts(requester.policy)
        self._times = PollTimes(single=run_id is not None)
        self._unplaced = Unplaced(requester)
        # A live poll failed, and no later one has ended well.
        self._live_failed = False
        # What that poll would have said is still to be asked for.
        self._answer_lost = False
        self.requests = 0
        self.log: ShapeLog[AnyRun] = ShapeLog(
            decoder.decode, decoder.decode_many, told, shelve, has_window=has_window
        )

    def forget_seen(self) -> None:
        """Report every row again when the next snapshot contains it. Safe from any thread."""
        self._forget_requested = True

    def run(self) -> None:
        """Read until `on_changes` returns False.

        Raises:
            TriggerRealtimeError: the shape can't be read.
            Interrupted: the requester was stopped.
        """
        try:
            while self._step():
                pass
        finally:
            self._unplaced.end()

    def look(self) -> bool:
        """Read until the log is up to date, once, without a live poll and without retries.

        Returns:
            What `on_changes` returned: True to go on.

        Raises:
            TriggerRealtimeError: the shape can't be read now; `Rotated` where it is not brought up
                to date.
            Interrupted: the requester was stopped.
        """
        restarts = useless = 0
        while restarts <= MOST_RESTARTS_OF_A_LOOK and useless <= USELESS_ANSWERS:
            asked, started = self.log.offset, monotonic()
            changes = self._ask(live=False)
            if changes is None:
                restarts += 1
                continue
            took, moved = monotonic() - started, self.log.offset != asked
            self._answered(changes, live=False, took=took)
            self._pace(changes, live=False, moved=moved, took=took)
            if not self.log.live:
                useless += not (moved and changes.news)
                continue
            goes_on = self._on_changes(changes) and self._ask_others(changes)
            if not goes_on or not self.log.ask_again:
                return goes_on
        raise Rotated(f"{self._requester.label}: the server does not bring it up to date")

    def _step(self) -> bool:
        live = self.log.live and self._waits_for_change()
        asked, started = self.log.offset, monotonic()
        try:
            changes = self._ask(live=live)
        except TriggerRealtimeError as error:
            self._recover(error, live=live)
            return self._ask_others(Changes())
        if changes is None:
            self._start_again()
            return self._ask_others(Changes())
        took, moved = monotonic() - started, self.log.offset != asked
        self._answered(changes, live=live, took=took)
        self._pace(changes, live=live, moved=moved, took=took)
        if not self.log.live:
            if not (moved and changes.news):
                self._restarts.got_nowhere(monotonic())
                self._tell_if_stale()
            return self._ask_others(Changes())
        self._restarts.up_to_date()
        go_on = self._on_changes(changes) and self._ask_others(changes)
        if go_on and self._run_id is not None and changes.gone:
            # The row may come back; if the run is gone for good, the server answers 404.
            self.log.refetch()
            self._start_again()
        return go_on

    def _ask_others(self, changes: RunChanges) -> bool:
        found = self._opinion.after(self.log, changes) if self._opinion is not None else None
        return found is None or self._on_changes(found)

    # What to ask next.

    def _waits_for_change(self) -> bool:
        """Wait as long as needed. Return whether the next request is a live poll."""
        if self.log.ask_again:
            return False
        if self._answer_lost:
            if wait := self._times.until_catch_up(monotonic()):
                self._requester.pause(wait)
            return False
        if self._unplaced:
            return self._unplaced.wait()
        due = self._times.is_look_due(monotonic(), doubts=self.log.doubts)
        return not due or not self._is_to_be_looked_at()

    def _is_to_be_looked_at(self) -> bool:
        """Return True if a run that is followed may still change, or have left."""
        if self._run_id is not None and not self.log.has_rows:
            return True
        return self.log.is_to_be_looked_at()

    def _ask(self, *, live: bool) -> RunChanges | None:
        """Send one request. Return None if the log starts again."""
        if self._forget_requested:
            self._forget_requested = False
            self.log.forget_seen()
        query = {**self._query, **self.log.query(at_once=not live)}
        self.requests += 1
        try:
            # A live poll is not sent twice: what answered the first one may be told to no other.
            answer = self._requester.get(self._path, query, POLL_HEADERS, resend=not live)
        except ApiError as error:
            if not is_rotation(error):
                raise
            if error.status == 400 and self._opinion is not None:
                self._opinion.hasten()
            self.log.refetch(refused=error.status == 409)
            return None
        with answer:
            return self._receive(answer, live=live)

    # What the answer means.

    def _answered(self, changes: RunChanges, *, live: bool, took: float) -> None:
        now = monotonic()
        if changes.rows or changes.gone:
            self._times.row_came(now)
        if live:
            self._live_failed = False
            self._requester.succeeded()
            self._unplaced.granted()
        else:
            self._times.answered(now, took)
            self._unplaced.answered(took)
            if self.log.live:
                self._answer_lost = False
                if self._live_failed:
                    self._requester.understood()
                else:
                    self._requester.succeeded()

    def _pace(self, changes: RunChanges, *, live: bool, moved: bool, took: float) -> None:
        """Wait if the server answers at once, again and again, and gets no further."""
        # A row that does not decode, or that comes again, is no progress.
        is_part = changes.news and moved and not self.log.live
        if changes.rows or changes.gone or is_part or took >= HELD_SECONDS:
            self._pauses.reset()
        elif live or not self.log.live:
            self._pause_if_hot()

    def _pause_if_hot(self) -> None:
        if pause := self._pauses.take():
            self._requester.pause(min(pause, self._requester.policy.max_delay))

    def _recover(self, error: TriggerRealtimeError, *, live: bool) -> None:
        if live and isinstance(error, RateLimitError):
            self._unplaced.refused(error)
            return
        at_least = 0.0
        if live and self._requester.hung_up:
            self._answer_lost = True
            self._pause_if_hot()
            return
        was_cut = live and self._may_have_been_answered(error)
        if live:
            self._live_failed = True
            self._answer_lost |= was_cut
        elif self.log.is_at_start and self._may_have_been_answered(error):
            at_least = self._restarts.floor
        # Some proxies cut every poll that is held. The next request tells whether it was no more.
        self._requester.recover(error, at_least=at_least, is_trouble=not was_cut)

    def _may_have_been_answered(self, error: TriggerRealtimeError) -> bool:
        """Return True if the server may have sent what we did not receive."""
        if isinstance(error, ApiError):
            return error.status >= 500 and error.status != 503
        return self._requester.may_have_reached

    def _start_again(self) -> None:
        label, now, cached = self._requester.label, monotonic(), self.log.from_cache
        why = "a cache answered for the server" if cached else "the server asked for it"
        error = Rotated(f"{label}: starts again, since {why}")
        delay = self._restarts.wait(error, now, cached=cached)
        self._tell_if_stale()
        if delay > 0:
            self._requester.wait_out(error, delay, is_first=self._restarts.is_second)

    def _tell_if_stale(self) -> None:
        if not self._restarts.is_stale(monotonic()):
            return
        error = ShapeStale(
            f"{self._requester.label}: the server has not brought it up to date for a minute; it"
            f" keeps asking to start again, or a cache answers with an old state",
            run_id=self._run_id,
        )
        logger.warning("%s", error)
        self._on_stale(error)

    def _receive(self, answer: Answer, *, live: bool) -> RunChanges | None:
        now = monotonic()
        if answer.status == 204:
            return self.log.receive_nothing(answer.headers, live=live, now=now)
        messages = self._messages_of(answer)
        label = self._requester.label
        if self._run_id is not None and names_another_run(messages, self._run_id):
            raise UnreadableAnswer(f"{label}: the answer has the row of another run")
        problem = None
        try:
            changes = self.log.receive(answer.headers, messages, label, live=live, now=now)
        except MissingHeader:
            raise
        except ProtocolError as error:
            problem = self._requester.hide_token(str(error))
        if problem is not None:
            # Out here, where it gets no context: that would quote the message.
            raise UnreadableAnswer(problem)
        if changes is not None and changes.failures:
            for key, failure in changes.failures.items():
                changes.failures[key] = ProtocolError(self._requester.hide_token(str(failure)))
        return changes

    def _messages_of(self, answer: Answer) -> Any:
        reader, label = MessageReader(), self._requester.label
        for chunk in answer.body_chunks():
            reader.feed(chunk)
        try:
            return reader.close()
        except ValueError:
            pass
        # Out here, where it gets no context: that would hold the body.
        if not answer.framed and reader.begins_as_array:
            raise ApiConnectionError(f"{label}: the body ended within its JSON")
        raise UnreadableAnswer(f"{label}: the body is not JSON")
