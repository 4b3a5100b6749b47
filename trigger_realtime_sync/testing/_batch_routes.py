"""The two steps of a batch (docs/protocol.md, section R5)."""

from __future__ import annotations

import threading
import time
from typing import Any

from .._clock import monotonic
from ._access import Access, Caller
from ._batches import Batches, FilledBatch
from ._bodies import MIB, asks_for_v2, json_body, parse_json
from ._observer import RecordedRequest
from ._replies import Refused, Reply, json_reply
from ._settings import RoundTrip
from ._trigger_routes import TOKEN_SECONDS, token_headers
from ._validation import Problems

_LARGEST_CREATION = MIB
_REFILL_SECONDS = 10.0


class BatchRoutes:
    """Answers the two steps of a batch."""

    def __init__(self, batches: Batches, access: Access, settings: RoundTrip) -> None:
        self._batches = batches
        self._access = access
        self._settings = settings
        self._bucket = _Bucket()

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "POST", "api", "v3", "batches":
                return self._create(request, caller)
            case "POST", "api", "v3", "batches", batch_id, "items":
                return self._fill(request, caller, batch_id)
        return None

    def _create(self, request: RecordedRequest, caller: Caller) -> Reply:
        body = json_body(request, _LARGEST_CREATION)
        self._check(body)
        tasks = body.get("taskIdentifiers", [None])
        for task in tasks:
            caller.need("batchTrigger", ("tasks", task))
        if self._settings.batch_runs is not None:
            self._bucket.take(body["runCount"], *self._settings.batch_runs)
        key = body.get("idempotencyKey") or None
        names = tuple(sorted(set(map(str, tasks))))
        batch, cached = self._batches.create(
            caller, body["runCount"], names, key, v2_streams=asks_for_v2(request)
        )
        scopes = [f"read:batch:{batch.id}"]
        if request.headers.get("x-trigger-client") == "browser":
            scopes.append(f"write:batch:{batch.id}")
        headers = token_headers(self._access, caller, scopes, TOKEN_SECONDS, claims_scopes=False)
        answer = {"id": batch.id, "runCount": batch.run_count, "isCached": cached}
        if key is not None and not cached:
            answer["idempotencyKey"] = key
        return json_reply(200 if cached else 202, answer, headers)

    def _check(self, body: Any) -> None:
        problems = Problems()
        if not isinstance(body, dict):
            raise Refused(400, {"error": "Validation error: Expected object"})
        problems.expect_natural(body.get("runCount", ...), "runCount", least=1)
        if "idempotencyKey" in body:
            problems.expect(body["idempotencyKey"], "string", "idempotencyKey")
        tasks = body.get("taskIdentifiers", [])
        if "taskIdentifiers" in body and problems.expect(tasks, "array", "taskIdentifiers"):
            if not tasks:
                problems.add("Array must contain at least 1 element(s)", "taskIdentifiers")
            for number, task in enumerate(tasks):
                problems.expect(task, "string", f"taskIdentifiers[{number}]")
        problems.refuse()
        count = body["runCount"]
        if count > self._settings.most_items:
            message = f"Batch runCount {count} exceeds the maximum of {self._settings.most_items}"
            raise Refused(400, {"error": message})

    def _fill(self, request: RecordedRequest, caller: Caller, batch_id: str) -> Reply:
        content_type = request.headers.get("content-type", "")
        if "application/x-ndjson" not in content_type and "application/ndjson" not in content_type:
            message = "Content-Type must be application/x-ndjson or application/ndjson"
            raise Refused(415, {"error": message})
        batch = self._batches.need(batch_id, caller)
        lines = request.body.split(b"\n")
        if not request.whole:
            # Items are taken as they come: those before the cut are in.
            lines.pop()
        accepted = repeated = 0
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            item = parse_json(line, f"Invalid JSON at line {number}")
            if self._batches.add(batch, item, number - 1, len(line), caller):
                accepted += 1
            else:
                repeated += 1
        return json_reply(200, _progress(batch, accepted, repeated))


def _progress(batch: FilledBatch, accepted: int, repeated: int) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": batch.id,
        "itemsAccepted": accepted,
        "itemsDeduplicated": repeated,
        "sealed": batch.sealed,
    }
    if not batch.sealed:
        answer["enqueuedCount"] = len(batch.accepted)
        answer["expectedCount"] = batch.run_count
    return {**answer, "runCount": batch.run_count}


class _Bucket:
    """Runs that batches may still create."""

    def __init__(self) -> None:
        # Protects the attributes below.
        self._lock = threading.Lock()
        self._spent = 0.0
        self._since = monotonic()

    def take(self, runs: int, size: int, refill: int) -> None:
        """Take one for each run.

        Raises:
            Refused: 429, with a reset in seconds (docs/protocol.md, section R1).
        """
        rate = refill / _REFILL_SECONDS
        with self._lock:
            moment = monotonic()
            self._spent = max(0.0, self._spent - (moment - self._since) * rate)
            self._since = moment
            if self._spent + runs <= size:
                self._spent += runs
                return
            wait = max(1, -int(-(self._spent + runs - size) // rate))
            left = max(0, int(size - self._spent))
        headers = {
            "x-ratelimit-limit": str(size),
            "x-ratelimit-remaining": str(left),
            "x-ratelimit-reset": str(int(time.time()) + wait),
            "retry-after": str(wait),
        }
        raise Refused(429, {"error": "Batch rate limit exceeded."}, headers)
