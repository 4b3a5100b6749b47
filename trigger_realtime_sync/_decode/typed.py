"""JSON values → the user's classes, through one cattrs converter.

Stricter than cattrs: a number is not turned into text, nor text into a number or a list, so that a
task whose types have changed is noticed. cattrs is imported when a type is first used.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

import attrs

from .._types.kinds import (
    LISTS,
    MAPPINGS,
    SETS,
    has_fields,
    is_fixed,
    is_kept,
    is_literal,
    is_named_tuple,
    is_pydantic,
    is_subclass,
    is_union,
    name_of,
    origin_of,
)
from .._types.superjson_error import SuperJSONError
from .typed_named_tuple import of_named_tuple
from .typed_pydantic import to_pydantic
from .typed_scalars import (
    KEYS,
    SCALARS,
    Mismatch,
    expect_instance,
    expect_mapping,
    hook_of,
    kind_of,
    mismatch,
    to_enum,
    to_literal,
)

if TYPE_CHECKING:
    from cattrs import Converter

# How many misfits of one value are listed: enough to find the cause, few enough to read.
_MAX_PROBLEMS = 20

_MAKERS: dict[Any, Callable[[list[Any]], Any]] = {
    **dict.fromkeys(LISTS, list),
    **dict.fromkeys(SETS, set),
    tuple: tuple,
    frozenset: frozenset,
    collections.deque: collections.deque,
}


def structure(value: Any, type_: Any) -> Any:
    """Return the value as an instance of an attrs class, a dataclass, or another type cattrs knows;
    of pydantic's types, by pydantic's rules.

    Fields are matched by their exact names, extra keys are ignored. The value itself is returned if
    the type is None or `Any`, or the value is an instance already.

    Raises:
        ValueError: the value does not fit (one line for each problem, which says where), or cattrs
            does not know the type. The message does not hold the value.
    """
    if type_ is None or type_ is Any or _is_instance(value, type_):
        return value
    if _shares_containers(value):
        raise ValueError("it refers to itself, which only an untyped value can")
    try:
        # Here as well, for types that can't be hashed, by which cattrs finds its hooks.
        read = to_pydantic if is_pydantic(type_) else _converter().structure
        return read(value, type_)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except Exception as error:
        raise ValueError(_explain(error)) from error


def _is_instance(value: Any, type_: Any) -> bool:
    """Return True for an instance of a class with fields. Containers and numbers are checked."""
    return isinstance(type_, type) and type(value) is type_ and has_fields(type_)


def _shares_containers(value: Any) -> bool:
    """Return True if it has cycles, or objects with many paths to them: following all of these
    could take for ever."""
    seen: set[int] = set()
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, SuperJSONError):
            todo.append(item.cause)
        elif isinstance(item, (dict, list)):
            if id(item) in seen:
                return True
            seen.add(id(item))
            todo += item.values() if isinstance(item, dict) else item
    return False


@cache
def _converter() -> Converter:
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn, make_mapping_structure_fn

    converter = Converter(detailed_validation=True)

    def of_class(cls: Any) -> Callable[[Any, Any], Any]:
        from_mapping = make_dict_structure_fn(cls, converter)
        origin = origin_of(cls)

        def make(value: Any, _: Any) -> Any:
            if isinstance(value, origin):
                return value
            return from_mapping(expect_mapping(value), cls)

        return make

    def of_mapping(cls: Any) -> Callable[[Any, Any], Any]:
        if not get_args(cls):
            return lambda value, _: dict(expect_mapping(value))
        from_mapping: Any = make_mapping_structure_fn(cls, converter, dict)
        read_key = KEYS.get(get_args(cls)[0], lambda key: key)
        return lambda value, _: from_mapping(
            {read_key(key): one for key, one in expect_mapping(value).items()}, cls
        )

    for scalar, hook in SCALARS.items():
        converter.register_structure_hook(scalar, hook_of(hook))
    converter.register_structure_hook_func(lambda cls: is_subclass(cls, Enum), to_enum)
    converter.register_structure_hook_func(is_literal, to_literal)
    converter.register_structure_hook_func(is_kept, expect_instance)
    converter.register_structure_hook_factory(lambda cls: origin_of(cls) in MAPPINGS, of_mapping)
    converter.register_structure_hook_factory(
        lambda cls: origin_of(cls) in _MAKERS, lambda cls: _of_items(converter, cls)
    )
    converter.register_structure_hook_factory(is_fixed, lambda cls: _of_tuple(converter, cls))
    converter.register_structure_hook_factory(has_fields, of_class)
    converter.register_structure_hook_factory(
        is_named_tuple, lambda cls: of_named_tuple(converter, cls)
    )
    converter.register_structure_hook_factory(is_union, lambda cls: _of_union(converter, cls))
    converter.register_structure_hook_func(is_pydantic, to_pydantic)
    return converter


# --- containers and unions ---


def _of_items(converter: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    make = _MAKERS[origin_of(cls)]
    item_type = next(iter(get_args(cls)), Any)

    def convert(value: Any, _: Any) -> Any:
        items = _expect_items(value, "a list")
        try:
            return make(_each(converter, items, [item_type] * len(items), cls))
        except TypeError:
            raise Mismatch("an element that a set can't hold") from None

    return convert


def _of_tuple(converter: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    args = get_args(cls)

    def convert(value: Any, _: Any) -> Any:
        items = _expect_items(value, f"a list of {len(args)}")
        if len(items) != len(args):
            raise Mismatch(f"expected a list of {len(args)}, got one of {len(items)}")
        return tuple(_each(converter, items, list(args), cls))

    return convert


def _expect_items(value: Any, expected: str) -> list[Any]:
    if not isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        raise mismatch(expected, value)
    return list(value)


def _each(converter: Converter, items: list[Any], types_: list[Any], cls: Any) -> list[Any]:
    from cattrs.errors import IterableValidationError, IterableValidationNote

    made: list[Any] = []
    errors: list[Exception] = []
    for index, (item, type_) in enumerate(zip(items, types_, strict=True)):
        try:
            made.append(converter.structure(item, type_))
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 (collected, with its index)
            note = IterableValidationNote("element", index, type_)
            error.__notes__ = [*getattr(error, "__notes__", []), note]  # type: ignore[attr-defined]
            errors.append(error)
            if len(errors) > _MAX_PROBLEMS:
                break
    if errors:
        raise IterableValidationError("elements that don't fit", errors, cls)
    return made


def _of_union(converter: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    members = [member for member in get_args(cls) if member is not type(None)]
    optional = len(members) < len(get_args(cls))

    def convert(value: Any, _: Any) -> Any:
        if value is None and optional:
            return None
        if len(members) == 1:
            return converter.structure(value, members[0])
        for member in _likely(members, value):
            try:
                return converter.structure(value, member)
            except RecursionError:
                raise
            except Exception:  # noqa: BLE001 (try the next member)
                continue
        raise Mismatch(f"expected one of {', '.join(map(name_of, members))}, got {kind_of(value)}")

    return convert


def _likely(members: list[Any], value: Any) -> list[Any]:
    """Return the members to try: the value's own type first, then, for an object, the classes that
    share the most fields with it."""
    own = [member for member in members if origin_of(member) is type(value)]
    if own or not isinstance(value, Mapping):
        return own + [member for member in members if member not in own]
    scores = [_shared_fields(member, value) for member in members]
    return [member for member, score in zip(members, scores, strict=True) if score == max(scores)]


def _shared_fields(cls: Any, value: Mapping[Any, Any]) -> int:
    if not has_fields(cls) and not is_pydantic(cls):
        return -1 if origin_of(cls) not in MAPPINGS else 0
    return len(_names_of_fields(origin_of(cls)) & value.keys())


def _names_of_fields(cls: Any) -> set[str]:
    if attrs.has(cls):
        return set(attrs.fields_dict(cls))
    fields: Mapping[str, Any] = getattr(cls, "__pydantic_fields__", None) or {}
    if not fields:
        return set(getattr(cls, "__dataclass_fields__", ()))
    aliases = {field.validation_alias for field in fields.values()}
    return {*fields, *(alias for alias in aliases if isinstance(alias, str))}


# --- error messages ---


def _explain(error: Exception) -> str:
    try:
        lines = list(_lines(error, "$", None))
    except RecursionError:
        return "it does not fit, and is nested too deeply to say where"
    more = len(lines) - _MAX_PROBLEMS
    return "\n".join(lines[:_MAX_PROBLEMS] + ([f"and {more} more"] if more > 0 else []))


def _lines(error: BaseException, path: str, type_: Any) -> Iterator[str]:
    """Yield a line for each problem, as cattrs' `transform_error` does: that of version 23.1
    describes nested ones in its own way."""
    from cattrs.errors import ClassValidationError, IterableValidationError

    if isinstance(error, ClassValidationError):
        located, others = error.group_exceptions()
        for inner, note in located:
            yield from _lines(inner, f"{path}.{note.name}", note.type)
    elif isinstance(error, IterableValidationError):
        items, others = error.group_exceptions()
        for inner, item in items:
            yield from _lines(inner, f"{path}[{item.index!r}]", item.type)
    else:
        yield f"{_described(error, type_)} @ {path}"
        return
    for inner in others:
        yield f"{_described(inner, None)} @ {path}"


def _described(problem: BaseException, type_: Any) -> str:
    from cattrs.v import format_exception

    if isinstance(problem, Mismatch):
        return str(problem)
    described = format_exception(problem, type_)
    # The rest of the line is the text of the exception, which may hold the value.
    return described.split(" (")[0] if described.startswith("unknown error") else described
