"""The feed of runs: the long poll of one shape (PROTOCOL, section 2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .._decode.rows import RowDecoder
from .._http.answer import Answer
from .._http.requester import Requester
from .._http.retry import Rotated, UnreadableAnswer, is_rotation
from .._wire.message_reader import MessageReader
from .._wire.shape_log import Changes, MissingHeader, ShapeLog
from ..errors import ApiConnectionError, ApiError, ProtocolError, TriggerRealtimeError
from ..models import AnyRun

RunChanges = Changes[AnyRun]

# So many answers in a row without news, each given at once: the server does not hold its polls.
HOT_ANSWERS = 5
HELD_SECONDS = 0.1
# It works all the same: such polls are spaced out, from the first to the longest pause.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

POLL_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip"}


class RunFeed:
    """Follows one shape until it is told to stop.

    Args:
        requester: asks on behalf of the feed's thread.
        path: of the shape.
        query: what selects it: tags, columns.
        decoder: of its rows.
        single: whether the shape is one run, whose row may be absent but not deleted.
        on_changes: called on the feed's thread with what each up-to-date answer changed, changes
            being empty at times. Returns whether to go on.
    """

    def __init__(
        self,
        requester: Requester,
        path: str,
        query: Mapping[str, str],
        decoder: RowDecoder,
        *,
        single: bool,
        on_changes: Callable[[RunChanges], bool],
    ) -> None:
        self._requester = requester
        self._path = path
        self._query = query
        self._single = single
        self._on_changes = on_changes
        self._forget_requested = False
        self._idle = IdleAnswers()
        self.log: ShapeLog[AnyRun] = ShapeLog(decoder.decode, decoder.decode_many)

    def forget_seen(self) -> None:
        """Makes every row news when a snapshot next brings it. Any thread."""
        self._forget_requested = True

    def run(self) -> None:
        """Returns when `on_changes` says so; raises what ended the feed (Interrupted too)."""
        while self._step():
            pass

    def _step(self) -> bool:
        try:
            changes = self._poll()
        except TriggerRealtimeError as error:
            self._requester.recover(error)
            return True
        go_on = not self.log.live or self._on_changes(changes)
        if go_on and self._single and changes.gone:
            # Only the server knows whether a deleted run is gone for good: it says 404 then.
            self.log.refetch()
        return go_on

    def _poll(self) -> RunChanges:
        self._forget_if_requested()
        offset, started = self.log.offset, time.monotonic()
        changes = self._ask()
        if changes is None:
            raise Rotated(f"{self._requester.source}: the server asked to start again")
        # A row that does not decode is no news: it may come again and again.
        moved = bool(changes.rows or changes.gone) or self.log.offset != offset
        if self._idle.is_hot(moved, time.monotonic() - started):
            self._requester.pause(min(self._idle.pause, self._requester.longest_delay))
        if self._idle.count == 0:
            self._requester.succeeded()
        return changes

    def _ask(self) -> RunChanges | None:
        """None where the server asked to start again."""
        query = {**self._query, **self.log.query()}
        try:
            answer = self._requester.get(self._path, query, POLL_HEADERS)
        except ApiError as error:
            if not is_rotation(error):
                raise
            self.log.refetch()
            return None
        try:
            return self._receive(answer)
        finally:
            answer.close()

    def _receive(self, answer: Answer) -> RunChanges | None:
        if answer.status == 204:
            return self.log.receive_nothing(answer.headers)
        source = self._requester.source
        messages = self._messages_of(answer)
        try:
            changes = self.log.receive(answer.headers, messages, source)
        except MissingHeader:
            raise
        except ProtocolError as error:
            raise UnreadableAnswer(self._requester.hide_token(str(error))) from None
        if changes is not None and changes.failures:
            for key, failure in changes.failures.items():
                changes.failures[key] = ProtocolError(self._requester.hide_token(str(failure)))
        return changes

    def _messages_of(self, answer: Answer) -> Any:
        reader, source = MessageReader(), self._requester.source
        for chunk in answer.body_chunks():
            reader.feed(chunk)
        try:
            return reader.close()
        except ValueError:
            if not answer.framed and reader.begins_as_array:
                raise ApiConnectionError(f"{source}: the body ended within its JSON") from None
            raise UnreadableAnswer(f"{source}: the body is not JSON") from None

    def _forget_if_requested(self) -> None:
        if self._forget_requested:
            self._forget_requested = False
            self.log.forget_seen()


class IdleAnswers:
    """Counts answers in a row that brought nothing and yet were not held."""

    def __init__(self) -> None:
        self.count = 0

    def is_hot(self, moved: bool, seconds: float) -> bool:
        """Whether to back off, after an answer that took so long."""
        self.count = 0 if moved or seconds >= HELD_SECONDS else self.count + 1
        return self.count >= HOT_ANSWERS

    @property
    def pause(self) -> float:
        """Seconds to wait before the next request, once it is hot."""
        doublings = min(max(self.count - HOT_ANSWERS, 0), 10)
        return min(FIRST_PAUSE * 2.0**doublings, LONGEST_PAUSE)
