"""A run as the REST API tells it → the fields of a `Run`. Pure.

Nothing in an answer makes this fail: what can't be read is left out. Source: docs/protocol.md,
section R8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from .._wire.postgres import parse_timestamp
from ..models import RunError, RunStatus
from .packets import STORE, Fetch, PacketValue

Document = Mapping[str, Any]


def text(value: Any) -> str | None:
    """Return a text that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def moment(value: Any) -> datetime | None:
    """Return the time of an ISO text, aware and UTC, else None."""
    try:
        return parse_timestamp(value) if isinstance(value, str) else None
    except ValueError:
        return None


def number(value: Any) -> float | None:
    """Return a number, else None."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number else None


def integer(value: Any) -> int | None:
    """Return a whole number, else None."""
    found = number(value)
    try:
        return None if found is None else int(found)
    except (ValueError, OverflowError):
        return None


def texts(value: Any) -> list[str]:
    """Return the texts of a list."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _error(value: Any) -> RunError | None:
    if not isinstance(value, dict):
        return None
    message = value.get("message")
    return RunError(
        message if isinstance(message, str) else "",
        text(value.get("name")),
        text(value.get("stackTrace")),
    )


def _object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


# Field of `Run` → its name in the REST API, and what reads it.
_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "created_at": ("createdAt", moment),
    "updated_at": ("updatedAt", moment),
    "started_at": ("startedAt", moment),
    "delayed_until": ("delayedUntil", moment),
    "expired_at": ("expiredAt", moment),
    "finished_at": ("finishedAt", moment),
    "duration_ms": ("durationMs", integer),
    "cost_in_cents": ("costInCents", number),
    "base_cost_in_cents": ("baseCostInCents", number),
    "tags": ("tags", texts),
    "ttl": ("ttl", text),
    "is_test": ("isTest", _bool),
    "idempotency_key": ("idempotencyKey", text),
    "error": ("error", _error),
    "metadata": ("metadata", _object),
}


def run_fields(document: Document, fetch: Fetch | None = None) -> dict[str, Any]:
    """Return the fields of a run, of which REST does not have all.

    Args:
        fetch: gets a payload or output that is stored, when it is read.
    """
    run_id = text(document.get("id")) or ""
    fields: dict[str, Any] = {
        "id": run_id,
        "task_identifier": text(document.get("taskIdentifier")) or "",
        "status": RunStatus(text(document.get("status")) or ""),
    }
    for field, (name, read) in _FIELDS.items():
        fields[field] = read(document.get(name))
    for field in ("payload", "output"):
        if text(document.get(f"{field}PresignedUrl")):
            # Not by this URL, which expires: the run's own route finds it.
            fields[field] = PacketValue(run_id, field, field, STORE, None, fetch)
        else:
            fields[field] = document.get(field)
    return fields
