"""JSON objects and lists → NamedTuples."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from .._types.kinds import origin_of
from .typed_scalars import mismatch

if TYPE_CHECKING:
    from cattrs import Converter


def of_named_tuple(converter: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    """Return what makes a NamedTuple: of an object by its names, extra keys ignored; of a list by
    its order."""
    origin = origin_of(cls)
    types = _types(cls)
    most, least = len(types), len(types) - len(origin._field_defaults)

    def make(value: Any, _: Any) -> Any:
        if isinstance(value, origin):
            return value
        if isinstance(value, Mapping):
            given = value
        elif isinstance(value, (list, tuple)) and least <= len(value) <= most:
            given = dict(zip(types, value, strict=False))
        else:
            raise mismatch(f"an object, or a list of {most}", value)
        return origin(**_made(converter, types, given, cls))

    return make


def _made(
    converter: Converter, types: dict[str, Any], given: Mapping[Any, Any], cls: Any
) -> dict[str, Any]:
    """Return the fields that are given, each of its type."""
    from cattrs.errors import AttributeValidationNote, ClassValidationError

    made: dict[str, Any] = {}
    errors: list[Exception] = []
    for name, type_ in types.items():
        try:
            if name in given or name not in origin_of(cls)._field_defaults:
                made[name] = converter.structure(given[name], type_)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 (collected, with its name)
            note = AttributeValidationNote("", name, type_)
            error.__notes__ = [*getattr(error, "__notes__", []), note]  # type: ignore[attr-defined]
            errors.append(error)
    if errors:
        raise ClassValidationError("fields that don't fit", errors, cls)
    return made


def _types(cls: Any) -> dict[str, Any]:
    origin = origin_of(cls)
    hints = typing.get_type_hints(origin, include_extras=True)
    chosen: dict[Any, Any] = dict(
        zip(getattr(origin, "__parameters__", ()), get_args(cls), strict=False)
    )
    types = {name: hints.get(name, Any) for name in origin._fields}
    return {
        name: chosen.get(type_, Any) if isinstance(type_, typing.TypeVar) else type_
        for name, type_ in types.items()
    }
