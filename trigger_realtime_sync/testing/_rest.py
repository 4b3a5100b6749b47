"""The plain endpoints beside the feeds: runs, batches, and the packets kept in a store."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ._observer import RecordedRequest
from ._rows import to_rest
from ._shapes import dump
from ._store import Batch, Store

Triple = tuple[int, dict[str, str], bytes]
_KEPT_URLS = 10_000


def _json(status: int, value: Any, headers: dict[str, str] | None = None) -> Triple:
    kind = {"content-type": "application/json; charset=utf-8"}
    return status, {**kind, **(headers or {})}, dump(value)


def _not_found(retry: bool) -> Triple:
    return _json(404, {"error": "Not found"}, {"x-should-retry": "true" if retry else "false"})


class Rest:
    """Answers as status, headers and body."""

    def __init__(self, store: Store, base_url: Callable[[], str]) -> None:
        self._store = store
        self._base_url = base_url
        # Protects the URLs that were handed out, the oldest first.
        self._lock = threading.Lock()
        self._paths: OrderedDict[str, str] = OrderedDict()

    def answer(self, request: RecordedRequest) -> Triple:
        match request.segments:
            case ("api", "v2", "batches", batch_id):
                return self._batch(batch_id)
            case ("api", "v3", "runs", run_id):
                return self._run(run_id)
            case ("api", "v1", "runs", run_id, "packets", ("payload" | "output") as name):
                return self._packet_of_run(run_id, name)
            case ("api", "v1", "packets", path):
                return self._presign(path)
        return _json(404, {"error": "Not found"})

    def presigned(self, request: RecordedRequest) -> Triple:
        """The stored packet itself: like an object store, it has no use for our tokens."""
        if "authorization" in request.headers:
            return 400, {"content-type": "application/xml"}, b"<Error>InvalidArgument</Error>"
        with self._lock:
            path = self._paths.get(request.segments[-1])
        if path is None or path not in self._store.packets:
            return 403, {"content-type": "application/xml"}, b"<Error>AccessDenied</Error>"
        data, kind = self._store.packets[path]
        return 200, {"content-type": kind} if kind else {}, data

    def _presign(self, path: str) -> Triple:
        return _json(200, {"presignedUrl": self._sign(path)})

    def _sign(self, path: str) -> str:
        # Signing needs no look at the store: a URL for nothing fails when it is used.
        key = secrets.token_urlsafe(16)
        with self._lock:
            self._paths[key] = path
            if len(self._paths) > _KEPT_URLS:
                self._paths.popitem(last=False)
        return f"{self._base_url()}/presigned/{key}"

    def _packet_of_run(self, run_id: str, name: str) -> Triple:
        state = self._store.get(run_id)
        if state is None or state.row.get(f"{name}Type") != "application/store":
            return _not_found(retry=False)
        return self._presign(state.row.get(name) or "")

    def _run(self, run_id: str) -> Triple:
        state = self._store.get(run_id)
        if state is None:
            return _not_found(retry=True)
        run = to_rest(state.row)
        for name in ("payload", "output"):
            if state.row.get(f"{name}Type") == "application/store":
                run[f"{name}PresignedUrl"] = self._sign(state.row.get(name) or "")
        return _json(200, run)

    def _batch(self, batch_id: str) -> Triple:
        with self._store.lock:
            batch = self._store.batches.get(batch_id)
            if batch is None:
                return _not_found(retry=True)
            return _json(200, _batch_json(batch))


def _batch_json(batch: Batch) -> dict[str, Any]:
    run_count = batch.run_count if batch.run_count is not None else len(batch.runs)
    processing: dict[str, Any] = {"errors": list(batch.errors)}
    if batch.completed_at is not None:
        processing["completedAt"] = f"{batch.completed_at}Z"
    return {
        "id": batch.id,
        "status": "PENDING" if batch.completed_at is not None else "PROCESSING",
        "createdAt": f"{batch.created_at}Z",
        "updatedAt": f"{batch.completed_at or batch.created_at}Z",
        "runCount": run_count,
        "runs": list(batch.runs),
        "processing": processing,
        "successfulRunCount": len(batch.runs),
        "failedRunCount": len(batch.errors),
    }
