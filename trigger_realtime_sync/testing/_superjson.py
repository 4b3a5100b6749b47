"""superjson, as the tasks of the test server read their payloads and write their outputs.

docs/protocol.md, sections 3 and R2. JavaScript's values become Python's nearest: a Date an aware
`datetime`, a bigint an `int`, a Set a `set`, a Uint8Array `bytes`, undefined None.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

# JavaScript's largest exact integer.
_MAX_SAFE = 2**53 - 1


def decode(text: str) -> Any:
    """Return the value of superjson text.

    Raises:
        ValueError: it is no JSON.
    """
    wrapped = json.loads(text)
    if not isinstance(wrapped, dict):
        return wrapped
    meta = wrapped.get("meta")
    values = meta.get("values") if isinstance(meta, dict) else None
    return _apply(wrapped.get("json"), values or {})


def encode(value: Any) -> tuple[str, str]:
    """Return the text and the type of a task's output: plain JSON where that says it all."""
    types: dict[str, Any] = {}
    plain = _strip(value, (), types)
    if not types:
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False), "application/json"
    values = types[""] if list(types) == [""] else types
    wrapped = {"json": plain, "meta": {"values": values}}
    text = json.dumps(wrapped, separators=(",", ":"), ensure_ascii=False)
    return text, "application/super+json"


# --- reading


def _apply(value: Any, annotation: Any) -> Any:
    """Apply an annotation: `[type]`, `[type, children]`, or the children alone."""
    if isinstance(annotation, list):
        kind = annotation[0] if annotation else None
        children = annotation[1] if len(annotation) > 1 else {}
        return _convert(kind, _apply(value, children))
    for path, child in annotation.items():
        value = _apply_at(value, re.split(r"(?<!\\)\.", path), child)
    return value


def _apply_at(value: Any, path: list[str], annotation: Any) -> Any:
    if not path:
        return _apply(value, annotation)
    for length in range(1, len(path) + 1):
        # Version 2.2.1 leaves dots in the last keys as they are: try longer names.
        name = re.sub(r"\\(.)", r"\1", ".".join(path[:length]))
        if isinstance(value, dict) and name in value:
            value[name] = _apply_at(value[name], path[length:], annotation)
            return value
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value[int(name)] = _apply_at(value[int(name)], path[length:], annotation)
            return value
    return value


def _convert(kind: Any, value: Any) -> Any:
    if isinstance(kind, list):
        name = "bytes" if kind in (["typed-array", "Uint8Array"], ["custom", "buffer"]) else None
    else:
        name = kind
    convert = _CONVERSIONS.get(str(name))
    return value if convert is None else convert(value)


def _date(text: Any) -> Any:
    return datetime.fromisoformat(re.sub("Z$", "+00:00", str(text)))


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "undefined": lambda value: None,
    "Date": _date,
    "bigint": int,
    "number": float,
    "set": lambda items: _set(items),
    "map": lambda pairs: {_key(key): value for key, value in pairs},
    "bytes": bytes,
}


def _set(items: list[Any]) -> Any:
    return {_key(item) for item in items}


def _key(value: Any) -> Any:
    """Return the value as Python can hash it."""
    if isinstance(value, list):
        return tuple(_key(item) for item in value)
    if isinstance(value, dict):
        return tuple((name, _key(item)) for name, item in value.items())
    return frozenset(value) if isinstance(value, set) else value


# --- writing


def _strip(value: Any, path: tuple[str, ...], types: dict[str, Any]) -> Any:
    """Return the value as JSON can hold it, and note by path what its type was."""
    plain, kind = _plain(value)
    children: dict[str, Any] = {}
    inner = types if kind is None else children
    start = path if kind is None else ()
    if isinstance(plain, Mapping):
        plain = {str(key): _strip(item, (*start, str(key)), inner) for key, item in plain.items()}
    elif isinstance(plain, list):
        plain = [_strip(item, (*start, str(n)), inner) for n, item in enumerate(plain)]
    if kind is not None:
        name = ".".join(re.sub(r"([.\\])", r"\\\1", part) for part in path)
        types[name] = [kind, children] if children else [kind]
    return plain


def _plain(value: Any) -> tuple[Any, Any]:
    if isinstance(value, datetime):
        utc = value.astimezone(timezone.utc)
        return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z", "Date"
    if isinstance(value, (set, frozenset)):
        return list(value), "set"
    if isinstance(value, bytes):
        return list(value), ["typed-array", "Uint8Array"]
    if isinstance(value, float) and not math.isfinite(value):
        names = {math.inf: "Infinity", -math.inf: "-Infinity"}
        return names.get(value, "NaN"), "number"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MAX_SAFE:
        return str(value), "bigint"
    return (list(value), None) if isinstance(value, tuple) else (value, None)
