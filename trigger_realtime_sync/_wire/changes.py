"""What one answer of a shape changed."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

from ..errors import ProtocolError

RowT = TypeVar("RowT")


@attrs.define
class Changes(Generic[RowT]):
    """What one answer changed: nothing yet, unless the log is up to date with it.

    Attributes:
        rows: the changed rows by row key, in the order first touched.
        gone: the row keys of rows that are no longer part of the shape.
        failures: the errors of rows that did not decode, by row key.
        missing: the row keys of unfinished rows that a new snapshot lacks, which need not have
            ended: the window of a shape moves, and it may be full. None without a new snapshot.
        news: whether the answer had any row, changed or not.
    """

    rows: dict[str, RowT] = attrs.field(factory=dict)
    gone: list[str] = attrs.field(factory=list)
    failures: dict[str, ProtocolError] = attrs.field(factory=dict)
    missing: list[str] | None = None
    news: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows or self.gone or self.failures)
