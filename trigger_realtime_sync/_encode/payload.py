"""A payload as a packet: its text, and the type that says how to read it.

Source: docs/protocol.md, section R2.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, get_origin

import attrs

from .._types.kinds import has_fields, is_pydantic
from .json import dumps
from .none import NONE
from .superjson import encode

TEXT = "text/plain"
SUPER_JSON = "application/super+json"
JSON = "application/json"
STORE = "application/store"


@attrs.frozen
class Payload:
    """An encoded payload.

    Attributes:
        data: its text; None for no payload.
        content_type: how the task's side reads it.
        size: bytes of the text before any upload.
    """

    data: str | None = attrs.field(repr=False)
    content_type: str
    size: int

    @property
    def fields(self) -> dict[str, Any]:
        """Its part of a trigger's body but for the options."""
        return {} if self.data is None else {"payload": self.data}

    @property
    def options(self) -> dict[str, Any]:
        """Its part of a trigger's options."""
        return {"payloadType": self.content_type, "payloadSize": self.size}

    def stored(self, path: str) -> Payload:
        """Return the payload that stands for this one, which was uploaded to a path."""
        return Payload(path, STORE, self.size)


def encode_payload(value: Any, type_: Any = None) -> Payload:
    """Return a payload to send.

    Args:
        value: the payload, or `NONE`.
        type_: the task's type of its payload, if it has one.

    Raises:
        TypeError, ValueError: it can't be encoded. The error names the path.
    """
    if value is NONE:
        return Payload(None, JSON, 0)
    if isinstance(value, str) and value and not isinstance(value, Enum) and "\0" not in value:
        # A NUL can't be stored in a text column; JSON escapes it.
        text = str(encode(value)["json"])
        return Payload(text, TEXT, len(text.encode()))
    text = dumps(encode(_as_typed(value, type_)))
    return Payload(text, SUPER_JSON, len(text) if text.isascii() else len(text.encode()))


def _as_typed(value: Any, type_: Any) -> Any:
    """Return a NamedTuple as a mapping where the task's type is an object; else the value."""
    as_mapping = getattr(value, "_asdict", None)
    if as_mapping is None or not isinstance(value, tuple) or not _is_object(type_):
        return value
    return as_mapping()


def _is_object(type_: Any) -> bool:
    """Return True if values of this type are objects in JSON."""
    origin = get_origin(type_) or type_
    if not isinstance(origin, type):
        return False
    return issubclass(origin, Mapping) or has_fields(origin) or is_pydantic(origin)
