"""The runs of a batch, which its feed need not show all.

Source: docs/protocol.md, section 1.
"""

from __future__ import annotations

from typing import Any

from .._http.requester import Requester
from .._http.retry import DoublingPause, UnreadableAnswer
from .._wire.names import batch_members_path
from ..errors import TriggerRealtimeError
from .run_feed import POLL_HEADERS

# Seconds between the requests while the batch's list of runs is still filling, doubling from the
# first pause to the longest: a small batch is known soon, a large one costs few requests.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


def members_of(document: Any, label: str) -> list[str] | None:
    """Return the ids of the batch's runs, or None while the list is still filling.

    A `runCount` above the number of runs may stay for good, and `status` goes back to PENDING, so
    neither tells that the list is incomplete.

    Raises:
        UnreadableAnswer: the document has no list of runs.
    """
    if not isinstance(document, dict) or not isinstance(document.get("runs"), list):
        raise UnreadableAnswer(f"{label}: the answer does not name the batch's runs")
    runs = [run for run in document["runs"] if isinstance(run, str)]
    processing = document.get("processing")
    processed = isinstance(processing, dict) and bool(processing.get("completedAt"))
    return runs if processed or len(runs) == document.get("runCount") else None


def read_members(requester: Requester, batch_id: str) -> list[str]:
    """Poll a batch's list of runs until it is whole, and return their ids.

    Raises:
        TriggerRealtimeError: the list can't be read.
        Interrupted: the requester was stopped.
    """
    path = batch_members_path(batch_id)
    pauses = DoublingPause(FIRST_PAUSE, LONGEST_PAUSE)
    while True:
        try:
            members = members_of(requester.get_json(path, POLL_HEADERS), requester.label)
        except TriggerRealtimeError as error:
            requester.recover(error)
            continue
        requester.succeeded()
        if members is not None:
            return members
        requester.pause(pauses.take())
