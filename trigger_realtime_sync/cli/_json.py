"""Runs and parts as JSON, whatever they hold."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable
from datetime import date
from enum import Enum
from typing import Any

import attrs

from ..errors import PayloadError
from ..models import AnyRun, Run

# A value that JSON can't hold may also refer to itself, or to one thing in very many places.
MAX_DEPTH = 100
MAX_VALUES = 1_000_000
MAX_INTEGER_BITS = 4096

FIELDS = tuple(field.name.lstrip("_") for field in attrs.fields(Run))


def dumps(value: Any, *, ascii_only: bool = False) -> str:
    """One line of JSON."""
    return json.dumps(_Plain().value(value, 0), ensure_ascii=ascii_only, allow_nan=False)


def run_as_dict(run: AnyRun) -> dict[str, Any]:
    """All fields of a run; those that can't be read are null, and told in `payload_errors`."""
    fields: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name in FIELDS:
        try:
            fields[name] = getattr(run, name)
        except PayloadError as error:
            fields[name] = None
            errors[name] = str(error)
    if errors:
        fields["payload_errors"] = errors
    return fields


class _Plain:
    """Turns one value into what JSON holds."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

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
        if isinstance(value, dict):
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

    def _mapping(self, mapping: dict[Any, Any], depth: int) -> Any:
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
