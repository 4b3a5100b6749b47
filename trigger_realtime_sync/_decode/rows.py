"""A row of the shape log → a `Run`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._wire.excerpt import excerpt
from .._wire.names import CONTENT_TYPE_SUFFIX
from ..errors import ProtocolError
from ..models import AnyRun, Task, empty_run, unread
from . import rows_fast
from .columns import COLUMNS, ID, STARTED_AT, STATUS, TASK, UNREADABLE, public_status, to_text
from .packets import JSON, Fetch, PacketValue

Columns = Mapping[str, Any]

PACKETS = ("payload", "output", "metadata")


class RowDecoder:
    """Decodes the rows of one target.

    Args:
        tasks: types of payload and output, by `task_identifier`.
        fetch: gets a packet that was too large for the row; called when the value is read.
        any_task: the one task that types every run, whatever its identifier (single runs).

    Attributes:
        has_start: whether the last rows told when their runs started: `skip_columns`, or a token's
            own claim, may leave that out.
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
        self.has_start = False

    def decode(self, columns: Columns, last: AnyRun | None = None) -> AnyRun:
        """Return the run of a whole row.

        Args:
            columns: of the row.
            last: the run's state before this one: packets that did not change stay decoded.

        Raises:
            ProtocolError: a column holds what its type does not allow; names run and column.
        """
        run_id, status = columns.get(ID), columns.get(STATUS)
        if not isinstance(run_id, str) or not run_id:
            raise ProtocolError(f"a row has no run id (friendlyId): {excerpt(run_id)}")
        if not isinstance(status, str):
            raise ProtocolError(f"run {run_id}: column status is {excerpt(status)}, not text")
        self.has_start = STARTED_AT in columns
        run, fields = empty_run()
        get = columns.get
        fields["id"] = run_id
        fields["task_identifier"] = to_text(get(TASK))
        fields["status"] = public_status(status)
        try:
            for field, column, parse in COLUMNS:
                text = get(column)
                fields[field] = None if text is None else parse(text)
        except UNREADABLE:
            problem = f"run {run_id}: column {column} can't be read: {excerpt(text)}"
            raise ProtocolError(problem) from None
        fields["tags"] = fields["tags"] or []
        fields["realtime_streams"] = fields["realtime_streams"] or []
        for name in PACKETS:
            fields["_" + name] = self._packet(name, columns, last and unread(last, name))
        return run

    def decode_over(self, columns: Columns, last: AnyRun) -> AnyRun:
        """Return the run of a row of which only some columns are known: what the others say is as
        it was."""
        run = self.decode(columns, last)
        fields = vars(run)
        for field, column, _ in COLUMNS:
            if column not in columns:
                fields[field] = getattr(last, field)
        for name in PACKETS:
            if name not in columns:
                fields[f"_{name}"] = unread(last, name)
        return run

    def decode_many(self, rows: Sequence[Columns]) -> list[AnyRun] | None:
        """Return the runs of rows that were not known before, or None where one may not decode."""
        self.has_start = bool(rows) and STARTED_AT in rows[0]
        return rows_fast.decode_many(rows, self._packet)

    def _packet(self, name: str, columns: Columns, last: Any = None) -> PacketValue | None:
        data = columns.get(name)
        if not isinstance(data, str):
            return None
        content_type = columns.get(name + CONTENT_TYPE_SUFFIX)
        if not isinstance(content_type, str):
            content_type = JSON
        if isinstance(last, PacketValue) and last.packet == (data, content_type):
            return last
        type_ = self._type_of(name, columns) if self._any_task or self._tasks else None
        return PacketValue(columns[ID], name, data, content_type, type_, self._fetch)

    def _type_of(self, name: str, columns: Columns) -> Any:
        task = self._any_task or self._tasks.get(to_text(columns.get(TASK)))
        # A task has no type for metadata.
        return getattr(task, name, None)
