"""Many v1 parts of one body at once: the fast twin of `StreamV1._follow` and `_release`."""

from __future__ import annotations

import re
from typing import Any

from .joined import MALFORMED, Malformed
from .positions import PositionV1
from .sse_fast import Event

_USUAL_IDS = re.compile(r"[0-9]{1,19}-[0-9]{1,19}(?:,[0-9]{1,19}-[0-9]{1,19})*")
_NOT_JSON = frozenset({"NaN", "Infinity", "-Infinity"})
# The types of values that `value_or_text` may replace.
_MAY_BE_TEXT = frozenset({Malformed, float})


def usual_parts(
    start: PositionV1, last: str, events: list[Event], values: list[Any]
) -> tuple[list[str], list[Any], PositionsV1] | None:
    """Return the ids of parts, their values and the positions after them.

    Returns None where an event lacks an id, or has one that might be too large a number.

    Args:
        start: the position before the parts.
        last: the id of the part before them, in the same body, which is not counted yet.
        values: the parsed data of each event.
    """
    idents = [ident for ident, _, _ in events]
    if None in idents or not _USUAL_IDS.fullmatch(",".join(idents)):  # type: ignore[arg-type]
        return None
    if not _MAY_BE_TEXT.isdisjoint(map(type, values)):
        values = [
            value_or_text(value, event[1]) for value, event in zip(values, events, strict=True)
        ]
    return idents, values, PositionsV1(start, [last, *idents])  # type: ignore[list-item, return-value]


def value_or_text(value: Any, data: str) -> Any:
    """Return the parsed value, or the text itself where it is no JSON."""
    if value is MALFORMED or (type(value) is float and data.strip() in _NOT_JSON):
        return data
    return value


class PositionsV1:
    """The positions after parts of one body, worked out from the ids of the parts before each.

    Args:
        start: the position before the first of them.
        idents: the id of the part before the first of them, which is not counted yet, and theirs.
    """

    __slots__ = ("_idents", "_latest", "_start")

    def __init__(self, start: PositionV1, idents: list[str]) -> None:
        self._start = start
        self._idents = idents
        self._latest = (0, start)

    def __call__(self, n: int) -> PositionV1:
        """Return the position after part `n`. By then `n + 1` parts are counted, beginning with
        the one before the first."""
        before, position = self._latest
        groups = [(self._idents[n], 1)]
        if before != n:
            # Asking for one after the other takes the short way, whatever the size of the groups.
            groups, position = _last_groups(self._idents, n + 1), self._start
        for ident, length in groups:
            position = _counted(position, ident, length)
        position = position._replace(released=True, consumed=self._start.consumed + n + 1)
        self._latest = (n + 1, position)
        return position


def _counted(position: PositionV1, ident: str, length: int) -> PositionV1:
    """Return the position once `length` more parts of an id are certain."""
    if position.counted:
        if ident == position.current:
            return position._replace(counted=position.counted + length)
        after = position.previous or position.after
        position = position._replace(after=after, previous=position.current)
    return position._replace(current=ident, counted=length)


def _last_groups(idents: list[str], end: int) -> list[tuple[str, int]]:
    """Return the last three groups of equal ids before `end`, and their lengths. No earlier id
    matters for the position."""
    groups: list[tuple[str, int]] = []
    while end and len(groups) < 3:
        ident, start = idents[end - 1], end - 1
        while start and idents[start - 1] == ident:
            start -= 1
        groups.append((ident, end - start))
        end = start
    groups.reverse()
    return groups
