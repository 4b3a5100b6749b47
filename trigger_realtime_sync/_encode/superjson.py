"""Python values to superjson documents, which both versions of the npm package can read.

Source: docs/protocol.md, sections 3 and R2.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs

from .._types.kinds import is_pydantic
from .json import MAX_SAFE_INTEGER
from .pydantic_models import dump

# A JSON value, and its annotation: None for none, a list for a type, a dict for children alone.
_Encoded = tuple[Any, Any]
# Where a value is: its parent's place and its key there; None for the root.
_Place = tuple[Any, str] | None


def encode(value: Any, name: str = "payload") -> dict[str, Any]:
    """Return the superjson document of a value, to be written as JSON.

    Args:
        name: of the argument, for errors.

    Raises:
        TypeError: a value has no counterpart in JavaScript. The error names its path.
        ValueError: a value can't be sent as it is: a naive datetime, a cycle, a lone surrogate.
    """
    json, annotations = _Encoder(name).encode(value)
    if annotations is None:
        return {"json": json}
    return {"json": json, "meta": {"values": annotations}}


def encode_plain(value: Any, name: str) -> Any:
    """Return a value as plain JSON, for what the server takes without types.

    Times become text, as in JavaScript.

    Raises:
        TypeError, ValueError: as `encode`; also for what only an annotation could tell: sets,
            bytes, integers beyond 2⁵³, NaN.
    """
    json, annotations = _Encoder(name).encode(value)
    refused = _first_but_dates(annotations, "")
    if refused is not None:
        kind, path = refused
        where = f"{name} (at {path})" if path else name
        raise ValueError(f"{where} holds a {kind}, which plain JSON can't")
    return json


def _first_but_dates(tree: Any, path: str) -> tuple[str, str] | None:
    """Return the first annotation of another type than Date, and its path."""
    if isinstance(tree, list):
        return None if tree[0] == "Date" else (str(tree[0]), path)
    for key, child in (tree or {}).items():
        found = _first_but_dates(child, f"{path}.{key}" if path else key)
        if found is not None:
            return found
    return None


class _Encoder:
    """One encoding."""

    def __init__(self, name: str) -> None:
        self._name = name
        # The ids of the containers around the value that is being encoded.
        self._open: set[int] = set()

    def encode(self, value: Any) -> _Encoded:
        try:
            return self._value(value, None)
        except RecursionError:
            raise ValueError(f"{self._name} is nested too deeply") from None

    def _value(self, value: Any, place: _Place) -> _Encoded:
        encode = _OF_TYPE.get(type(value))
        if encode is not None:
            return encode(self, value, place)
        for kind, encode in _OF_KIND:
            if isinstance(value, kind):
                return encode(self, value, place)
        return self._object(value, place)

    def _text(self, value: str, place: _Place) -> _Encoded:
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{self._at(place)} holds a lone surrogate") from None
        return value if type(value) is str else str.__str__(value), None

    def _integer(self, value: int, place: _Place) -> _Encoded:
        if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            return int(value), None
        try:
            return int.__repr__(value), ["bigint"]
        except ValueError:
            raise ValueError(f"{self._at(place)} is an integer of too many digits") from None

    def _float(self, value: float, place: _Place) -> _Encoded:
        if math.isfinite(value):
            return float(value), None
        return ("NaN" if value != value else "Infinity" if value > 0 else "-Infinity"), ["number"]

    def _itself(self, value: Any, place: _Place) -> _Encoded:
        return value, None

    def _as_text(self, value: Any, place: _Place) -> _Encoded:
        return str(value), None

    def _enum(self, value: Enum, place: _Place) -> _Encoded:
        return self._value(value.value, place)

    def _datetime(self, value: datetime, place: _Place) -> _Encoded:
        if value.utcoffset() is None:
            raise ValueError(f"{self._at(place)} is a naive datetime: give it a tzinfo")
        return javascript_date(value, self._at(place)), ["Date"]

    def _date(self, value: date, place: _Place) -> _Encoded:
        return value.isoformat(), None

    def _bytes(self, value: Any, place: _Place) -> _Encoded:
        try:
            content = bytes(value)
        except ValueError:
            raise ValueError(f"{self._at(place)} is a memoryview that was released") from None
        return list(content), [["typed-array", "Uint8Array"]]

    def _list(self, value: Collection[Any], place: _Place) -> _Encoded:
        items, children = self._items(value, place, value)
        return items, children or None

    def _set(self, value: Set[Any], place: _Place) -> _Encoded:
        items, children = self._items(value, place, value)
        return items, ["set", children] if children else ["set"]

    def _items(
        self, container: object, place: _Place, values: Iterable[Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        self._enter(container, place)
        items: list[Any] = []
        children: dict[str, Any] = {}
        for index, one in enumerate(values):
            json, tree = self._value(one, (place, f"[{index}]"))
            items.append(json)
            if tree is not None:
                _adopt(children, str(index), tree)
        self._open.discard(id(container))
        return items, children

    def _mapping(self, value: Mapping[Any, Any], place: _Place) -> _Encoded:
        return self._fields(value, place, value.items())

    def _fields(
        self, container: object, place: _Place, fields: Iterable[tuple[Any, Any]]
    ) -> _Encoded:
        self._enter(container, place)
        members: dict[str, Any] = {}
        children: dict[str, Any] = {}
        for key, one in fields:
            name = key if type(key) is str and key.isascii() else self._key(key, place)
            if name in members:
                raise ValueError(f"{self._at(place)} has two keys that become {name!r}")
            json, tree = self._value(one, (place, f'["{name}"]'))
            members[name] = json
            if tree is not None:
                if name in _FORBIDDEN_KEYS:
                    raise ValueError(
                        f"{self._at((place, name))}: JavaScript takes only plain JSON under the"
                        f" key {name!r}"
                    )
                _adopt(children, name, tree)
        self._open.discard(id(container))
        return members, children or None

    def _key(self, key: Any, place: _Place) -> str:
        """Return a key as `json` writes it.

        Raises:
            TypeError: it is of another type.
        """
        if isinstance(key, Enum):
            key = key.value
        if isinstance(key, str):
            return str(self._text(key, (place, "[a key]"))[0])
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, int):
            return int.__repr__(key)
        if isinstance(key, float):
            return str(self._float(key, place)[0]) if not math.isfinite(key) else repr(float(key))
        raise TypeError(
            f"{self._at(place)} has a key of type {type(key).__name__}, which JSON can't hold"
        )

    def _object(self, value: Any, place: _Place) -> _Encoded:
        cls = type(value)
        if is_pydantic(cls) or callable(getattr(cls, "model_dump", None)):
            return self._dumped(value, place)
        if attrs.has(cls):
            names = [field.name for field in attrs.fields(cls)]
        elif dataclasses.is_dataclass(cls):
            names = [field.name for field in dataclasses.fields(cls)]
        else:
            raise self._unknown(value, place)
        return self._fields(value, place, ((name, getattr(value, name)) for name in names))

    def _unknown(self, value: Any, place: _Place) -> TypeError:
        return TypeError(f"{self._at(place)} is a {type(value).__name__}, which can't be encoded")

    def _dumped(self, value: Any, place: _Place) -> _Encoded:
        self._enter(value, place)
        try:
            dumped = dump(value)
        except ValueError as error:
            # pydantic's own text may quote the value.
            kind = type(error).__name__
            raise ValueError(f"{self._at(place)} can't be dumped by pydantic: {kind}") from None
        if dumped is value:
            raise self._unknown(value, place)
        encoded = self._value(dumped, place)
        self._open.discard(id(value))
        return encoded

    def _enter(self, container: object, place: _Place) -> None:
        if id(container) in self._open:
            raise ValueError(f"{self._at(place)} contains itself")
        self._open.add(id(container))

    def _at(self, place: _Place) -> str:
        """Return the path of a place: `payload["a"][3]`."""
        keys: list[str] = []
        while place is not None:
            place, key = place
            keys.append(key)
        return self._name + "".join(reversed(keys))


# Keys that the official decoder refuses on the way to an annotated value.
_FORBIDDEN_KEYS = frozenset({"__proto__", "constructor", "prototype"})

_Encode = Callable[[_Encoder, Any, _Place], _Encoded]
_OF_TYPE: dict[type, _Encode] = {
    str: _Encoder._text,
    int: _Encoder._integer,
    bool: _Encoder._itself,
    type(None): _Encoder._itself,
    float: _Encoder._float,
    dict: _Encoder._mapping,
    list: _Encoder._list,
    tuple: _Encoder._list,
}
# The order counts: an Enum may be a str, a datetime is a date.
_OF_KIND: tuple[tuple[Any, _Encode], ...] = (
    (Enum, _Encoder._enum),
    (str, _Encoder._text),
    (int, _Encoder._integer),
    (float, _Encoder._float),
    (datetime, _Encoder._datetime),
    (date, _Encoder._date),
    ((UUID, Decimal), _Encoder._as_text),
    ((bytes, bytearray, memoryview), _Encoder._bytes),
    (Mapping, _Encoder._mapping),
    (Set, _Encoder._set),
    ((Sequence, deque), _Encoder._list),
)


def javascript_date(value: datetime, name: str) -> str:
    """Return an aware datetime as JavaScript's `toISOString` does; less than a millisecond is cut.

    Raises:
        ValueError: in UTC it is beyond what a datetime can hold.
    """
    try:
        moment = value.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"{name} is out of range in UTC") from None
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _adopt(children: dict[str, Any], key: str, tree: Any) -> None:
    """Add a child's annotations to its parent's, by paths as superjson writes them."""
    path = key.replace(".", "\\.")
    if isinstance(tree, list) or key.endswith("\\"):
        # A tree below a backslash stays one: its path would read as an escaped dot.
        children[path] = tree
        return
    for rest, annotation in tree.items():
        children[f"{path}.{rest}"] = annotation
