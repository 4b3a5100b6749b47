"""Values from the network, cut short for an error message."""

from __future__ import annotations

from typing import Any

MAX_CHARACTERS = 80


def excerpt(value: Any) -> str:
    """Return the start of the value's repr, or its type if it is nested too deeply."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 3] + "..."
