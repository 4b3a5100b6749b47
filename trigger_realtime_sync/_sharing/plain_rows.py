"""Rows that are passed on as they came, and known only as far as a feed has to know them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from .._decode.columns import ID, STATUS, UNREADABLE, parse_strings, public_status
from .._wire.names import RUN_COLUMNS
from .._wire.postgres import parse_timestamp
from ..models import TERMINAL_STATUSES

_UPDATED_AT = RUN_COLUMNS["updated_at"]
_FINISHED_AT = RUN_COLUMNS["finished_at"]
_TAGS = RUN_COLUMNS["tags"]


class PlainRow:
    """A row by its columns, with those fields of a `Run` that reading needs."""

    __slots__ = ("columns",)

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self.columns = columns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlainRow) and self.columns == other.columns

    __hash__ = None  # type: ignore[assignment]

    @property
    def id(self) -> str:
        return str(self.columns.get(ID, ""))

    @property
    def created_at(self) -> Any:
        return self.columns.get(RUN_COLUMNS["created_at"])

    @property
    def updated_at(self) -> datetime | None:
        try:
            return parse_timestamp(self.columns[_UPDATED_AT])
        except UNREADABLE:
            return None

    @property
    def tags(self) -> list[str]:
        try:
            return parse_strings(self.columns[_TAGS])
        except UNREADABLE:
            return []

    @property
    def is_finished(self) -> bool:
        status = self.columns.get(STATUS)
        is_final = isinstance(status, str) and public_status(status) in TERMINAL_STATUSES
        return is_final or self.columns.get(_FINISHED_AT) is not None


class PlainDecoder:
    """Stands where a `RowDecoder` would, and decodes nothing: whoever follows does, with the types
    and the version of its own."""

    has_start = True

    def decode(self, columns: Mapping[str, Any], last: Any = None) -> Any:
        """Return the row."""
        return PlainRow(dict(columns))

    def decode_over(self, columns: Mapping[str, Any], last: Any) -> Any:
        """Return the row of which only some columns are known: the others are as they were."""
        return PlainRow({**last.columns, **columns})

    def decode_many(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return many rows."""
        return [PlainRow(dict(columns)) for columns in rows]
