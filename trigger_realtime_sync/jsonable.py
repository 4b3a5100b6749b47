"""Runs, and any other value, as JSON: for logs, files and messages.

to_json(run_as_dict(run))
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import date
from enum import Enum
from itertools import takewhile
from typing import Any

import attrs

from .errors import PayloadError
from .models import Run

__all__ = ["run_as_dict", "to_json", "to_jsonable"]

# Values may contain themselves, or one object in very many places: both limits keep the result of
# such a value finite. Deeper nesting would also exceed the recursion limit of the JSON encoder.
MAX_DEPTH = 100
MAX_VALUES = 1_000_000
# Above this many bits, Python may refuse to print an integer in decimal.
MAX_INTEGER_BITS = 4096

RUN_FIELDS = tuple(field.name.lstrip("_") for field in attrs.fields(Run))


def run_as_dict(run: Run[Any, Any], fields: Iterable[str] = RUN_FIELDS) -> dict[str, Any]:
    """Return attributes of a run by name.

    Args:
        fields: names of attributes, properties such as `is_finished` included. The default is
            every field. Reading `payload`, `output` or `metadata` may fetch it over the network.

    A field that raises `PayloadError` is None, and the error's message is in `payload_errors`, a
    dictionary by name that is only there if there was such an error.
    """
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name in fields:
        try:
            values[name] = getattr(run, name)
        except PayloadError as error:
            values[name] = None
            errors[name] = str(error)
    if errors:
        values["payload_errors"] = errors
    return values


def to_json(value: Any, *, ensure_ascii: bool = False) -> str:
    """Return any value as one line of JSON, see `to_jsonable`."""
    return json.dumps(to_jsonable(value), ensure_ascii=ensure_ascii, allow_nan=False)


def to_jsonable(value: Any, max_values: int = MAX_VALUES) -> Any:
    """Return the closest thing to a value that JSON can hold.

    Times and bytes (Base64) become text, sets become lists, and mappings whose keys are not all
    text become lists of pairs. Anything nested deeper than 100 levels, or beyond the first
    `max_values` values, becomes `"…"` or is left out.
    """
    return _Converter(max_values).value(value, 0)


class _Converter:
    """One conversion, with its budget of values."""

    def __init__(self, max_values: int) -> None:
        self._left = max_values

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
        affordable = takewhile(lambda _: self._left >= 0, items)
        return [self.value(item, depth) for item in affordable]


def _number(value: float) -> Any:
    if isinstance(value, int):
        return value if value.bit_length() <= MAX_INTEGER_BITS else hex(value)
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
