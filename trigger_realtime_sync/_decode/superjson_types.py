"""JSON values with a superjson annotation → Python values (docs/protocol.md, section 3).

A value that does not fit its annotation is kept as it is.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from .._types.superjson_error import SuperJSONError
from .._wire.postgres import parse_timestamp

# Python refuses longer integers by default, because `int` takes quadratic time.
_MAX_BIGINT_DIGITS = 4300
_BIGINT = re.compile(r"-?[0-9]+")

# How many characters of regexps one document may compile: Python's compiler is slow, and ten times
# slower or worse where case is ignored.
_REGEXP_BUDGET = 20_000


# JavaScript and Python differ in named groups, and in which characters a class must escape.
_REGEXP_TOKEN = re.compile(r"\\k<(\w+)>|\\.|\(\?<(?![=!])|\[\^?\]?|[\]&|~]", re.DOTALL)
_REGEXP_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}


class Hole:
    """Stands where a cycle was cut, until the object that belongs there is finished.

    It can't be hashed, like any container: a Set with a hole, or a Map with one as a key, becomes a
    list.
    """

    __slots__ = ("container", "key")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, container: Any, key: Any) -> None:
        self.moved_to(container, key)
        container[key] = self

    def moved_to(self, container: Any, key: Any) -> None:
        self.container = container
        self.key = key

    def fill(self, value: Any) -> None:
        if isinstance(self.container, SuperJSONError):
            self.container.cause = value
        else:
            self.container[self.key] = value


class Converter:
    """Applies the annotations of one document, within a budget for the expensive ones."""

    def __init__(self) -> None:
        self._regexp_budget = _REGEXP_BUDGET

    def convert(self, kind: Any, value: Any) -> Any:
        """Return the annotated value; the value itself when the annotation does not fit."""
        if kind == "regexp" and isinstance(value, str):
            return self._regexp(value)
        try:
            expected, convert = _CONVERTERS[tuple(kind) if isinstance(kind, list) else kind]
            return convert(value) if isinstance(value, expected) else value
        except (LookupError, TypeError, ValueError):
            return value

    def _regexp(self, literal: str) -> Any:
        body, slash, flag_names = literal[1:].rpartition("/")
        flags = re.NOFLAG if hasattr(re, "NOFLAG") else re.RegexFlag(0)
        for name in flag_names:
            flags |= _REGEXP_FLAGS.get(name, 0)
        cost = len(body) * (10 if flags & re.IGNORECASE else 1)
        if not slash or cost > self._regexp_budget:
            return literal
        self._regexp_budget -= cost
        try:
            return re.compile(_python_pattern(body), flags)
        # Warning: the compiler warns of odd patterns, and a process may make warnings errors.
        except (re.error, RecursionError, OverflowError, ValueError, Warning):
            return literal


def _python_pattern(body: str) -> str:
    in_class = False

    def translate(match: re.Match[str]) -> str:
        nonlocal in_class
        token = match.group()
        if match[1]:
            return f"(?P={match[1]})"
        if token[0] == "\\":
            return token
        if in_class:
            in_class = token != "]" and not token.endswith("]")
            return token if token == "]" else "\\" + token
        if token in ("[]", "[^]"):
            return "(?!)" if token == "[]" else r"[\s\S]"
        in_class = token[0] == "["
        return "(?P<" if token == "(?<" else token

    return _REGEXP_TOKEN.sub(translate, body)


def _bigint(text: str) -> int:
    if len(text) > _MAX_BIGINT_DIGITS or not _BIGINT.fullmatch(text):
        raise ValueError
    return int(text)


def _floats(items: list[Any]) -> list[Any]:
    # JSON has null for NaN and the infinities.
    return [math.nan if item is None else item for item in items]


def _map(pairs: list[Any]) -> dict[Any, Any]:
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError
    _distinct([pair[0] for pair in pairs])
    mapping = dict(pairs)
    for key, item in mapping.items():
        if isinstance(item, Hole):
            item.moved_to(mapping, key)
    return mapping


def _distinct(keys: list[Any]) -> set[Any]:
    """Return the keys as a set.

    Raises:
        TypeError: one can't be hashed.
        ValueError: two are equal in Python (as 1 and True are).
    """
    # A hostile document may hold numbers of one hash, for which a set takes quadratic time.
    hashes = Counter(map(hash, keys))
    if max(hashes.values(), default=0) >= 10 or len(distinct := set(keys)) < len(keys):
        raise ValueError
    return distinct


def _error(fields: dict[str, Any]) -> SuperJSONError:
    name, message, cause = fields.get("name"), fields.get("message"), fields.get("cause")
    error = SuperJSONError(
        message if isinstance(message, str) else "",
        name=name if isinstance(name, str) else "Error",
        cause=cause,
    )
    if isinstance(cause, Hole):
        cause.moved_to(error, "cause")
    return error


_SPECIAL_NUMBERS = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "-0": -0.0,
}
# Annotation → the JSON type that it fits, and what converts that, or raises if it can't. Instances
# of classes, symbols and other typed arrays stay JSON values.
_CONVERTERS: dict[Any, tuple[type, Callable[[Any], Any]]] = {
    "undefined": (object, lambda _: None),
    "bigint": (str, _bigint),
    "Date": (str, parse_timestamp),
    "number": (str, _SPECIAL_NUMBERS.__getitem__),
    "set": (list, _distinct),
    "map": (list, _map),
    "Error": (dict, _error),
    ("custom", "buffer"): (list, bytes),
    ("typed-array", "Uint8Array"): (list, bytes),
    ("typed-array", "Float32Array"): (list, _floats),
    ("typed-array", "Float64Array"): (list, _floats),
}
