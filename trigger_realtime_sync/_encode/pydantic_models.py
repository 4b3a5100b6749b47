"""pydantic's models and dataclasses as values that a payload can hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from .._types.adapters import adapter_of

# What payloads have a form of their own for, types included. Anything else in a model is sent as
# its JSON has it.
_KEPT = (str, bool, int, float, bytes, date, Decimal, UUID, Enum, type(None))
_KEYS = (str, bool, int, float)


def dump(value: Any) -> Any:
    """Return what pydantic dumps a value as, by alias, as the model itself reads it.

    Times, sets, bytes and large integers stay what they are, so that the task gets them as such.
    What a payload has no form for, a timedelta or a URL say, is what the JSON of the model has;
    but not a secret, whose JSON is asterisks.

    Raises:
        ValueError: pydantic can't.
    """
    dumped = _dumped(value, "python")
    return dumped if _is_kept(dumped) else _merged(dumped, _json_of(value, dumped))


def _json_of(value: Any, dumped: Any) -> Any:
    from pydantic_core import to_jsonable_python

    try:
        return _dumped(value, "json")
    except ValueError:
        pass
    try:
        # Bytes that are no text have no JSON, unless it is said which.
        return to_jsonable_python(dumped, bytes_mode="base64", fallback=_json_of_one)
    except Exception:  # noqa: BLE001 (what it can't write is for the encoder to name)
        return dumped


def _json_of_one(value: Any) -> Any:
    return adapter_of(type(value)).dump_python(value, mode="json")


def _dumped(value: Any, mode: str) -> Any:
    if hasattr(value, "model_dump"):
        config: Any = getattr(type(value), "model_config", None) or {}
        # A model that says itself how it is dumped is left to that.
        how = {} if "serialize_by_alias" in config else {"by_alias": True}
        return value.model_dump(mode=mode, **how)
    return adapter_of(type(value)).dump_python(value, mode=mode, by_alias=True)


def _is_kept(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, _KEYS) and _is_kept(one) for key, one in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_kept, value))
    return isinstance(value, _KEPT)


def _merged(value: Any, json: Any) -> Any:
    """Return a dump with what JSON has in the places of what payloads have no form for."""
    if isinstance(value, Mapping) and isinstance(json, dict) and len(value) == len(json):
        pairs = zip(value.values(), json.items(), strict=True)
        return {key: _merged(one, other) for one, (key, other) in pairs}
    if isinstance(value, (list, tuple)) and isinstance(json, list) and len(value) == len(json):
        return [_merged(one, other) for one, other in zip(value, json, strict=True)]
    if isinstance(value, (set, frozenset)) and not _is_kept(value):
        return json
    if isinstance(value, (Mapping, list, tuple, set, frozenset, *_KEPT)):
        return value
    is_masked = hasattr(value, "get_secret_value") and json == str(value)
    return value if is_masked else json
