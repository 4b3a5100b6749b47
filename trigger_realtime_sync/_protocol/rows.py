"""A row of the shape log → a `Run`. Pure.

Public names and statuses: PROTOCOL, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ProtocolError
from ..models import AnyRun, Run, RunError, RunStatus, Task
from .packets import Packet, PacketValue
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
_FIELDS = (
    ("created_at", "createdAt", parse_timestamp),
    ("updated_at", "updatedAt", parse_timestamp),
    ("started_at", "startedAt", parse_timestamp),
    ("queued_at", "queuedAt", parse_timestamp),
    ("delayed_until", "delayUntil", parse_timestamp),
    ("expired_at", "expiredAt", parse_timestamp),
    ("finished_at", "completedAt", parse_timestamp),
    ("duration_ms", "usageDurationMs", parse_int),
    ("cost_in_cents", "costInCents", parse_float),
    ("base_cost_in_cents", "baseCostInCents", parse_float),
    ("number", "number", parse_int),
    ("is_test", "isTest", parse_bool),
)


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

    def decode(self, columns: Columns) -> AnyRun:
        """The run of a whole row.

        Raises:
            ProtocolError: a column holds what its type does not allow; names run and column.
        """
        run_id = columns.get("friendlyId")
        if not isinstance(run_id, str) or not run_id:
            raise ProtocolError(f"a row has no run id (friendlyId): {_shorten(run_id)}")
        status = columns.get("status")
        if not isinstance(status, str):
            raise ProtocolError(f"run {run_id}: column status is {_shorten(status)}, not text")
        identifier = _text(columns.get("taskIdentifier"))
        task = self._any_task or self._tasks.get(identifier)
        values = {field: _read(columns, column, run_id, parse) for field, column, parse in _FIELDS}
        return Run(
            id=run_id,
            task_identifier=identifier,
            status=public_status(status),
            tags=_strings(columns, "runTags", run_id),
            realtime_streams=_strings(columns, "realtimeStreams", run_id),
            ttl=_text_or_none(columns.get("ttl")),
            idempotency_key=_text_or_none(columns.get("idempotencyKey")),
            error=parse_error(_read(columns, "error", run_id, parse_json)),
            payload=self._packet(columns, "payload", run_id, task and task.payload),
            output=self._packet(columns, "output", run_id, task and task.output),
            metadata=self._packet(columns, "metadata", run_id, None),
            **values,
        )

    def _packet(self, columns: Columns, field: str, run_id: str, type_: Any) -> PacketValue:
        data = columns.get(field)
        content_type = columns.get(field + "Type")
        packet = Packet(
            data if isinstance(data, str) else None,
            content_type if isinstance(content_type, str) else "application/json",
        )
        return PacketValue(run_id, field, packet, type_, self._fetch)


def _read(columns: Columns, column: str, run_id: str, parse: Callable[[str], Any]) -> Any:
    text = columns.get(column)
    if text is None:
        return None
    try:
        return parse(text)
    except (ValueError, TypeError, AttributeError):
        raise ProtocolError(
            f"run {run_id}: column {column} can't be read from {_shorten(text)}"
        ) from None


def _strings(columns: Columns, column: str, run_id: str) -> list[str]:
    items = _read(columns, column, run_id, parse_array) or ()
    return [item for item in items if item is not None]


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
