"""The plain REST endpoints beside the feeds: runs and batches."""

from __future__ import annotations

import json
from typing import Any

from ._access import Caller
from ._observer import RecordedRequest
from ._packet_routes import PacketRoutes
from ._replies import Reply, json_reply, not_found
from ._rows import PACKETS, Row, array_items, public_status
from ._run_book import RunBook, RunFacts
from ._store import Store, StoredBatch

# What REST calls completed: neither EXPIRED nor TIMED_OUT (docs/protocol.md, section 2, item 7).
_COMPLETED = frozenset({"COMPLETED", "CANCELED", "FAILED", "CRASHED", "SYSTEM_FAILURE"})


class Rest:
    """Answers what reads runs and batches."""

    def __init__(self, store: Store, book: RunBook, packets: PacketRoutes) -> None:
        self._store = store
        self._book = book
        self._packets = packets

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "GET", "api", "v1" | "v2", "batches", batch_id:
                return self._batch(batch_id, caller)
            case "GET", "api", "v3", "runs", run_id:
                return self._run(run_id, caller)
        return None

    def _run(self, run_id: str, caller: Caller) -> Reply:
        state = self._store.get(run_id)
        if state is None:
            raise not_found(retry=True)
        caller.need("read", *state.resources())
        run = run_json(state.row, self._book.facts(run_id))
        for name in ("payload", "output"):
            if state.row.get(f"{name}Type") == "application/store" and state.row.get(name):
                run[f"{name}PresignedUrl"] = self._packets.sign("GET", state.row.get(name) or "")
        return json_reply(200, run)

    def _batch(self, batch_id: str, caller: Caller) -> Reply:
        with self._store.lock:
            batch = self._store.batches.get(batch_id)
            if batch is None:
                raise not_found(retry=True)
            caller.need("read", ("batch", batch_id))
            return json_reply(200, _batch_json(batch))


def run_json(row: Row, facts: RunFacts) -> dict[str, Any]:
    """Return a run as REST shows it."""

    def iso(name: str) -> str | None:
        text = row.get(name)
        return f"{text}Z" if text else None

    def number(name: str) -> float:
        value = _json_or_text(row.get(name))
        return value if isinstance(value, (int, float)) else 0

    status = public_status(row["status"] or "")
    ended = status in _COMPLETED
    run: dict[str, Any] = {
        "id": row["friendlyId"],
        "taskIdentifier": row["taskIdentifier"],
        "status": status,
        "isQueued": status in {"QUEUED", "DELAYED", "PENDING_VERSION"},
        "isExecuting": status in {"EXECUTING", "DEQUEUED"},
        "isWaiting": status == "WAITING",
        "isCompleted": ended,
        "isSuccess": status == "COMPLETED",
        "isFailed": ended and status != "COMPLETED",
        "isCancelled": status == "CANCELED",
        "isTest": row.get("isTest") == "t",
        "createdAt": iso("createdAt"),
        "updatedAt": iso("updatedAt"),
        "startedAt": iso("startedAt"),
        "finishedAt": iso("completedAt"),
        "delayedUntil": iso("delayUntil"),
        "expiredAt": iso("expiredAt"),
        "ttl": row.get("ttl"),
        "idempotencyKey": row.get("idempotencyKey") or facts.user_key,
        "version": facts.wanted.version,
        "region": facts.wanted.region,
        "batchId": facts.batch_id,
        "tags": list(array_items(row.get("runTags"))),
        "costInCents": number("costInCents"),
        "baseCostInCents": number("baseCostInCents"),
        "durationMs": number("usageDurationMs"),
        "taskKind": "STANDARD",
        "depth": 0,
        "triggerFunction": "trigger" if facts.batch_id is None else "batchTrigger",
        "attemptCount": 1 if row.get("startedAt") else 0,
        "attempts": [],
        "relatedRuns": {"children": []},
    }
    # What a run does not have is left out.
    run = {name: value for name, value in run.items() if value is not None}
    if row.get("error"):
        run["error"] = _error_json(_json_or_text(row["error"]))
    for name in PACKETS:
        if name != "output" or status == "COMPLETED":
            _add_packet(run, row, name)
    return run


def _error_json(error: Any) -> Any:
    if not isinstance(error, dict):
        return {"message": str(error)}
    if error.get("type") == "BUILT_IN_ERROR":
        return {name: error.get(name) for name in ("name", "message", "stackTrace")}
    if error.get("type") == "INTERNAL_ERROR":
        return {"message": f"trigger.dev internal error ({error.get('code')})"}
    return {"message": error.get("raw")}


def _add_packet(run: dict[str, Any], row: Row, name: str) -> None:
    data, content_type = row.get(name), row.get(name + "Type")
    if not data or content_type == "application/store":
        return
    run[name] = data
    if content_type in ("application/json", "application/super+json"):
        run[name] = _json_or_text(data)
    if content_type == "application/super+json" and isinstance(run[name], dict):
        run[name] = run[name].get("json")


def _json_or_text(text: str | None) -> Any:
    # Tests may store text that is no JSON: it stands for itself.
    try:
        return json.loads(text or "null")
    except ValueError:
        return text


def _batch_json(batch: StoredBatch) -> dict[str, Any]:
    processing: dict[str, Any] = {"errors": list(batch.errors)}
    completed = {}
    if batch.completed_at is not None:
        processing["completedAt"] = f"{batch.completed_at}Z"
        completed["processingCompletedAt"] = f"{batch.completed_at}Z"
    status = "PENDING" if batch.completed_at is not None else "PROCESSING"
    return {
        "id": batch.id,
        "status": batch.status or status,
        **({"idempotencyKey": batch.key} if batch.key else {}),
        "createdAt": f"{batch.created_at}Z",
        "updatedAt": f"{batch.completed_at or batch.created_at}Z",
        **completed,
        "runCount": len(batch.runs) if batch.run_count is None else batch.run_count,
        "runs": list(batch.runs),
        "processing": processing,
    }
