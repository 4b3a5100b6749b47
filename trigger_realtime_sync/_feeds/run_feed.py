"""The feed of runs: long polls of one shape (docs/protocol.md, section 2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .._decode.rows import RowDecoder
from .._http.answer import Answer
from .._http.requester import Requester
from .._http.retry import DoublingPause, Rotated, UnreadableAnswer, is_rotation
from .._wire.message_reader import MessageReader
from .._wire.shape_log import Changes, MissingHeader, ShapeLog
from ..errors import ApiConnectionError, ApiError, ProtocolError, TriggerRealtimeError
from ..models import AnyRun

RunChanges = Changes[AnyRun]

# After this many consecutive empty answers that came back at once, assume that the server does not
# hold polls.
HOT_ANSWERS = 5
# An answer that took this many seconds was held.
HELD_SECONDS = 0.1
# Seconds between the polls of a server that does not hold them, doubling from the first pause to
# the longest: few requests, and changes are still seen soon.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0

POLL_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip"}


class RunFeed:
    """Follows one shape.

    Args:
        requester: sends the requests of the thread that calls `run`.
        path: the path of the shape.
        query: the parameters that select its rows and columns.
        decoder: decodes its rows.
        single: whether the shape is one run. Its row may be missing at first, but a deletion makes
            the feed start again.
        on_changes: called on the feed's thread after each up-to-date answer, with its changes,
            which may be empty. Returns True to go on.

    Attributes:
        log: the shape as read so far.
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
        self._pauses = DoublingPause(FIRST_PAUSE, LONGEST_PAUSE, free=HOT_ANSWERS - 1)
        self.log: ShapeLog[AnyRun] = ShapeLog(decoder.decode, decoder.decode_many)

    def forget_seen(self) -> None:
        """Report every row again when the next snapshot contains it. Safe from any thread."""
        self._forget_requested = True

    def run(self) -> None:
        """Read until `on_changes` returns False.

        Raises:
            TriggerRealtimeError: the shape can't be read.
            Interrupted: the requester was stopped.
        """
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
            # The row may come back; if the run is gone for good, the server answers 404.
            self.log.refetch()
        return go_on

    def _poll(self) -> RunChanges:
        if self._forget_requested:
            self._forget_requested = False
            self.log.forget_seen()
        offset, started = self.log.offset, time.monotonic()
        changes = self._ask()
        if changes is None:
            raise Rotated(f"{self._requester.label}: the server asked to start again")
        # A row that does not decode is no progress: it may come again and again.
        moved = bool(changes.rows or changes.gone) or self.log.offset != offset
        held = time.monotonic() - started >= HELD_SECONDS
        if moved or held:
            self._pauses.reset()
            self._requester.succeeded()
        elif pause := self._pauses.take():
            self._requester.pause(min(pause, self._requester.max_delay))
        return changes

    def _ask(self) -> RunChanges | None:
        """Send one poll. Return None if the server asked to start again."""
        query = {**self._query, **self.log.query()}
        try:
            answer = self._requester.get(self._path, query, POLL_HEADERS)
        except ApiError as error:
            if not is_rotation(error):
                raise
            self.log.refetch()
            return None
        with answer:
            return self._receive(answer)

    def _receive(self, answer: Answer) -> RunChanges | None:
        if answer.status == 204:
            return self.log.receive_nothing(answer.headers)
        messages = self._messages_of(answer)
        try:
            changes = self.log.receive(answer.headers, messages, self._requester.label)
        except MissingHeader:
            raise
        except ProtocolError as error:
            raise UnreadableAnswer(self._requester.hide_token(str(error))) from None
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
            if not answer.framed and reader.begins_as_array:
                raise ApiConnectionError(f"{label}: the body ended within its JSON") from None
            raise UnreadableAnswer(f"{label}: the body is not JSON") from None
