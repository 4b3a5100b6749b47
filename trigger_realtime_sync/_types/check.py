"""Whether values can be read into a type, asked when it is given and not when a value comes."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, get_args, get_origin

import attrs

from .adapters import adapter_of
from .kinds import (
    CONTAINERS,
    MAPPINGS,
    SCALAR_TYPES,
    has_fields,
    is_kept,
    is_literal,
    is_named_tuple,
    is_pydantic,
    is_subclass,
    is_typed_dict,
    is_union,
    name_of,
    origin_of,
)


def check_structurable(type_: Any, name: str) -> None:
    """Check that JSON values can become what a type describes, with all that it holds.

    What can't be looked at yet, as an annotation that names a class which is defined later, is
    taken for granted.

    Args:
        name: of the argument, for the error.

    Raises:
        ValueError: they can't. The error says which part of the type it is.
    """
    found = _Search().find(type_, "")
    if found is None:
        return
    culprit, place = found
    where = f", which is the type of {place}" if place else ""
    if isinstance(culprit, (str, typing.ForwardRef)):
        raise ValueError(f"{name}: {culprit!r} is the name of a type: pass the type itself{where}")
    raise ValueError(
        f"{name}: no value can be read as {_shown(culprit)}{where}. Types that can be read are"
        " those of JSON, dataclasses, attrs classes, pydantic's models, enums, and what else"
        " cattrs structures"
    )


def _shown(cls: Any) -> str:
    return name_of(cls) if isinstance(cls, type) and not get_args(cls) else repr(cls)


# A type that can't be read, and the field that has it; empty for none.
_Found = tuple[Any, str]


class _Search:
    """The search for a part of a type that can't be read."""

    def __init__(self) -> None:
        # Classes may hold themselves. By identity: not every annotation can be hashed.
        self._seen: list[Any] = []

    def find(self, type_: Any, place: str) -> _Found | None:
        if type_ is None or type_ is Any or type_ is type(None):
            return None
        if isinstance(type_, typing.TypeVar) or any(type_ is one for one in self._seen):
            return None
        self._seen.append(type_)
        if is_pydantic(type_):
            return None if _pydantic_can(type_) else (type_, place)
        if is_union(type_):
            return self._first((member, place) for member in get_args(type_))
        inner = _inside(type_)
        return self._of_class(type_, place) if inner is None else self.find(inner, place)

    def _of_class(self, type_: Any, place: str) -> _Found | None:
        origin, args = origin_of(type_), get_args(type_)
        if is_literal(type_) or is_kept(type_) or is_subclass(origin, (*SCALAR_TYPES, Enum)):
            return None
        if origin in (*CONTAINERS, *MAPPINGS):
            return self._first((one, place) for one in args if one is not Ellipsis)
        if has_fields(type_) or is_named_tuple(type_) or is_typed_dict(type_):
            fields = _fields(origin)
            return self._first((one, f"{name_of(origin)}.{name}") for name, one in fields.items())
        return None if _cattrs_can(type_) else (type_, place)

    def _first(self, parts: Iterable[tuple[Any, str]]) -> _Found | None:
        return next((found for part in parts if (found := self.find(*part)) is not None), None)


def _inside(type_: Any) -> Any:
    """Return the type that another one is a name of or a remark on; None if it is neither."""
    if hasattr(type_, "__supertype__"):
        return type_.__supertype__
    if type(type_).__name__ == "TypeAliasType":
        return type_.__value__
    if get_origin(type_) is Annotated or name_of(get_origin(type_)) in _REMARKS:
        return get_args(type_)[0]
    return None


_REMARKS = ("Required", "NotRequired", "ReadOnly", "Final")


def _fields(origin: Any) -> Mapping[str, Any]:
    """Return the types of the fields that are read; none where annotations can't be resolved."""
    try:
        hints = typing.get_type_hints(origin, include_extras=True)
    except Exception:  # noqa: BLE001 (annotations are code of the user's)
        return {}
    if attrs.has(origin):
        # What a converter makes of a value is the user's affair.
        read = {f.name for f in attrs.fields(origin) if f.init and f.converter is None}
    elif dataclasses.is_dataclass(origin):
        read = {field.name for field in dataclasses.fields(origin) if field.init}
    else:
        read = set(hints)
    return {name: hint for name, hint in hints.items() if name in read}


def _pydantic_can(type_: Any) -> bool:
    from pydantic import PydanticSchemaGenerationError

    try:
        adapter_of(type_)
    except PydanticSchemaGenerationError:
        return False
    except Exception:  # noqa: BLE001 (it is not complete yet, say)
        return True
    return True


def _cattrs_can(type_: Any) -> bool:
    """Return True if cattrs has something of its own for a type, whatever it is."""
    from cattrs import Converter
    from cattrs.errors import StructureHandlerNotFoundError

    try:
        Converter().structure(_NOTHING, type_)
    except StructureHandlerNotFoundError:
        return False
    except Exception:  # noqa: BLE001 (it was tried, and did not like the value)
        return isinstance(type_, type) or get_origin(type_) is not None
    return True


_NOTHING = object()
