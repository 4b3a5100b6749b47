"""Single values for `structure`: text, numbers, times, enums and literals, without coercion.

Every function raises `Mismatch` for a value that doesn't fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, get_args
from uuid import UUID

from .._types.kinds import is_subclass, name_of, origin_of
from .._wire.postgres import parse_float, parse_int, parse_timestamp


class Mismatch(ValueError):
    """A value that doesn't fit; its message names types, never the value."""


def kind_of(value: Any) -> str:
    kinds = {type(None): "null", dict: "an object", list: "a list", str: "a string"}
    kinds |= {bool: "a bool", int: "an integer", float: "a number"}
    return kinds.get(type(value), name_of(type(value)))


def mismatch(expected: str, value: Any) -> Mismatch:
    return Mismatch(f"expected {expected}, got {kind_of(value)}")


def expect_mapping(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise mismatch("an object", value)
    return value


def expect_instance(value: Any, cls: Any) -> Any:
    if not isinstance(value, origin_of(cls)):
        raise mismatch(name_of(origin_of(cls)), value)
    return value


def hook_of(convert: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    # cattrs also uses the hook of a class for its subclasses, an enum of strings for example.
    def hook(value: Any, cls: Any) -> Any:
        if is_subclass(cls, Enum):
            return to_enum(value, cls)
        converted = convert(value)
        return converted if cls in SCALARS or not isinstance(cls, type) else cls(converted)

    return hook


def to_enum(value: Any, cls: Any) -> Any:
    if isinstance(value, cls):
        return value
    try:
        member = cls(value)
    except (ValueError, TypeError):
        raise Mismatch(f"not a value of {name_of(cls)}") from None
    if isinstance(value, bool) and not isinstance(member.value, bool):
        raise mismatch(name_of(cls), value)
    return member


def to_literal(value: Any, cls: Any) -> Any:
    for choice in get_args(cls):
        given = choice.value if isinstance(choice, Enum) else choice
        if value is choice or (type(value) is type(given) and value == given):
            return choice
    raise Mismatch(f"not one of {', '.join(map(repr, get_args(cls)))}")


def _exactly(cls: type, expected: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if not isinstance(value, cls) or (isinstance(value, bool) and cls is not bool):
            raise mismatch(expected, value)
        return value

    return convert


def _to_float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise mismatch("a number", value)
    try:
        return float(value)
    except OverflowError:
        raise Mismatch("an integer too large for a float") from None


def _of_text(cls: type, noun: str, parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Return what takes an instance of the class, or its text."""

    def convert(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise mismatch(f"a {noun}", value)
        try:
            return parse(value)
        except ValueError:
            raise Mismatch(f"a string that is no {noun}") from None

    return convert


def _parse_date(text: str) -> date:
    if len(text) != 10:
        raise ValueError
    return date.fromisoformat(text)


def _to_date(value: Any) -> Any:
    return value.date() if isinstance(value, datetime) else _date_of(value)


_date_of = _of_text(date, "date", _parse_date)


def _to_decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise mismatch("a decimal number", value)
    try:
        # From its digits, because `Decimal(0.1)` is 0.1000000000000000055….
        return Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise Mismatch("a string that is no decimal number") from None


def _number_key(parse: Callable[[str], Any], expected: str) -> Callable[[Any], Any]:
    def read(key: Any) -> Any:
        try:
            return parse(key) if isinstance(key, str) else key
        except ValueError:
            raise Mismatch(f"a key that is no {expected}") from None

    return read


# The keys of a JSON object are text, also where the type says numbers.
KEYS: dict[Any, Callable[[Any], Any]] = {
    int: _number_key(parse_int, "integer"),
    float: _number_key(parse_float, "number"),
}

SCALARS: dict[Any, Callable[[Any], Any]] = {
    str: _exactly(str, "a string"),
    bool: _exactly(bool, "a bool"),
    int: _exactly(int, "an integer"),
    float: _to_float,
    bytes: _exactly(bytes, "bytes"),
    datetime: _of_text(datetime, "date and time", parse_timestamp),
    date: _to_date,
    Decimal: _to_decimal,
    UUID: _of_text(UUID, "UUID", UUID),
}
