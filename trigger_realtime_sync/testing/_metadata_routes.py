"""The metadata of a run, from outside (docs/protocol.md, section R8)."""

from __future__ import annotations

import json
import time
from typing import Any

from . import _metadata
from ._access import Caller
from ._bodies import MIB, json_body
from ._control import RunControl
from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply, to_json
from ._rows import timestamp_ms
from ._store import RunState
from ._trigger_options import MOST_METADATA_BYTES, metadata_too_large

_LARGEST_BODY = 2 * MIB
# Milliseconds after the end of a run in which its metadata may still change.
_OPEN_MS = 3_600_000


class MetadataRoutes:
    """Reads and changes metadata."""

    def __init__(self, runs: RunControl) -> None:
        self._runs = runs
        self._store = runs._store

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "GET", "api", "v1", "runs", run_id, "metadata":
                row = self._need(run_id, caller).row
                # A text, not a value.
                shown = {"metadata": row.get("metadata"), "metadataType": row.get("metadataType")}
                return json_reply(200, shown)
            case "PUT", "api", "v1", "runs", run_id, "metadata":
                body = json_body(request, _LARGEST_BODY)
                with self._store.lock:
                    state = self._need(run_id, caller)
                    return json_reply(200, {"metadata": self._change(state, body)})
        return None

    def _need(self, run_id: str, caller: Caller) -> RunState:
        caller.need_secret()
        state = self._store.get(run_id)
        if state is None:
            raise Refused(404, {"error": "Task Run not found"})
        return state

    def _change(self, state: RunState, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise Refused(400, {"error": "Validation error: Expected object"})
        for name in ("operations", "parentOperations", "rootOperations"):
            if name in body:
                _metadata.check(body[name], name)
        ended = state.row.get("completedAt")
        if ended and timestamp_ms(ended) + _OPEN_MS < time.time() * 1000:
            raise Refused(422, {"error": "Cannot update metadata for a completed run"})
        if "operations" in body:
            metadata = _metadata.apply(_metadata_of(state), body["operations"])
        elif "metadata" in body:
            metadata = body["metadata"]
            if not isinstance(metadata, dict):
                problem = 'Expected object at "metadata"'
                raise Refused(400, {"error": f"Validation error: {problem}"})
        else:
            return {}
        if len(to_json(metadata)) > MOST_METADATA_BYTES:
            raise metadata_too_large()
        self._runs.update_run(state.id, metadata=metadata)
        return metadata


def _metadata_of(state: RunState) -> dict[str, Any]:
    try:
        value = json.loads(state.row.get("metadata") or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
