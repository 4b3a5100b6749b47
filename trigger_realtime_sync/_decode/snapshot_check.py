"""Whether every row of a large snapshot can be read, found without reading each. Pure.

Thousands of rows mostly hold nothing that can't be read, and mostly nobody looks at most of what
they hold. So a column is checked whole, at a tenth of what converting it would cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

# What parsers of text raise, given what is no text too.
UNREADABLE = (ValueError, TypeError, AttributeError, LookupError)

Check = Callable[[list[Any]], bool]

_DIGITS_TO_ZERO = str.maketrans("123456789", "000000000")
_TIMES = frozenset(
    f"0000-00-00{mark}00:00:00{fraction}"
    for mark in "T "
    for fraction in ("", *["." + "0" * digits for digits in range(1, 7)])
)
_INTEGERS = re.compile(r"(?:-?\d{1,18}\n)*", re.ASCII)


def is_readable(column: str, check: Check, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all rows' texts of a column pass; null and absent ones do. False is a doubt."""
    if check is are_any:
        return True
    try:
        return check([text for row in rows if (text := row.get(column)) is not None])
    except UNREADABLE:
        return False


def are_times(texts: list[Any]) -> bool:
    """Timestamps of the usual forms."""
    if texts and not _forms(texts) <= _TIMES:
        return False
    # Raises for what is no time. Python 3.10 refuses some fractions: a doubt, no more.
    list(map(datetime.fromisoformat, texts))
    return True


def _forms(texts: list[str]) -> set[str]:
    joined = "\n".join(texts).translate(_DIGITS_TO_ZERO)
    first = joined.partition("\n")[0]
    if joined == "\n".join([first] * len(texts)):
        return {first}
    return set(joined.split("\n"))


def are_integers(texts: list[Any]) -> bool:
    """Integers of no more than 18 digits."""
    joined = "\n".join([*texts, ""])
    # A text must not pass for two.
    return joined.count("\n") == len(texts) and _INTEGERS.fullmatch(joined) is not None


def are_any(texts: list[Any]) -> bool:
    """A column that can hold anything."""
    return True


def each_is(parse: Callable[[str], Any]) -> Check:
    """What the parser itself takes: for columns in which most rows hold the same."""

    def are(texts: list[Any]) -> bool:
        for text in set(texts):
            parse(text)
        return True

    return are
