"""pydantic's own readers of types. pydantic is imported here alone, for a type that is its own."""

from __future__ import annotations

from functools import cache
from typing import Any


def adapter_of(cls: Any) -> Any:
    """Return the `TypeAdapter` of a type of pydantic's.

    Raises:
        Exception: pydantic's own: it can't read the type, or the type is not complete yet.
    """
    try:
        return _kept_adapter(cls)
    except TypeError:
        # What can't be hashed, an `Annotated` with a `Field` say, is not kept.
        return _new_adapter(cls)


def _new_adapter(cls: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


_kept_adapter = cache(_new_adapter)
