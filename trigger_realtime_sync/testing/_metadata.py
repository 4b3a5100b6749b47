"""Operations on metadata, as servers apply them (docs/protocol.md, section R8)."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from ._validation import Problems

_FORBIDDEN = frozenset({"__proto__", "constructor", "prototype"})
# What each kind of operation needs beside its type.
_FIELDS: dict[str, tuple[str, ...]] = {
    "set": ("key", "value"),
    "delete": ("key",),
    "append": ("key", "value"),
    "remove": ("key", "value"),
    "increment": ("key", "value"),
    "update": ("value",),
}
_MISSING = object()


def check(operations: Any, path: str) -> None:
    """Refuse malformed operations.

    Raises:
        Refused: with a 400.
    """
    problems = Problems()
    if problems.expect(operations, "array", path):
        for number, one in enumerate(operations):
            place = f"{path}[{number}]"
            if problems.expect(one, "object", place):
                _check_one(one, problems, place)
    problems.refuse()


def _check_one(one: dict[str, Any], problems: Problems, place: str) -> None:
    fields = _FIELDS.get(str(one.get("type")))
    if fields is None:
        problems.add("Invalid discriminator value", f"{place}.type")
        return
    if "key" in fields and problems.expect(one.get("key", ...), "string", f"{place}.key"):
        parts = _parts(one["key"]) or [one["key"]]
        if any(part in _FORBIDDEN for part in parts):
            problems.add("Forbidden key", f"{place}.key")
    if "value" in fields and "value" not in one:
        problems.add("Required", f"{place}.value")
    if one["type"] == "increment" and "value" in one:
        problems.expect(one["value"], "number", f"{place}.value")
    if one["type"] == "update" and "value" in one:
        problems.expect(one["value"], "object", f"{place}.value")


def apply(metadata: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the metadata after the operations, one after the other."""
    metadata = copy.deepcopy(metadata)
    for one in operations:
        if one["type"] == "update":
            metadata = copy.deepcopy(one["value"])
        else:
            _change(metadata, one["key"], _CHANGES[one["type"]](one.get("value")))
    return metadata


def _change(metadata: dict[str, Any], key: str, change: Callable[[Any], Any]) -> None:
    """Replace what is at the key; a path whose parents are missing leads nowhere."""
    parts = _parts(key)
    holder: Any = metadata
    for part in parts[:-1]:
        holder = _get(holder, part)
    name = parts[-1] if parts else key
    if not isinstance(holder, dict) and not (isinstance(holder, list) and name.isdecimal()):
        return
    value = change(_get(holder, name))
    if isinstance(holder, list):
        if int(name) < len(holder) and value is not _MISSING:
            holder[int(name)] = value
    elif value is _MISSING:
        holder.pop(name, None)
    else:
        holder[name] = value


def _parts(key: str) -> list[str]:
    """Return the parts of a JSON path; none for a plain key."""
    return re.findall(r"[^.\[\]'\"]+", key[2:]) if key.startswith("$.") else []


def _get(holder: Any, part: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(part, _MISSING)
    if isinstance(holder, list) and part.isdecimal() and int(part) < len(holder):
        return holder[int(part)]
    return _MISSING


def _append(value: Any) -> Callable[[Any], Any]:
    def change(old: Any) -> Any:
        if old is _MISSING or old is None:
            return [value]
        return [*old, value] if isinstance(old, list) else [old, value]

    return change


def _remove(value: Any) -> Callable[[Any], Any]:
    def change(old: Any) -> Any:
        return [one for one in old if one != value] if isinstance(old, list) else old

    return change


def _increment(value: Any) -> Callable[[Any], Any]:
    def change(old: Any) -> Any:
        number = isinstance(old, (int, float)) and not isinstance(old, bool)
        # What is no number is overwritten.
        return old + value if number else value

    return change


_CHANGES: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
    "set": lambda value: lambda old: value,
    "delete": lambda value: lambda old: _MISSING,
    "append": _append,
    "remove": _remove,
    "increment": _increment,
}
