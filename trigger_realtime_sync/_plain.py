"""Any value as JSON can hold it."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from datetime import date
from enum import Enum
from typing import Any

import attrs

# A value that JSON can't hold may also refer to itself, or to one thing in very many places.
MAX_DEPTH = 100
MAX_INTEGER_BITS = 4096


def plain(value: Any, most_values: int) -> Any:
    """What of the value JSON can hold. Times and bytes become text, a mapping whose keys are not
    text a list of pairs; what is nested too deeply, or is more than so many values, `"…"`."""
    return _Plain(most_values).value(value, 0)


class _Plain:
    """Turns one value into what JSON holds."""

    def __init__(self, most_values: int) -> None:
        self._left = most_values

    def value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if isinstance(value, Enum):
            value = value.value
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, (int, float)):
            return _number(value)
        if depth >= MAX_DEPTH or self._left < 0:
            return "…"
        return self._other(value, depth + 1)

    def _other(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._list(value, depth)
        if isinstance(value, date):
            return value.isoformat()
        if isinstance(value, (bytes, bytearray)):
            return base64.b64encode(value).decode()
        if isinstance(value, re.Pattern):
            return value.pattern
        if isinstance(value, BaseException):
            return {"name": getattr(value, "name", type(value).__name__), "message": str(value)}
        if attrs.has(type(value)):
            return self._mapping(attrs.asdict(value, recurse=False), depth)
        return str(value)

    def _mapping(self, mapping: Mapping[Any, Any], depth: int) -> Any:
        if all(isinstance(key, str) for key in mapping):
            return {key: self.value(item, depth) for key, item in mapping.items()}
        return [[self.value(key, depth), self.value(item, depth)] for key, item in mapping.items()]

    def _list(self, items: Iterable[Any], depth: int) -> list[Any]:
        plain = []
        for item in items:
            if self._left < 0:
                break
            plain.append(self.value(item, depth))
        return plain


def _number(value: float) -> Any:
    if isinstance(value, int):
        return value if value.bit_length() <= MAX_INTEGER_BITS else hex(value)
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
