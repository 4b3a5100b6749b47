"""Checks that every row of a large snapshot can be read, without reading each. Pure.

Among thousands of rows hardly one can't be read, and most of their columns are never looked at. So
a column is checked as a whole, at a tenth of what converting it would cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from .._wire.postgres import parse_int, parse_timestamp
from .columns import COLUMNS, UNREADABLE, text_or_none

Check = Callable[[list[Any]], bool]

_DIGITS_TO_ZERO = str.maketrans("123456789", "000000000")
_TIMES = frozenset(
    f"0000-00-00{mark}00:00:00{fraction}"
    for mark in "T "
    for fraction in ("", *["." + "0" * digits for digits in range(1, 7)])
)
_INTEGERS = re.compile(r"(?:-?\d{1,18}\n)*", re.ASCII)


def is_readable(column: str, check: Check, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return True if all texts of a column pass. Null and absent ones do; False means doubt."""
    try:
        return check([text for row in rows if (text := row.get(column)) is not None])
    except UNREADABLE:
        return False


def are_times(texts: list[Any]) -> bool:
    """Return True if these are timestamps of the usual forms."""
    if texts and not _forms(texts) <= _TIMES:
        return False
    # Raises ValueError for an impossible time. Python 3.10 also does for some fractions.
    list(map(datetime.fromisoformat, texts))
    return True


def _forms(texts: list[str]) -> set[str]:
    joined = "\n".join(texts).translate(_DIGITS_TO_ZERO)
    first = joined.partition("\n")[0]
    if joined == "\n".join([first] * len(texts)):
        return {first}
    return set(joined.split("\n"))


def are_integers(texts: list[Any]) -> bool:
    """Return True if these are integers of at most 18 digits."""
    joined = "\n".join([*texts, ""])
    # One text with a line end must not pass for two texts.
    return joined.count("\n") == len(texts) and _INTEGERS.fullmatch(joined) is not None


def each_is(parse: Callable[[str], Any]) -> Check:
    """Return a check by the parser itself, for columns in which most rows hold the same text."""

    def are(texts: list[Any]) -> bool:
        for text in set(texts):
            parse(text)
        return True

    return are


_CHECK_BY_PARSER: dict[Callable[[str], Any], Check] = {
    parse_timestamp: are_times,
    parse_int: are_integers,
}
# The columns that do not hold any text.
CHECKS = {
    column: _CHECK_BY_PARSER.get(parse) or each_is(parse)
    for _, column, parse in COLUMNS
    if parse is not text_or_none
}
