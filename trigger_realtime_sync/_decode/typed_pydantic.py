"""JSON values → pydantic's models, by pydantic's own rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from .._types.adapters import adapter_of
from .._types.kinds import name_of
from .typed_scalars import Mismatch

# Types of errors whose text may quote the value, or was written by the user's own validators.
_MAY_QUOTE = {
    "value_error": "its validator refused it",
    "assertion_error": "its validator refused it",
    "union_tag_invalid": "its tag is none of those expected",
}

_Problem = tuple[tuple[Any, ...], str]


def to_pydantic(value: Any, cls: Any) -> Any:
    """Return the value as pydantic reads it: as strictly or loosely as its model says.

    Raises:
        Exception: cattrs' own, with a `Mismatch` for each misfit, which does not hold the value.
    """
    try:
        adapter = adapter_of(cls)
    except Exception:  # noqa: BLE001 (whatever keeps pydantic from knowing the type)
        adapter = None
    if adapter is None:
        raise Mismatch(f"pydantic can't read a {name_of(cls)} yet: is it complete?")
    made, error = _validated(adapter.validate_python, value)
    if error is None:
        return made
    if _validated(adapter.validate_python, value, strict=False)[1] is None:
        made, error = _as_json(adapter, value, error)
        if error is None:
            return made
    # Out here, where it has no context: that would quote the value.
    raise _located(_problems(error), cls)


def _validated(validate: Any, value: Any, **options: Any) -> tuple[Any, Any]:
    """Return what was made of the value, and what was wrong with it."""
    from pydantic import ValidationError

    try:
        return validate(value, **options), None
    except ValidationError as error:
        return None, error


def _as_json(adapter: Any, value: Any, error: Any) -> tuple[Any, Any]:
    """Try a value that is only not strict enough as JSON, where strict models take text for a UUID
    and a list for a tuple. Return as `_validated`."""
    from pydantic_core import to_json

    try:
        text = to_json(value)
    except Exception:  # noqa: BLE001 (superjson's values may have no JSON)
        return None, error
    return _validated(adapter.validate_json, text)


def _problems(error: Any) -> list[_Problem]:
    from pydantic_core.core_schema import ErrorType

    own = set(get_args(ErrorType))
    listed = error.errors(include_url=False, include_context=False, include_input=False)
    return [(one["loc"], _described(one["type"], one["msg"], own)) for one in listed]


def _described(kind: str, message: str, own: set[Any]) -> str:
    if kind in _MAY_QUOTE or kind not in own:
        return _MAY_QUOTE.get(kind, "its validator refused it")
    # What follows tells where parsing stopped, and at what.
    return message.partition(", ")[0] if kind.endswith("_parsing") else message


def _located(problems: list[_Problem], cls: Any) -> Exception:
    """Return problems as the tree of errors that cattrs makes, which tells their paths."""
    from cattrs.errors import (
        AttributeValidationNote,
        ClassValidationError,
        IterableValidationError,
        IterableValidationNote,
    )

    errors: list[Exception] = [Mismatch(message) for path, message in problems if not path]
    within = _by_first_step(problems)
    if errors and not within:
        return errors[0]
    is_list = all(isinstance(step, int) for step in within)
    for step, inner in within.items():
        error = _located(inner, cls)
        note: Any = (
            IterableValidationNote("", step, cls)
            if is_list
            else AttributeValidationNote("", str(step), cls)
        )
        error.__notes__ = [note]  # type: ignore[attr-defined]
        errors.append(error)
    group = IterableValidationError if is_list else ClassValidationError
    return group("it does not fit", errors, cls)


def _by_first_step(problems: list[_Problem]) -> Mapping[Any, list[_Problem]]:
    within: dict[Any, list[_Problem]] = {}
    for path, message in problems:
        if path:
            within.setdefault(path[0], []).append((path[1:], message))
    return within
