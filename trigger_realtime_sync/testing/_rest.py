"""The plain REST endpoints beside the feeds: runs, batches, and the packets kept in a store."""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply, not_found
from ._rows import PACKETS, Row, array_items, public_status
from ._store import Store, StoredBatch

# What REST calls completed: neither EXPIRED nor TIMED_OUT (docs/protocol.md, section 2, item 7).
_COMPLETED = frozenset({"COMPLETED", "CANCELED", "FAILED", "CRASHED", "SYSTEM_FAILURE"})
# Presigned URLs that stay valid before the oldest is dropped: bounds the memory of a long test.
_KEPT_URLS = 10_000


class Rest:
    """Answers everything under `/api/`, and the presigned URLs that it gave out."""

    def __init__(self, store: Store, base_url: Callable[[], str]) -> None:
        self._store = store
        self._base_url = base_url
        # Protects the packets' paths by the key in their URL, the oldest first.
        self._lock = threading.Lock()
        self._paths: OrderedDict[str, str] = OrderedDict()

    def answer(self, request: RecordedRequest) -> Reply:
        match request.segments:
            case ("api", "v2", "batches", batch_id):
                return self._batch(batch_id)
            case ("api", "v3", "runs", run_id):
                return self._run(run_id)
            case ("api", "v1", "runs", run_id, "packets", ("payload" | "output") as name):
                return self._packet_of_run(run_id, name)
            case ("api", "v1", "packets", path):
                return self._presign(path)
        raise Refused(404, {"error": "Not found"})

    def presigned(self, request: RecordedRequest) -> Reply:
        """Return the stored packet; a request with our token is refused, as object stores do."""
        if "authorization" in request.headers:
            return _xml_error(400, "InvalidArgument")
        with self._lock:
            path = self._paths.get(request.segments[-1])
        if path is None or path not in self._store.packets:
            return _xml_error(403, "AccessDenied")
        data, content_type = self._store.packets[path]
        return Reply(200, {"content-type": content_type} if content_type else {}, data)

    def _presign(self, path: str) -> Reply:
        return json_reply(200, {"presignedUrl": self._sign(path)})

    def _sign(self, path: str) -> str:
        # The path is not looked up: a URL for nothing fails when it is used.
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._paths[key] = path
            if len(self._paths) > _KEPT_URLS:
                self._paths.popitem(last=False)
        return f"{self._base_url()}/presigned/{key}"

    def _packet_of_run(self, run_id: str, name: str) -> Reply:
        state = self._store.get(run_id)
        if state is None or state.row.get(f"{name}Type") != "application/store":
            raise not_found(retry=False)
        return self._presign(state.row.get(name) or "")

    def _run(self, run_id: str) -> Reply:
        state = self._store.get(run_id)
        if state is None:
            raise not_found(retry=True)
        run = _run_json(state.row)
        for name in ("payload", "output"):
            if state.row.get(f"{name}Type") == "application/store" and state.row.get(name):
                run[f"{name}PresignedUrl"] = self._sign(state.row.get(name) or "")
        return json_reply(200, run)

    def _batch(self, batch_id: str) -> Reply:
        with self._store.lock:
            batch = self._store.batches.get(batch_id)
            if batch is None:
                raise not_found(retry=True)
            return json_reply(200, _batch_json(batch))


def _xml_error(status: int, code: str) -> Reply:
    return Reply(status, {"content-type": "application/xml"}, f"<Error>{code}</Error>".encode())


def _run_json(row: Row) -> dict[str, Any]:
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
        "idempotencyKey": row.get("idempotencyKey"),
        "tags": list(array_items(row.get("runTags"))),
        "costInCents": number("costInCents"),
        "baseCostInCents": number("baseCostInCents"),
        "durationMs": number("usageDurationMs"),
        "taskKind": "STANDARD",
        "depth": 0,
        "triggerFunction": "trigger",
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
    if data is None or content_type == "application/store":
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
    return {
        "id": batch.id,
        "status": "PENDING" if batch.completed_at is not None else "PROCESSING",
        "createdAt": f"{batch.created_at}Z",
        "updatedAt": f"{batch.completed_at or batch.created_at}Z",
        **completed,
        "runCount": len(batch.runs) if batch.run_count is None else batch.run_count,
        "runs": list(batch.runs),
        "processing": processing,
    }
