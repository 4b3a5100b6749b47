"""The many rows of a snapshot → runs that make each field when it is first read. Pure.

The fast twin of `RowDecoder.decode`: it takes a third of the time, and declines where a row may not
decode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from .._wire.postgres import parse_timestamp
from ..models import AnyRun, lazy_run
from .columns import COLUMNS, FINISHED_AT, ID, STATUS, TASK, parse_strings, public_status, to_text
from .snapshot_check import CHECKS, is_readable

Columns = Mapping[str, Any]
PACKETS = {"_payload": "payload", "_output": "output", "_metadata": "metadata"}
_COLUMN_OF = {field: (column, parse) for field, column, parse in COLUMNS}


def decode_many(
    rows: Sequence[Columns], packet: Callable[[str, Columns], Any]
) -> list[AnyRun] | None:
    """Return the runs of rows that were not known before.

    Returns None where a row may not decode; `RowDecoder.decode` finds which one.

    Args:
        packet: makes a run's payload, output or metadata.
    """
    try:
        ids = [columns[ID] for columns in rows]
        statuses = [columns[STATUS] for columns in rows]
    except LookupError:
        return None
    if {*map(type, ids), *map(type, statuses)} != {str} or not all(ids) or not all(statuses):
        return None
    if not all(is_readable(column, check, rows) for column, check in CHECKS.items()):
        return None
    public = {status: public_status(status) for status in set(statuses)}
    make = partial(_make, packet)
    return [
        lazy_run(run_id, public[status], _time(columns.get(FINISHED_AT)), columns, make)
        for run_id, status, columns in zip(ids, statuses, rows, strict=True)
    ]


def _time(text: Any) -> Any:
    return None if text is None else parse_timestamp(text)


def _make(packet: Callable[[str, Columns], Any], field: str, columns: Columns) -> Any:
    """Return one field of a run whose columns can all be read. Raises KeyError if there is no
    field of that name."""
    if field in PACKETS:
        return packet(PACKETS[field], columns)
    if field == "task_identifier":
        return to_text(columns.get(TASK))
    column, parse = _COLUMN_OF[field]
    text = columns.get(column)
    if text is None:
        return [] if parse is parse_strings else None
    return parse(text)
