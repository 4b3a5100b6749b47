"""The one way to the JSON parser, so that another parser can take its place."""

from __future__ import annotations

import json
from typing import Any

_parse = json.JSONDecoder().decode


def loads(text: str | bytes) -> Any:
    """Parse JSON (bytes are UTF-8), `NaN` and `Infinity` included.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or holds an integer of too many digits.
            The message holds none of the text.
    """
    try:
        return _parse(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    except UnicodeDecodeError:
        # Its own message, and its `object`, would carry the text.
        raise ValueError("JSON is not UTF-8") from None
