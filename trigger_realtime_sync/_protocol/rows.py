"""A row of the shape log → a `Run`. Pure.

Public names and statuses: PROTOCOL, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..errors import ProtocolError
from ..models import AnyRun, Run, RunError, RunStatus, Task
from .packets import JSON, Packet, PacketValue
from .shown import shown
from .values import parse_array, parse_bool, parse_float, parse_int, parse_json, parse_timestamp

Fetch = Callable[[str, str, str], Packet]
Columns = Mapping[str, Any]

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

# The types are fixed here rather than taken from `electric-schema`: a field of `Run` has one type
# whatever a server calls its column's, and a stripped or foreign header can't change it.


def public_status(server_status: str) -> RunStatus:
    """An unknown status keeps its text: it may be a new one, and never ends a run by itself."""
    return PUBLIC_STATUS.get(server_status) or RunStatus(server_status)


def parse_error(value: Any) -> RunError | None:
    """The `error` column, of whichever of its shapes."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return RunError(message=str(value))
    kind = value.get("type")
    if kind == "INTERNAL_ERROR":
        message = f"trigger.dev internal error ({value.get('code')})"
    elif kind in ("STRING_ERROR", "CUSTOM_ERROR"):
        message = _text(value.get("raw"))
    else:
        message = _text(value.get("message"))
    return RunError(
        message=message,
        name=_text_or_none(value.get("name")),
        stack_trace=_text_or_none(value.get("stackTrace")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


class RowDecoder:
    """Decodes the rows of one subscription.

    Args:
        tasks: types of payload and output, by `task_identifier`.
        fetch: gets a packet that was too large for the row; called when the value is read.
        any_task: the one task that types every run, whatever its identifier (single runs).
    """

    def __init__(
        self,
        tasks: Sequence[Task[Any, Any]] = (),
        fetch: Fetch | None = None,
        any_task: Task[Any, Any] | None = None,
    ) -> None:
        self._tasks = {task.identifier: task for task in tasks}
        self._any_task = any_task
        self._fetch = fetch

    def decode(self, columns: Columns, last: AnyRun | None = None) -> AnyRun:
        """The run of a whole row.

        Args:
            columns: of the row.
            last: the run's state before this one: packets that are as they were stay decoded.

        Raises:
            ProtocolError: a column holds what its type does not allow; names run and column.
        """
        run_id = columns.get("friendlyId")
        if not isinstance(run_id, str) or not run_id:
            raise ProtocolError(f"a row has no run id (friendlyId): {shown(run_id)}")
        status = columns.get("status")
        if not isinstance(status, str):
            raise ProtocolError(f"run {run_id}: column status is {shown(status)}, not text")
        identifier = _text(columns.get("taskIdentifier"))
        task = self._any_task or self._tasks.get(identifier)
        get = columns.get
        try:
            # One call with every column by name: a snapshot has thousands of rows, and a dict of
            # values in between would make each a third slower.
            return Run(
                id=run_id,
                task_identifier=identifier,
                status=public_status(status),
                created_at=None if (text := get("createdAt")) is None else parse_timestamp(text),
                updated_at=None if (text := get("updatedAt")) is None else parse_timestamp(text),
                started_at=None if (text := get("startedAt")) is None else parse_timestamp(text),
                queued_at=None if (text := get("queuedAt")) is None else parse_timestamp(text),
                delayed_until=None
                if (text := get("delayUntil")) is None
                else parse_timestamp(text),
                expired_at=None if (text := get("expiredAt")) is None else parse_timestamp(text),
                finished_at=None if (text := get("completedAt")) is None else parse_timestamp(text),
                duration_ms=None if (text := get("usageDurationMs")) is None else parse_int(text),
                cost_in_cents=None if (text := get("costInCents")) is None else parse_float(text),
                base_cost_in_cents=None
                if (text := get("baseCostInCents")) is None
                else parse_float(text),
                number=None if (text := get("number")) is None else parse_int(text),
                tags=_strings(get("runTags")),
                ttl=_text_or_none(get("ttl")),
                is_test=None if (text := get("isTest")) is None else parse_bool(text),
                idempotency_key=_text_or_none(get("idempotencyKey")),
                error=None if (text := get("error")) is None else _error(text),
                realtime_streams=_strings(get("realtimeStreams")),
                payload=self._packet(
                    columns, "payload", run_id, task and task.payload, last and last._payload
                ),
                output=self._packet(
                    columns, "output", run_id, task and task.output, last and last._output
                ),
                metadata=self._packet(columns, "metadata", run_id, None, last and last._metadata),
            )
        except (ValueError, TypeError, AttributeError):
            raise _unreadable(columns, run_id) from None

    def _packet(
        self, columns: Columns, field: str, run_id: str, type_: Any, last: Any
    ) -> PacketValue | None:
        data = columns.get(field)
        if not isinstance(data, str):
            return None
        content_type = columns.get(field + "Type")
        packet = Packet(data, content_type if isinstance(content_type, str) else JSON)
        if isinstance(last, PacketValue) and last.packet == packet:
            return last
        return PacketValue(run_id, field, packet, type_, self._fetch)


def _error(text: str) -> RunError | None:
    return parse_error(parse_json(text))


def _strings(text: str | None) -> list[str]:
    if text is None or text == "{}":
        return []
    return list(_remembered(text) if len(text) <= LONGEST_REMEMBERED else _present(text))


def _present(text: str) -> tuple[str, ...]:
    return tuple(item for item in parse_array(text) if item is not None)


# The runs of a tag, and the states of a run, mostly have the same tags.
_remembered = lru_cache(maxsize=1024)(_present)
LONGEST_REMEMBERED = 500

_PARSERS: dict[str, Callable[[str], Any]] = {
    "createdAt": parse_timestamp,
    "updatedAt": parse_timestamp,
    "startedAt": parse_timestamp,
    "queuedAt": parse_timestamp,
    "delayUntil": parse_timestamp,
    "expiredAt": parse_timestamp,
    "completedAt": parse_timestamp,
    "usageDurationMs": parse_int,
    "costInCents": parse_float,
    "baseCostInCents": parse_float,
    "number": parse_int,
    "isTest": parse_bool,
    "runTags": _strings,
    "realtimeStreams": _strings,
    "error": _error,
}


def _unreadable(columns: Columns, run_id: str) -> ProtocolError:
    """Which column it was."""
    for column, parse in _PARSERS.items():
        text = columns.get(column)
        if text is None:
            continue
        try:
            parse(text)
        except (ValueError, TypeError, AttributeError):
            return ProtocolError(f"run {run_id}: column {column} can't be read: {shown(text)}")
    return ProtocolError(f"run {run_id}: the row can't be read")
