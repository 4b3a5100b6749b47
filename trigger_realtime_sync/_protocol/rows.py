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
        # Not by `__init__`: a snapshot has thousands of rows, and this takes a third of the time.
        run: AnyRun = Run.__new__(Run)
        fields, get = run.__dict__, columns.get
        fields["id"] = run_id
        fields["task_identifier"] = identifier
        fields["status"] = public_status(status)
        try:
            for field, column, parse in _PARSED:
                text = get(column)
                fields[field] = None if text is None else parse(text)
        except (ValueError, TypeError, AttributeError):
            problem = f"run {run_id}: column {column} can't be read: {shown(text)}"
            raise ProtocolError(problem) from None
        fields["tags"] = fields["tags"] or []
        fields["realtime_streams"] = fields["realtime_streams"] or []
        fields["_payload"] = self._packet(
            columns, "payload", "payloadType", run_id, task and task.payload, last and last._payload
        )
        fields["_output"] = self._packet(
            columns, "output", "outputType", run_id, task and task.output, last and last._output
        )
        fields["_metadata"] = self._packet(
            columns, "metadata", "metadataType", run_id, None, last and last._metadata
        )
        return run

    def _packet(
        self, columns: Columns, field: str, type_field: str, run_id: str, type_: Any, last: Any
    ) -> PacketValue | None:
        data = columns.get(field)
        if not isinstance(data, str):
            return None
        content_type = columns.get(type_field)
        if not isinstance(content_type, str):
            content_type = JSON
        if isinstance(last, PacketValue) and last.packet == (data, content_type):
            return last
        return PacketValue(run_id, field, data, content_type, type_, self._fetch)


def _error(text: str) -> RunError | None:
    return parse_error(parse_json(text))


def _strings(text: str) -> list[str]:
    if text == "{}":
        return []
    return list(_remembered(text) if len(text) <= LONGEST_REMEMBERED else _present(text))


def _present(text: str) -> tuple[str, ...]:
    return tuple(item for item in parse_array(text) if item is not None)


# The runs of a tag, and the states of a run, mostly have the same tags.
_remembered = lru_cache(maxsize=1024)(_present)
LONGEST_REMEMBERED = 500

# In the order of the fields of `Run`, so that all runs share one table of their names.
_PARSED: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
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
    ("tags", "runTags", _strings),
    ("ttl", "ttl", _text_or_none),
    ("is_test", "isTest", parse_bool),
    ("idempotency_key", "idempotencyKey", _text_or_none),
    ("error", "error", _error),
    ("realtime_streams", "realtimeStreams", _strings),
)
