"""The text of a run's column → the value of its field. Pure.

Public names and statuses: docs/protocol.md, section 2. The types are fixed here rather than taken
from `electric-schema`: a field of `Run` has one type whatever a server calls its column's, and a
stripped or foreign header can't change it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from .._wire.json import loads
from .._wire.names import RUN_COLUMNS
from .._wire.postgres import parse_array, parse_bool, parse_float, parse_int, parse_timestamp
from ..models import RunError, RunStatus

# What a parser of text raises, also when it is given something other than text.
UNREADABLE = (ValueError, TypeError, AttributeError, LookupError)

PUBLIC_STATUS = {
    "DELAYED": RunStatus.DELAYED,
    "WAITING_FOR_DEPLOY": RunStatus.PENDING_VERSION,
    "PENDING_VERSION": RunStatus.PENDING_VERSION,
    "PENDING": RunStatus.QUEUED,
    "DEQUEUED": RunStatus.DEQUEUED,
    "EXECUTING": RunStatus.EXECUTING,
    "RETRYING_AFTER_FAILURE": RunStatus.EXECUTING,
    "PAUSED": RunStatus.WAITING,
    "WAITING_TO_RESUME": RunStatus.WAITING,
    "COMPLETED_SUCCESSFULLY": RunStatus.COMPLETED,
    "COMPLETED_WITH_ERRORS": RunStatus.FAILED,
    "INTERRUPTED": RunStatus.FAILED,
    "CRASHED": RunStatus.CRASHED,
    "SYSTEM_FAILURE": RunStatus.SYSTEM_FAILURE,
    "EXPIRED": RunStatus.EXPIRED,
    "TIMED_OUT": RunStatus.TIMED_OUT,
    "CANCELED": RunStatus.CANCELED,
}


def public_status(server_status: str) -> RunStatus:
    """Return the public status; an unknown one keeps its text, and never ends a run by itself."""
    return PUBLIC_STATUS.get(server_status) or RunStatus(server_status)


def parse_error(value: Any) -> RunError | None:
    """Read the JSON of the `error` column, in any of its forms."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return RunError(message=str(value))
    kind = value.get("type")
    if kind == "INTERNAL_ERROR":
        message = f"trigger.dev internal error ({value.get('code')})"
    elif kind in ("STRING_ERROR", "CUSTOM_ERROR"):
        message = to_text(value.get("raw"))
    else:
        message = to_text(value.get("message"))
    return RunError(
        message=message,
        name=text_or_none(value.get("name")),
        stack_trace=text_or_none(value.get("stackTrace")),
    )


def to_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _error(text: str) -> RunError | None:
    return parse_error(loads(text))


def parse_strings(text: str) -> list[str]:
    if text == "{}":
        return []
    return list(_remembered(text) if len(text) <= LONGEST_REMEMBERED else _present(text))


def _present(text: str) -> tuple[str, ...]:
    return tuple(item for item in parse_array(text) if item is not None)


# The runs of a tag, and the states of one run, mostly have the same tags.
_remembered = lru_cache(maxsize=1024)(_present)
# Characters of the longest text that is cached, so that the cache stays small.
LONGEST_REMEMBERED = 500

PARSERS: dict[str, Callable[[str], Any]] = {
    "created_at": parse_timestamp,
    "updated_at": parse_timestamp,
    "started_at": parse_timestamp,
    "queued_at": parse_timestamp,
    "delayed_until": parse_timestamp,
    "expired_at": parse_timestamp,
    "finished_at": parse_timestamp,
    "duration_ms": parse_int,
    "cost_in_cents": parse_float,
    "base_cost_in_cents": parse_float,
    "number": parse_int,
    "tags": parse_strings,
    "ttl": text_or_none,
    "is_test": parse_bool,
    "idempotency_key": text_or_none,
    "error": _error,
    "realtime_streams": parse_strings,
}
# (field, column, parser), in the order of the fields, so that all runs share one table of names.
COLUMNS = tuple((field, RUN_COLUMNS[field], parse) for field, parse in PARSERS.items())

ID = RUN_COLUMNS["id"]
TASK = RUN_COLUMNS["task_identifier"]
STATUS = RUN_COLUMNS["status"]
STARTED_AT = RUN_COLUMNS["started_at"]
FINISHED_AT = RUN_COLUMNS["finished_at"]
