"""Values from the network, as an error message shows them."""

from __future__ import annotations

from typing import Any

LONGEST_SHOWN = 80


def shown(value: Any) -> str:
    """The start of the value's repr; of one that is nested too deeply, its type."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a deeply nested {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
