"""The list of runs, newest first (docs/protocol.md, section R8)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ._access import Caller, unauthorized
from ._observer import RecordedRequest
from ._pages import chosen, page, query_error, window
from ._replies import Reply, json_reply
from ._rest import run_json
from ._rows import public_status, timestamp_ms
from ._run_book import RunBook, RunFacts
from ._settings import RoundTrip
from ._store import RunState, Store

_USUAL_SIZE = 25
_USUAL_SECONDS = 7 * 86_400
# Columns of a single run that a list leaves out.
_LEFT_OUT = frozenset(
    {"payload", "output", "error", "attempts", "relatedRuns", "attemptCount", "depth"}
    | {"triggerFunction", "payloadPresignedUrl", "outputPresignedUrl", "schedule"}
)
_STATUSES = frozenset(
    {"PENDING_VERSION", "QUEUED", "DEQUEUED", "EXECUTING", "WAITING", "COMPLETED", "CANCELED"}
    | {"FAILED", "CRASHED", "SYSTEM_FAILURE", "DELAYED", "EXPIRED", "TIMED_OUT"}
)
Test = Callable[[RunState, RunFacts, "list[str]"], bool]


class RunList:
    """Answers `GET /api/v1/runs`."""

    def __init__(self, store: Store, book: RunBook, settings: RoundTrip) -> None:
        self._store = store
        self._book = book
        self._settings = settings

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        if (request.method, *request.segments) != ("GET", "api", "v1", "runs"):
            return None
        query = request.query
        self._authorize(caller, chosen(query, "taskIdentifier"))
        statuses = chosen(query, "status")
        if not _STATUSES.issuperset(statuses):
            raise query_error("filter[status]", "Invalid status values")
        runs = [
            state
            for state in self._indexed()
            if self._store.is_in(caller.environment, state.id) and self._matches(state, query)
        ]
        found, links = page(runs, query, lambda state: state.id, _USUAL_SIZE)
        data = [self._item(state, caller) for state in found]
        return json_reply(200, {"data": data, "pagination": links})

    def _authorize(self, caller: Caller, tasks: list[str]) -> None:
        if caller.covers("read", ("runs", None), ("tasks", None)):
            return
        if not tasks or not all(caller.covers("read", ("tasks", task)) for task in tasks):
            raise unauthorized()

    def _indexed(self) -> list[RunState]:
        """Return the runs that the index has, newest first."""
        latest = (time.time() - self._settings.list_lag) * 1000
        return [state for state in self._store.newest() if _created_ms(state) <= latest]

    def _matches(self, state: RunState, query: Mapping[str, str]) -> bool:
        start, end = window(query, time.time(), _USUAL_SECONDS)
        if not start * 1000 <= _created_ms(state) <= end * 1000:
            return False
        facts = self._book.facts(state.id)
        return all(
            test(state, facts, chosen(query, name))
            for name, test in _TESTS.items()
            if chosen(query, name)
        )

    def _item(self, state: RunState, caller: Caller) -> dict[str, Any]:
        item = run_json(state.row, self._book.facts(state.id))
        kept = {name: value for name, value in item.items() if name not in _LEFT_OUT}
        return {**kept, "env": {"id": caller.environment, "name": "dev", "user": "test"}}


def _created_ms(state: RunState) -> int:
    return timestamp_ms(state.row.get("createdAt"))


_TESTS: dict[str, Test] = {
    "status": lambda state, facts, some: public_status(state.row["status"] or "") in some,
    "taskIdentifier": lambda state, facts, some: facts.task in some,
    "version": lambda state, facts, some: facts.wanted.version in some,
    "tag": lambda state, facts, some: not state.tags.isdisjoint(some),
    "queue": lambda state, facts, some: facts.queue in some,
    "machine": lambda state, facts, some: facts.wanted.machine in some,
    "region": lambda state, facts, some: facts.wanted.region in some,
    "batch": lambda state, facts, some: state.batch in some,
    "isTest": lambda state, facts, some: (state.row.get("isTest") == "t") == (some == ["true"]),
    # No run of ours has a schedule, or was part of a bulk action.
    "schedule": lambda state, facts, some: False,
    "bulkAction": lambda state, facts, some: False,
}
