"""Changes to a run's metadata, for `client.runs.change_metadata`.

A key that begins with `$.` is a JSON path: `"$.steps.one"`. Source: docs/protocol.md, section R8.
"""

from __future__ import annotations

from typing import Any

import attrs

from ._checks import is_number
from ._encode.json import MAX_SAFE_INTEGER, check_json
from ._encode.options import check_name

__all__ = ["Operation", "append", "delete", "increment", "remove", "set_"]

_FORBIDDEN = frozenset({"__proto__", "constructor", "prototype"})


@attrs.frozen
class Operation:
    """One change, made by a function of this module.

    Attributes:
        fields: as the server spells it.
        is_repeatable: whether applying it twice is as good as once.
    """

    fields: dict[str, Any]
    is_repeatable: bool


def set_(key: str, value: Any) -> Operation:
    """Set a key to a value of JSON's."""
    return _operation("set", key, True, check_json(value, "value"))


def delete(key: str) -> Operation:
    """Remove a key."""
    return Operation({"type": "delete", "key": _check_key(key)}, True)


def append(key: str, value: Any) -> Operation:
    """Add a value of JSON's to the end of a list."""
    return _operation("append", key, False, check_json(value, "value"))


def remove(key: str, value: Any) -> Operation:
    """Remove a value of JSON's from a list; one that is not there is ignored."""
    return _operation("remove", key, False, check_json(value, "value"))


def increment(key: str, by: float = 1) -> Operation:
    """Add to a number, or take off with a negative one.

    What is missing counts as 0, and so does what is no number, which is lost.
    """
    if not is_number(by) or abs(by) > MAX_SAFE_INTEGER:
        raise ValueError(f"by must be a number, not {by!r}")
    return _operation("increment", key, False, by)


def _operation(kind: str, key: str, is_repeatable: bool, value: Any) -> Operation:
    return Operation({"type": kind, "key": _check_key(key), "value": value}, is_repeatable)


def _check_key(key: Any) -> str:
    text = check_name(key, "key")
    if not _FORBIDDEN.isdisjoint(text.split(".")):
        raise ValueError(f"key {text!r} is refused by the server")
    return text
