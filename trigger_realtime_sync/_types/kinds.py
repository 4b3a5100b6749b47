"""What kind of type a type is. Pure, and imports neither cattrs nor pydantic."""

from __future__ import annotations

import collections
import dataclasses
import re
import sys
import types
import typing
from collections import abc
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

import attrs

from .superjson_error import SuperJSONError

SCALAR_TYPES = (str, bool, int, float, bytes, datetime, date, Decimal, UUID)
MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection)
SETS = (set, abc.Set, abc.MutableSet, frozenset)
CONTAINERS = (*LISTS, *SETS, tuple, collections.deque)


def origin_of(cls: Any) -> Any:
    return get_origin(cls) or cls


def is_subclass(cls: Any, base: type | tuple[type, ...]) -> bool:
    return isinstance(cls, type) and issubclass(cls, base)


def name_of(cls: Any) -> str:
    return getattr(cls, "__name__", None) or str(cls)


def has_fields(cls: Any) -> bool:
    """Return True for attrs classes and dataclasses."""
    origin = origin_of(cls)
    return isinstance(origin, type) and (attrs.has(origin) or dataclasses.is_dataclass(origin))


def is_named_tuple(cls: Any) -> bool:
    origin = origin_of(cls)
    return is_subclass(origin, tuple) and hasattr(origin, "_fields")


def is_typed_dict(cls: Any) -> bool:
    origin = origin_of(cls)
    return is_subclass(origin, dict) and hasattr(origin, "__total__")


def is_literal(cls: Any) -> bool:
    origin: Any = get_origin(cls)
    return origin is Literal


def is_fixed(cls: Any) -> bool:
    """Return True for tuples of a fixed length."""
    args = get_args(cls)
    return origin_of(cls) is tuple and bool(args) and args[-1] is not Ellipsis


def is_union(cls: Any) -> bool:
    return get_origin(cls) in (Union, types.UnionType)


def is_kept(cls: Any) -> bool:
    """Return True for types whose instances superjson makes, and for `object`."""
    return origin_of(cls) is re.Pattern or is_subclass(cls, SuperJSONError) or cls is object


def is_pydantic(cls: Any) -> bool:
    """Return True for what pydantic itself reads: its models, its dataclasses and its own types,
    what is annotated by it, and unions of nothing else but null.

    Nothing is pydantic's as long as nobody has imported it.
    """
    if "pydantic" not in sys.modules:
        return False
    if is_union(cls):
        members = [member for member in get_args(cls) if member is not type(None)]
        return all(map(is_pydantic, members))
    if get_origin(cls) is Annotated:
        return any(type(note).__module__.startswith("pydantic.") for note in cls.__metadata__)
    origin = origin_of(cls)
    if not isinstance(origin, type) or typing.is_typeddict(origin):
        return False
    if has_fields(origin):
        return "__pydantic_validator__" in vars(origin)
    return hasattr(origin, "__get_pydantic_core_schema__")
