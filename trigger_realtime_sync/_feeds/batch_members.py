"""Which runs a batch has, and those of them that its feed never shows (PROTOCOL, section 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._decode.rows import RowDecoder
from .._http.requester import Requester
from .._http.retry import UnreadableAnswer
from .._wire.json import loads
from .._wire.names import batch_members_path, run_path
from ..errors import TriggerRealtimeError
from .run_feed import POLL_HEADERS, RunChanges, RunFeed

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


def members_of(document: Any, source: str) -> list[str] | None:
    """The ids of the batch's runs, or None while the list is still filling.

    `runCount` can exceed the runs for good, and `status` goes back to PENDING: neither counts.
    """
    if not isinstance(document, dict) or not isinstance(document.get("runs"), list):
        raise UnreadableAnswer(f"{source}: the answer does not name the batch's runs")
    runs = [run for run in document["runs"] if isinstance(run, str)]
    processing = document.get("processing")
    processed = isinstance(processing, dict) and bool(processing.get("completedAt"))
    return runs if processed or len(runs) == document.get("runCount") else None


class BatchMembers:
    """Asks for a batch's list of runs until it is whole, then follows the runs the feed lacks.

    A run that was reused by its idempotency key belongs to the batch but is not in its feed.

    Args:
        requester: asks on behalf of this thread.
        batch_id: of the batch.
        decoder: of the rows of the runs that are followed singly.
        on_members: called with the ids, once. Returns those that the feed does not show.
        on_changes: called with what changed of a run that is followed singly. Returns whether to
            go on with it.
    """

    def __init__(
        self,
        requester: Requester,
        batch_id: str,
        decoder: RowDecoder,
        *,
        on_members: Callable[[list[str]], Iterable[str]],
        on_changes: Callable[[RunChanges], bool],
    ) -> None:
        self._requester = requester
        self._path = batch_members_path(batch_id)
        self._decoder = decoder
        self._on_members = on_members
        self._on_changes = on_changes

    def run(self) -> None:
        """Returns when every run that the feed lacks has finished; raises what prevented it."""
        missing = self._on_members(self._members())
        for run_id in missing:
            feed = RunFeed(
                self._requester,
                run_path(run_id),
                {},
                self._decoder,
                single=True,
                on_changes=self._on_changes,
            )
            feed.run()

    def _members(self) -> list[str]:
        pause = FIRST_PAUSE
        while True:
            try:
                members = self._ask()
            except TriggerRealtimeError as error:
                self._requester.recover(error)
                continue
            self._requester.succeeded()
            if members is not None:
                return members
            self._requester.pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _ask(self) -> list[str] | None:
        source = self._requester.source
        answer = self._requester.get(self._path, headers=POLL_HEADERS)
        try:
            body = answer.body()
        finally:
            answer.close()
        try:
            document = loads(body)
        except ValueError:
            raise UnreadableAnswer(f"{source}: the body is not JSON") from None
        return members_of(document, source)
