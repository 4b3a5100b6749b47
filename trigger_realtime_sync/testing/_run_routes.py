"""What changes runs from outside (docs/protocol.md, section R8)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs

from ._access import Caller
from ._bodies import json_body
from ._control import RunControl
from ._durations import moment
from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply
from ._rest import run_json
from ._rows import array_items, timestamp_of
from ._run_book import RunBook
from ._run_life import FINISHED, RunLife
from ._store import RunState
from ._trigger_options import LONGEST_TAG, MOST_TAGS


class RunRoutes:
    """Cancels and reschedules runs, tags them, and forgets their keys."""

    def __init__(self, runs: RunControl, book: RunBook, life: RunLife) -> None:
        self._runs = runs
        self._book = book
        self._store = runs._store
        self._life = life

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "POST", "api", "v2", "runs", run_id, "cancel":
                return self._cancel(run_id, caller)
            case "POST", "api", "v1", "runs", run_id, "reschedule":
                return self._secret(request, caller, run_id, self._reschedule)
            case "POST", "api", "v1", "runs", run_id, "tags":
                return self._secret(request, caller, run_id, self._tag)
            case "GET", "api", "v1", "runs", run_id, "result":
                return self._result(run_id, caller)
            case "POST", "api", "v1", "idempotencyKeys", key, "reset":
                return self._reset_key(json_body(request), key, caller)
        return None

    def _secret(
        self,
        request: RecordedRequest,
        caller: Caller,
        run_id: str,
        change: Callable[[RunState, Any], Reply],
    ) -> Reply:
        """Let a holder of a secret key change a run by what is in the body."""
        caller.need_secret()
        body = json_body(request)
        with self._store.lock:
            state = self._store.get(run_id)
            if state is None:
                raise Refused(404, {"error": "Run not found"})
            return change(state, body if isinstance(body, dict) else {})

    def _cancel(self, run_id: str, caller: Caller) -> Reply:
        state = self._store.get(run_id)
        if state is None:
            raise Refused(404, {"error": "Resource not found"})
        caller.need("write", ("runs", run_id), ("tasks", state.row["taskIdentifier"]))
        self._life.cancel(run_id)
        # The same for a run that was finished before.
        return json_reply(200, {"id": run_id})

    def _result(self, run_id: str, caller: Caller) -> Reply:
        caller.need_secret()
        state = self._store.get(run_id)
        if state is None or state.row["status"] not in FINISHED:
            raise Refused(404, {"error": "Run either doesn't exist or is not finished"})
        row = state.row
        good = row["status"] == "COMPLETED_SUCCESSFULLY"
        answer: dict[str, Any] = {"ok": good, "id": run_id, "taskIdentifier": row["taskIdentifier"]}
        if good and row.get("output") is not None:
            answer.update(output=row["output"], outputType=row["outputType"])
        return json_reply(200, answer)

    def _reschedule(self, state: RunState, body: Any) -> Reply:
        until = moment(body["delay"]) if "delay" in body else None
        if until is None or until <= time.time():
            raise Refused(400, {"error": f"Invalid delay: {body.get('delay')}"})
        if self._store.is_buffered(state.id):
            raise Refused(422, {"error": "Cannot reschedule a run that is still buffered"})
        if state.row["status"] != "DELAYED":
            raise Refused(400, {"error": "Cannot reschedule a run that is not delayed"})
        facts = self._book.facts(state.id)
        facts.wanted = attrs.evolve(facts.wanted, delay_until=until)
        self._book.add(state.id, facts)
        self._runs.update_run(state.id, delay_until=timestamp_of(round(until * 1000)))
        self._life.delay_until(state.id, until)
        return json_reply(200, run_json(self._store.need(state.id).row, facts))

    def _tag(self, state: RunState, body: Any) -> Reply:
        tags = body.get("tags")
        tags = [tags] if isinstance(tags, str) else tags
        if not isinstance(tags, list) or not all(map(_is_tag, tags)):
            message = f"Must be texts of at most {LONGEST_TAG} characters"
            issue = {"code": "custom", "path": ["tags"], "message": message}
            raise Refused(400, {"error": "Invalid request body", "issues": [issue]})
        old = array_items(state.row.get("runTags"))
        new = [tag for tag in dict.fromkeys(tags) if tag.strip() and tag not in old]
        if not new:
            return json_reply(200, {"message": "No new tags to add"})
        count = len(old) + len(new)
        if count > MOST_TAGS:
            message = f"Runs can only have {MOST_TAGS} tags, you're trying to set {count}."
            raise Refused(422, {"error": message})
        self._runs.update_run(state.id, tags=[*old, *new])
        return json_reply(200, {"message": f"Successfully set {len(new)} new tags."})

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


def _is_tag(tag: Any) -> bool:
    return isinstance(tag, str) and len(tag) <= LONGEST_TAG
