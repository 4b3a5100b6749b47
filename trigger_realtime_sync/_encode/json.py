"""The only way to the JSON writer: compact, in UTF-8, as JavaScript writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# The largest integer that JavaScript, whose numbers are doubles, tells from the next one.
MAX_SAFE_INTEGER = 2**53 - 1

_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)


def dumps(value: Any) -> str:
    """Return JSON text of a value that JSON can hold.

    Raises:
        ValueError: it is nested too deeply.
    """
    try:
        return _encoder.encode(value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_json(value: Any, name: str) -> Any:
    """Return a copy of a value of JSON's own types, tuples and other mappings included.

    Raises:
        TypeError, ValueError: it holds anything else, or can't be sent. The error names the path.
    """
    try:
        return _checked(value, name, ())
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply, or contains itself") from None


def _checked(value: Any, name: str, around: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return check_integer(value, name)
    if isinstance(value, str):
        _check_text(value, name)
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{name} is {value!r}, which JSON can't hold")
        return value
    if id(value) in around:
        raise ValueError(f"{name} contains itself")
    inner = (*around, id(value))
    if isinstance(value, (list, tuple)):
        return [_checked(one, f"{name}[{index}]", inner) for index, one in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            _checked_key(key, name): _checked(one, f'{name}["{key}"]', inner)
            for key, one in value.items()
        }
    raise TypeError(f"{name} is a {type(value).__name__}, which JSON can't hold")


def check_integer(value: int, name: str) -> int:
    """Return an integer that arrives as it is.

    Raises:
        ValueError: it is beyond what JavaScript's numbers can hold.
    """
    if not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        raise ValueError(
            f"{name} is an integer beyond 2**53, which the server would round: send it as text"
        )
    return value


def _checked_key(key: Any, name: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{name} has a key of type {type(key).__name__}: JSON's keys are text")
    _check_text(key, f"a key of {name}")
    return key


def _check_text(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds a lone surrogate") from None
