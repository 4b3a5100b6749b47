"""Compares our values with those that the official client gave its user.

`driver.mjs` says by type what JSON can't: `{"$date": ms}`, `{"$set": […]}` and the like.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from trigger_realtime_sync.models import RunError

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# Theirs to ours.
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
    "tags": "tags",
    "idempotencyKey": "idempotency_key",
    "isTest": "is_test",
    "error": "error",
    "payload": "payload",
    "output": "output",
    "metadata": "metadata",
    "realtimeStreams": "realtime_streams",
    "isQueued": "is_queued",
    "isWaiting": "is_waiting",
    "isExecuting": "is_executing",
    "isFailed": "is_failed",
    "isSuccess": "is_success",
    "isCancelled": "is_cancelled",
}
# What the official client makes up for a column that was not sent. Ours says None.
MADE_UP = {"durationMs": 0, "costInCents": 0, "baseCostInCents": 0, "isTest": False}


def run_differences(theirs: Mapping[str, Any], ours: Any) -> list[str]:
    """Where two states of a run differ, in words."""
    unknown = set(theirs) - set(FIELDS) - {"isCompleted"}
    found = [f"{name}: unknown to this comparison" for name in sorted(unknown)]
    for name, field in FIELDS.items():
        value = getattr(ours, field)
        if value is None and name in MADE_UP:
            value = MADE_UP[name]
        found += differences(theirs.get(name), value, name)
    completed = ours.is_success or ours.is_failed
    return [*found, *differences(theirs.get("isCompleted"), completed, "isCompleted")]


def differences(theirs: Any, ours: Any, path: str = "value") -> Iterator[str]:
    """Where two values differ, in words. Iterative, as values may be deep."""
    todo = [(theirs, ours, path, ((None, ours),))]
    while todo:
        theirs, ours, path, above = todo.pop()
        children = _children(theirs, ours, above)
        if children is None:
            yield f"{path}: {_short(theirs)} there, {_short(ours)} here"
            continue
        for step, one, other in children:
            todo.append((one, other, f"{path}{step}", (*above, (None, other))))


Children = list[tuple[str, Any, Any]]


def _children(theirs: Any, ours: Any, above: tuple[Any, ...]) -> Children | None:
    """Return the pairs of inner values to compare, or None if the outer ones differ already."""
    if isinstance(theirs, list):
        if not isinstance(ours, list) or len(theirs) != len(ours):
            return None
        return [(f"[{i}]", *pair) for i, pair in enumerate(zip(theirs, ours, strict=True))]
    if isinstance(theirs, dict):
        tag = next((key for key in theirs if key.startswith("$")), None)
        if tag in _TAGGED:
            return _TAGGED[tag](theirs, ours)
        if tag == "$above":
            return [] if above[-1 - theirs[tag]][1] is ours else None
        return _object(theirs, ours)
    return [] if _same_scalar(theirs, ours) else None


def _same_scalar(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, bool) or isinstance(ours, bool) or theirs is None or ours is None:
        return theirs is ours
    if isinstance(theirs, (int, float)):
        # JavaScript has only doubles.
        return isinstance(ours, (int, float)) and float(theirs) == float(ours)
    return type(theirs) is str and isinstance(ours, str) and theirs == str(ours)


def _object(theirs: dict[str, Any], ours: Any) -> Children | None:
    if isinstance(ours, RunError):
        ours = {"name": ours.name, "message": ours.message, "stackTrace": ours.stack_trace}
        theirs = {name: theirs.get(name) for name in ours}
    if not isinstance(ours, dict) or set(theirs) != set(ours):
        return None
    return [(f".{key}", theirs[key], ours[key]) for key in theirs]


def _date(theirs: Any, ours: Any) -> Children | None:
    ms = theirs["$date"]
    if isinstance(ours, str):
        # Outside of Python's years.
        return [] if ms is None or not -62135596800000 <= ms <= 253402300799999 else None
    if not isinstance(ours, datetime) or ours.tzinfo is None or ms is None:
        return [] if ms is None and ours is None else None
    return [] if (ours - EPOCH) // timedelta(milliseconds=1) == ms else None


def _number(theirs: Any, ours: Any) -> Children | None:
    name = theirs["$number"]
    if not isinstance(ours, float):
        return None
    if name == "NaN":
        return [] if math.isnan(ours) else None
    if name == "-0":
        return [] if ours == 0 and math.copysign(1, ours) < 0 else None
    return [] if ours == float(name.replace("Infinity", "inf")) else None


def _bigint(theirs: Any, ours: Any) -> Children | None:
    return [] if type(ours) is int and str(ours) == theirs["$bigint"] else None


def _regexp(theirs: Any, ours: Any) -> Children | None:
    if isinstance(ours, str):
        # One that Python's dialect has not.
        return [] if ours == f"/{theirs['$regexp']}/{theirs['flags']}" else None
    if not isinstance(ours, re.Pattern):
        return None
    flags = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
    return (
        []
        if all((name in theirs["flags"]) == bool(ours.flags & flag) for name, flag in flags.items())
        else None
    )


def _set(theirs: Any, ours: Any) -> Children | None:
    items = theirs["$set"]
    if isinstance(ours, list):
        # With elements that Python can't hash or tell apart.
        return _children(items, ours, ())
    if not isinstance(ours, set) or len(items) != len(ours):
        return None
    left = list(ours)
    for item in items:
        match = next((one for one in left if not list(differences(item, one))), left)
        if match is left:
            return None
        left.remove(match)
    return []


def _map(theirs: Any, ours: Any) -> Children | None:
    pairs = theirs["$map"]
    if isinstance(ours, dict):
        ours = list(ours.items())
    if not isinstance(ours, list) or len(ours) != len(pairs):
        return None
    both = zip(pairs, ours, strict=True)
    return [("<entry>", *one) for pair in both for one in zip(*pair, strict=True)]


def _error(theirs: Any, ours: Any) -> Children | None:
    told = getattr(ours, "name", None), getattr(ours, "message", None)
    if told != (theirs["$error"], theirs["message"]):
        return None
    return [(".cause", theirs["cause"], ours.cause)]


def _bytes(theirs: Any, ours: Any) -> Children | None:
    return [] if isinstance(ours, bytes) and list(ours) == theirs["$bytes"] else None


def _text(theirs: Any, ours: Any) -> Children | None:
    return [] if ours == next(iter(theirs.values())) else None


_TAGGED = {
    "$date": _date,
    "$number": _number,
    "$bigint": _bigint,
    "$regexp": _regexp,
    "$set": _set,
    "$map": _map,
    "$error": _error,
    "$bytes": _bytes,
    "$url": _text,
    "$symbol": _text,
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
