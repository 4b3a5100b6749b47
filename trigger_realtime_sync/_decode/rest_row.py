"""A run as the REST API tells it → the columns of its row. Pure.

REST loses the types of payload and output (superjson), so a row of the feed goes before it. Source:
docs/protocol.md, section 2, item 7.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .._wire.names import CONTENT_TYPE_SUFFIX, RUN_COLUMNS
from ..models import TERMINAL_STATUSES, RunStatus
from .columns import ID, PUBLIC_STATUS, STATUS
from .packets import JSON, STORE

# Where several statuses of the server have one public name, the one that ends a run.
_SERVER_STATUS = {public: server for server, public in PUBLIC_STATUS.items()}
_SERVER_STATUS[RunStatus.FAILED] = "COMPLETED_WITH_ERRORS"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _time(value: Any) -> str | None:
    return value.removesuffix("Z") if isinstance(value, str) else None


def _number(value: Any) -> str | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else None


def _bool(value: Any) -> str | None:
    return ("t" if value else "f") if isinstance(value, bool) else None


def _array(value: Any) -> str | None:
    if not isinstance(value, list):
        return None
    texts = [one.replace("\\", "\\\\").replace('"', '\\"') for one in value if isinstance(one, str)]
    return "{" + ",".join(f'"{text}"' for text in texts) + "}"


# Field of `Run` → its name in the REST API, and what makes the column's text of it.
_FIELDS: dict[str, tuple[str, Callable[[Any], str | None]]] = {
    "id": ("id", _text),
    "task_identifier": ("taskIdentifier", _text),
    "created_at": ("createdAt", _time),
    "updated_at": ("updatedAt", _time),
    "started_at": ("startedAt", _time),
    "delayed_until": ("delayedUntil", _time),
    "expired_at": ("expiredAt", _time),
    "finished_at": ("finishedAt", _time),
    "duration_ms": ("durationMs", _number),
    "cost_in_cents": ("costInCents", _number),
    "base_cost_in_cents": ("baseCostInCents", _number),
    "tags": ("tags", _array),
    "ttl": ("ttl", _text),
    "is_test": ("isTest", _bool),
    "idempotency_key": ("idempotencyKey", _text),
}


def finished_columns(
    document: Any, run_id: str, base: Mapping[str, Any], skipped: frozenset[str]
) -> dict[str, Any] | None:
    """Return the columns of a finished run, or None if REST does not call it finished.

    Args:
        document: the answer of `GET /api/v3/runs/{id}`.
        base: the columns that the feed told; what REST does not have stays.
        skipped: the columns that the user does not want.
    """
    if not isinstance(document, dict) or document.get("id", run_id) != run_id:
        return None
    status = RunStatus(_text(document.get("status")) or "")
    if status not in TERMINAL_STATUSES:
        return None
    columns = {**base, ID: run_id, STATUS: _SERVER_STATUS[status]}
    for field, (name, text_of) in _FIELDS.items():
        text = text_of(document.get(name))
        if text is not None:
            columns[RUN_COLUMNS[field]] = text
    columns.update(_packets(document))
    columns.update(_error(document.get("error")))
    return {name: text for name, text in columns.items() if name not in skipped}


def _packets(document: Mapping[str, Any]) -> dict[str, str]:
    columns = {}
    for name in ("payload", "output", "metadata"):
        if document.get(f"{name}PresignedUrl"):
            # The path is not told, and not needed: the run's own route finds it.
            columns[name], columns[name + CONTENT_TYPE_SUFFIX] = name, STORE
        elif (text := _json(document.get(name))) is not None:
            columns[name], columns[name + CONTENT_TYPE_SUFFIX] = text, JSON
    return columns


def _error(error: Any) -> dict[str, str]:
    if not isinstance(error, dict):
        return {}
    text = _json({"type": "BUILT_IN_ERROR", **error})
    return {} if text is None else {RUN_COLUMNS["error"]: text}


def _json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        # As JavaScript writes it, so that the feed's row of the same state is no news.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        # The parser allows more levels than this.
        return None
