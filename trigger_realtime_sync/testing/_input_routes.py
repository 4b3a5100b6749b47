"""Input streams: what is sent to a run (docs/protocol.md, section R7)."""

from __future__ import annotations

import secrets
import threading
import time
from collections import defaultdict
from typing import Any

from ._access import Caller
from ._bodies import MIB, json_body
from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply, to_json
from ._store import Store

_LARGEST_INPUT = MIB


class InputRoutes:
    """Keeps what is sent to runs, in the order of the answers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # Protects the inputs; notified of each.
        self._came = threading.Condition()
        self._inputs: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "POST", "realtime", "v1", "streams", run_id, "input", name:
                return self._send(request, caller, run_id, name)
        return None

    def inputs(self, run_id: str, name: str) -> list[Any]:
        with self._came:
            return list(self._inputs[run_id, name])

    def wait(self, run_id: str, name: str, count: int, timeout: float) -> list[Any]:
        """Return what has come, once it is that much.

        Raises:
            TimeoutError: it is less.
        """
        with self._came:
            found = self._inputs[run_id, name]
            if not self._came.wait_for(lambda: len(found) >= count, timeout):
                raise TimeoutError(f"after {timeout} s: {len(found)} of {count} inputs")
            return list(found)

    def _send(self, request: RecordedRequest, caller: Caller, run_id: str, name: str) -> Reply:
        body = json_body(request, _LARGEST_INPUT)
        if not isinstance(body, dict):
            raise Refused(400, {"ok": False, "error": "Invalid request body"})
        state = self._store.get(run_id)
        if state is None or self._store.is_buffered(run_id):
            raise Refused(404, {"ok": False, "error": "Run not found"})
        caller.need("write", ("inputStreams", run_id))
        if state.row.get("completedAt"):
            message = "Cannot send to input stream on a completed run"
            raise Refused(400, {"ok": False, "error": message})
        if _record_size(body) > _LARGEST_INPUT:
            raise Refused(413, {"ok": False, "error": "Request body too large"})
        with self._came:
            self._inputs[run_id, name].append(body.get("data"))
            self._came.notify_all()
        return json_reply(200, {"ok": True})


def _record_size(body: dict[str, Any]) -> int:
    """Return the bytes of the record, in which the wrapped data is a text in JSON once more."""
    data = {"data": body["data"]} if "data" in body else {}
    more = {"timestamp": int(time.time() * 1000), "id": f"inp_{secrets.token_hex(6)}"}
    return len(to_json(to_json({**data, **more}).decode("utf-8", "replace")))
