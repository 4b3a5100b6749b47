"""A run's row as Postgres text: its columns, their names, and how each backend writes them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Literal

Row = dict[str, "str | None"]
BackendName = Literal["native", "electric"]

# The columns in the order the server sends them, with their Postgres types.
COLUMNS: dict[str, str] = {
    "id": "text",
    "taskIdentifier": "text",
    "createdAt": "timestamp",
    "updatedAt": "timestamp",
    "startedAt": "timestamp",
    "delayUntil": "timestamp",
    "queuedAt": "timestamp",
    "expiredAt": "timestamp",
    "completedAt": "timestamp",
    "friendlyId": "text",
    "number": "int4",
    "isTest": "bool",
    "status": "text",
    "usageDurationMs": "int4",
    "costInCents": "float8",
    "baseCostInCents": "float8",
    "ttl": "text",
    "payload": "text",
    "payloadType": "text",
    "metadata": "text",
    "metadataType": "text",
    "output": "text",
    "outputType": "text",
    "runTags": "text[]",
    "error": "jsonb",
    "realtimeStreams": "text[]",
}
# Sent by some servers only: in a feed as soon as a run has a value for it.
OPTIONAL_COLUMNS: dict[str, str] = {"idempotencyKey": "text"}
# Sent even if `skipColumns` names them.
NEVER_SKIPPED = frozenset({"id", "taskIdentifier", "friendlyId", "status", "createdAt"})
PACKETS = ("payload", "output", "metadata")

_TIMESTAMPS = tuple(name for name, kind in COLUMNS.items() if kind == "timestamp")
_NOT_NULL = frozenset(
    {"id", "taskIdentifier", "createdAt", "updatedAt", "friendlyId", "number", "isTest"}
    | {"status", "usageDurationMs", "costInCents", "baseCostInCents", "payload", "payloadType"}
    | {"metadataType", "outputType"}
)

_PUBLIC_NAMES = {
    "duration_ms": "usageDurationMs",
    "durationMs": "usageDurationMs",
    "tags": "runTags",
    "finished_at": "completedAt",
    "finishedAt": "completedAt",
    "delayed_until": "delayUntil",
    "delayedUntil": "delayUntil",
}
_SERVER_STATUS = {
    "QUEUED": "PENDING",
    "WAITING": "WAITING_TO_RESUME",
    "COMPLETED": "COMPLETED_SUCCESSFULLY",
    "FAILED": "COMPLETED_WITH_ERRORS",
}
_PUBLIC_STATUS = {
    "WAITING_FOR_DEPLOY": "PENDING_VERSION",
    "PENDING": "QUEUED",
    "RETRYING_AFTER_FAILURE": "EXECUTING",
    "PAUSED": "WAITING",
    "WAITING_TO_RESUME": "WAITING",
    "COMPLETED_SUCCESSFULLY": "COMPLETED",
    "COMPLETED_WITH_ERRORS": "FAILED",
    "INTERRUPTED": "FAILED",
}
EXECUTING = frozenset({"DEQUEUED", "EXECUTING", "RETRYING_AFTER_FAILURE"})


def column_name(name: str) -> str:
    """Return the wire name of a column given by its wire, snake case or public name."""
    if name in _PUBLIC_NAMES:
        return _PUBLIC_NAMES[name]
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def server_status(status: str) -> str:
    """Return the server's name of a status; an unknown name stays as it is."""
    return _SERVER_STATUS.get(str(status), str(status))


def public_status(status: str) -> str:
    return _PUBLIC_STATUS.get(status, status)


def timestamp(moment: datetime) -> str:
    """Write a moment as the native backend does: UTC without a zone, in milliseconds."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds")


def timestamp_ms(text: str | None) -> int:
    """Return a stored timestamp as milliseconds since the epoch; 0 if it is malformed."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return 0
    return round(moment.replace(tzinfo=timezone.utc).timestamp() * 1000)


def timestamp_of(ms: int) -> str:
    """Return milliseconds since the epoch as a stored timestamp."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000))
    return f"{whole}.{ms % 1000:03d}"


def array(items: Iterable[str]) -> str:
    """Write a Postgres array literal as the native backend does: every item quoted."""
    quoted = (str(item).replace("\\", "\\\\").replace('"', '\\"') for item in items)
    return "{" + ",".join(f'"{item}"' for item in quoted) + "}"


@lru_cache(maxsize=4096)
def array_items(literal: str | None) -> tuple[str, ...]:
    """Return the items of an array literal that `array` wrote."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"', literal or "", re.DOTALL)
    return tuple(re.sub(r"\\(.)", r"\1", item, flags=re.DOTALL) for item in found)


@lru_cache(maxsize=4096)
def _electric_array(literal: str) -> str:
    # Postgres itself quotes an item only where it must.
    def item(text: str) -> str:
        if text and text.upper() != "NULL" and not re.search(r'[\s{},"\\]', text):
            return text
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "{" + ",".join(item(text) for text in array_items(literal)) + "}"


@lru_cache(maxsize=65536)
def _electric_timestamp(text: str) -> str:
    text = text.replace("T", " ")
    return text.rstrip("0").rstrip(".") if "." in text else text


def electric(row: Row, *, snapshot: bool) -> Row:
    """Rewrite the row as Electric does (docs/protocol.md, section 2)."""
    row = dict(row)
    for name in _TIMESTAMPS:
        text = row.get(name)
        if text is not None:
            row[name] = _electric_timestamp(text)
    for name in ("runTags", "realtimeStreams"):
        literal = row.get(name)
        if literal is not None:
            row[name] = _electric_array(literal)
    if snapshot and row.get("isTest") is not None:
        row["isTest"] = {"t": "true", "f": "false"}.get(row["isTest"] or "", row["isTest"])
    return row


def schema(columns: Iterable[str], backend: BackendName) -> str:
    """Return the `electric-schema` header for these columns."""
    described = {}
    for name in columns:
        kind = COLUMNS.get(name) or OPTIONAL_COLUMNS.get(name, "text")
        one: dict[str, Any] = {"type": kind.removesuffix("[]")}
        if kind.endswith("[]"):
            one["dims"] = 1
        if backend == "electric":
            one.update(_electric_details(name, kind))
        described[name] = one
    return json.dumps(described, separators=(",", ":"))


def _electric_details(name: str, kind: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name == "status":
        details["type"] = "TaskRunStatus"
    if kind == "timestamp":
        details["precision"] = 3
    if name == "id":
        details["pk_index"] = 0
    if name in _NOT_NULL:
        details["not_null"] = True
    return details


def packet(value: Any) -> tuple[str | None, str]:
    """Return a packet's text and type: a value as JSON, a `(data, content_type)` tuple as it is."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
        return value[0], value[1]
    if value is None:
        return None, "application/json"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False), "application/json"


def _text(name: str, value: Any) -> str | None:
    if name == "status":
        return server_status(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime):
        return timestamp(value)
    if name == "error" or isinstance(value, Mapping):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, (list, tuple, set, frozenset)):
        return array(value)
    return str(value)


def to_row(values: Mapping[str, Any]) -> Row:
    """Return column values, given by any of their names, as Postgres text."""
    row: Row = {}
    for given, value in values.items():
        name = column_name(given)
        if name in PACKETS:
            row[name], row[name + "Type"] = packet(value)
            if name == "payload" and row[name] is None:
                # The only packet that can't be null.
                row[name] = ""
        elif name == "runTags":
            tags = [value] if isinstance(value, str) else list(value or ())
            row[name] = array(tags) if tags else None
        else:
            row[name] = _text(name, value)
    return row
