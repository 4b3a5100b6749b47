"""A row of the shape log → a `Run`. Pure.

Public names and statuses: PROTOCOL, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from .._wire.names import CONTENT_TYPE_SUFFIX, RUN_COLUMNS
from .._wire.postgres import (
    parse_array,
    parse_bool,
    parse_float,
    parse_int,
    parse_json,
    parse_timestamp,
)
from .._wire.shown import shown
from ..errors import ProtocolError
from ..models import AnyRun, Run, RunError, RunStatus, Task
from .packets import JSON, Packet, PacketValue
from .snapshot_check import (
    UNREADABLE,
    Check,
    are_any,
    are_integers,
    are_times,
    each_is,
    is_readable,
)

Fetch = Callable[[str, str, str], Packet]
Columns = Mapping[str, Any]

_ID = RUN_COLUMNS["id"]
_TASK = RUN_COLUMNS["task_identifier"]
_STATUS = RUN_COLUMNS["status"]
_FINISHED_AT = RUN_COLUMNS["finished_at"]

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
        run_id, status = columns.get(_ID), columns.get(_STATUS)
        if not isinstance(run_id, str) or not run_id:
            raise ProtocolError(f"a row has no run id (friendlyId): {shown(run_id)}")
        if not isinstance(status, str):
            raise ProtocolError(f"run {run_id}: column status is {shown(status)}, not text")
        # Not by `__init__`: a snapshot has many rows, and this takes a third of the time.
        run: AnyRun = Run.__new__(Run)
        fields, get = run.__dict__, columns.get
        fields["id"] = run_id
        fields["task_identifier"] = _text(get(_TASK))
        fields["status"] = public_status(status)
        try:
            for field, column, parse, _ in COLUMNS:
                text = get(column)
                fields[field] = None if text is None else parse(text)
        except UNREADABLE:
            problem = f"run {run_id}: column {column} can't be read: {shown(text)}"
            raise ProtocolError(problem) from None
        fields["tags"] = fields["tags"] or []
        fields["realtime_streams"] = fields["realtime_streams"] or []
        fields["_payload"] = self._packet("payload", columns, last and last._payload)
        fields["_output"] = self._packet("output", columns, last and last._output)
        fields["_metadata"] = self._packet("metadata", columns, last and last._metadata)
        return run

    def decode_many(self, rows: Sequence[Columns]) -> list[AnyRun] | None:
        """The runs of many rows, none of which was known before. Each field is made when it is
        first read. None where a row may not decode: which one it is, `decode` tells."""
        try:
            ids = [columns[_ID] for columns in rows]
            statuses = [columns[_STATUS] for columns in rows]
        except LookupError:
            return None
        if {*map(type, ids), *map(type, statuses)} != {str} or not all(ids) or not all(statuses):
            return None
        if not all(is_readable(column, check, rows) for _, column, _, check in COLUMNS):
            return None
        public = {status: public_status(status) for status in set(statuses)}
        make = self._make
        return [
            _deferred(run_id, public[status], columns, make)
            for run_id, status, columns in zip(ids, statuses, rows, strict=True)
        ]

    def _make(self, field: str, columns: Columns) -> Any:
        """One field of a run whose columns can all be read. KeyError where there is none of that
        name."""
        if field in PACKETS:
            return self._packet(PACKETS[field], columns, None)
        if field == "task_identifier":
            return _text(columns.get(_TASK))
        column, parse = _COLUMN_OF[field]
        text = columns.get(column)
        if text is None:
            return [] if parse is _strings else None
        return parse(text)

    def _packet(self, name: str, columns: Columns, last: Any) -> PacketValue | None:
        data = columns.get(name)
        if not isinstance(data, str):
            return None
        content_type = columns.get(name + CONTENT_TYPE_SUFFIX)
        if not isinstance(content_type, str):
            content_type = JSON
        if isinstance(last, PacketValue) and last.packet == (data, content_type):
            return last
        type_ = self._type_of(name, columns) if self._any_task or self._tasks else None
        return PacketValue(columns[_ID], name, data, content_type, type_, self._fetch)

    def _type_of(self, name: str, columns: Columns) -> Any:
        task = self._any_task or self._tasks.get(_text(columns.get(_TASK)))
        # There is no type of metadata.
        return getattr(task, name, None)


def _deferred(
    run_id: str, status: RunStatus, columns: Columns, make: Callable[[str, Columns], Any]
) -> AnyRun:
    """A run that makes its fields when they are first read, but for what is asked of every run."""
    run: AnyRun = Run.__new__(Run)
    fields = run.__dict__
    fields["id"] = run_id
    fields["status"] = status
    finished = columns.get(_FINISHED_AT)
    fields["finished_at"] = None if finished is None else parse_timestamp(finished)
    fields["_columns"] = columns
    fields["_make"] = make
    return run


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

# How each field is made of its column's text, and the check that says all texts of a column can be
# read. In the order of the fields, so that all runs share one table of their names.
_READERS: dict[str, tuple[Callable[[str], Any], Check]] = {
    "created_at": (parse_timestamp, are_times),
    "updated_at": (parse_timestamp, are_times),
    "started_at": (parse_timestamp, are_times),
    "queued_at": (parse_timestamp, are_times),
    "delayed_until": (parse_timestamp, are_times),
    "expired_at": (parse_timestamp, are_times),
    "finished_at": (parse_timestamp, are_times),
    "duration_ms": (parse_int, are_integers),
    "cost_in_cents": (parse_float, each_is(parse_float)),
    "base_cost_in_cents": (parse_float, each_is(parse_float)),
    "number": (parse_int, are_integers),
    "tags": (_strings, each_is(_strings)),
    "ttl": (_text_or_none, are_any),
    "is_test": (parse_bool, each_is(parse_bool)),
    "idempotency_key": (_text_or_none, are_any),
    "error": (_error, each_is(_error)),
    "realtime_streams": (_strings, each_is(_strings)),
}
COLUMNS = tuple((field, RUN_COLUMNS[field], *reader) for field, reader in _READERS.items())
PACKETS = {"_payload": "payload", "_output": "output", "_metadata": "metadata"}
_COLUMN_OF = {field: (column, parse) for field, column, parse, _ in COLUMNS}
