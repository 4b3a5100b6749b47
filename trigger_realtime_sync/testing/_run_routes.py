"""What changes runs from outside (docs/protocol.md, section R8)."""

from __future__ import annotations

from typing import Any

from ._access import Caller
from ._bodies import json_body
from ._control import RunControl
from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply
from ._run_book import RunBook
from ._run_life import RunLife


class RunRoutes:
    """Cancels runs."""

    def __init__(self, runs: RunControl, book: RunBook, life: RunLife) -> None:
        self._runs = runs
        self._book = book
        self._store = runs._store
        self._life = life

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "POST", "api", "v2", "runs", run_id, "cancel":
                return self._cancel(run_id, caller)
            case "POST", "api", "v1", "idempotencyKeys", key, "reset":
                return self._reset_key(json_body(request), key, caller)
        return None

    def _cancel(self, run_id: str, caller: Caller) -> Reply:
        state = self._store.get(run_id)
        if state is None:
            raise Refused(404, {"error": "Resource not found"})
        caller.need("write", ("runs", run_id), ("tasks", state.row["taskIdentifier"]))
        self._life.cancel(run_id)
        # The same for a run that was finished before.
        return json_reply(200, {"id": run_id})

    def _reset_key(self, body: Any, key: str, caller: Caller) -> Reply:
        task = body.get("taskIdentifier") if isinstance(body, dict) else None
        if not isinstance(task, str):
            problem = 'Required at "taskIdentifier"'
            raise Refused(400, {"error": f"Validation error: {problem}"})
        caller.need("write", ("runs", None))
        if not self._book.reset_key((caller.environment, task, key)):
            message = f"No runs found with idempotency key: {key} and task: {task}"
            raise Refused(404, {"error": message})
        return json_reply(200, {"id": key})
