"""What changes runs from outside (docs/protocol.md, section R8)."""

from __future__ import annotations

from ._access import Caller
from ._control import RunControl
from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply
from ._run_life import RunLife


class RunRoutes:
    """Cancels runs."""

    def __init__(self, runs: RunControl, life: RunLife) -> None:
        self._runs = runs
        self._store = runs._store
        self._life = life

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "POST", "api", "v2", "runs", run_id, "cancel":
                return self._cancel(run_id, caller)
        return None

    def _cancel(self, run_id: str, caller: Caller) -> Reply:
        state = self._store.get(run_id)
        if state is None:
            raise Refused(404, {"error": "Resource not found"})
        caller.need("write", ("runs", run_id), ("tasks", state.row["taskIdentifier"]))
        self._life.cancel(run_id)
        # The same for a run that was finished before.
        return json_reply(200, {"id": run_id})
