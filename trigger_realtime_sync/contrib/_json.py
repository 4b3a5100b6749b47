"""Runs and parts as JSON for browsers, whatever they hold."""

from __future__ import annotations

import json
import weakref
from datetime import date
from typing import Any

from .. import PayloadError, Run
from .._plain import plain

# What a browser is shown of a run, under the names that the JavaScript hooks use. Not among them:
# what the task was triggered with and its idempotency key, which may be nobody else's business.
FIELDS = {
    "id": "id",
    "taskIdentifier": "task_identifier",
    "status": "status",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "startedAt": "started_at",
    "queuedAt": "queued_at",
    "delayedUntil": "delayed_until",
    "expiredAt": "expired_at",
    "finishedAt": "finished_at",
    "durationMs": "duration_ms",
    "costInCents": "cost_in_cents",
    "baseCostInCents": "base_cost_in_cents",
    "number": "number",
    "tags": "tags",
    "ttl": "ttl",
    "isTest": "is_test",
    "metadata": "metadata",
    "output": "output",
    "isQueued": "is_queued",
    "isExecuting": "is_executing",
    "isWaiting": "is_waiting",
    "isFinished": "is_finished",
    "isSuccess": "is_success",
    "isFailed": "is_failed",
    "isCancelled": "is_cancelled",
}

MAX_VALUES = 100_000


def run_as_dict(run: Run[Any, Any]) -> dict[str, Any]:
    """What a browser is shown of a run, under the names that the JavaScript hooks use.

    Left out: `payload`, `idempotencyKey`, and the error's stack trace. A field that can't be read
    is None, and named in `unreadable`.
    """
    fields: dict[str, Any] = {}
    unreadable = []
    for name, attribute in FIELDS.items():
        try:
            fields[name] = getattr(run, attribute)
        except PayloadError:
            fields[name] = None
            unreadable.append(name)
    error = run.error
    fields["error"] = error and {"name": error.name, "message": error.message}
    if unreadable:
        fields["unreadable"] = unreadable
    return fields


class EncodedRuns:
    """Runs as JSON, each state once: a hundred browsers are shown the same one.

    Only for as long as somebody holds the run.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Run[Any, Any]], bytes]] = {}

    def __call__(self, run: Run[Any, Any]) -> bytes:
        key = id(run)
        reference, text = self._known.get(key, (None, b""))
        if reference is None or reference() is not run:
            text = to_json(run_as_dict(run))
            self._known[key] = weakref.ref(run, lambda gone: self._forget(key, gone)), text
        return text

    def _forget(self, key: int, gone: weakref.ref[Run[Any, Any]]) -> None:
        """Unless the place in memory is another run's by now."""
        if self._known.get(key, (None, b""))[0] is gone:
            self._known.pop(key, None)


def to_json(value: Any) -> bytes:
    """One line of ASCII. What JSON does not know becomes text; what is too deep or long, "…"."""
    try:
        return _dumps(value, default=_scalar)
    except (TypeError, ValueError, RecursionError):
        return _dumps(plain(value, MAX_VALUES))


def _dumps(value: Any, **options: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":"), **options).encode()


def _scalar(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(type(value).__name__)
