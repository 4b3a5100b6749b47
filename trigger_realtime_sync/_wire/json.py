"""The only way to the JSON parser. With the extra `speed` installed, orjson replaces the standard
library's wherever both give equal values.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any


def _find_orjson() -> Callable[[bytes], Any] | None:
    try:
        return importlib.import_module("orjson").loads  # type: ignore[no-any-return]
    except ImportError:
        return None


_orjson_loads = _find_orjson()
_decoder = json.JSONDecoder()
_BLANKS = " \t\n\r"
# orjson silently makes a float of an integer beyond 64 bits, which has at least 19 digits.
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_MANY_DIGITS = b"0" * 19
# 19 consecutive digits contain at least this many at every third byte.
_EVERY_THIRD_DIGIT = b"0" * 6
# Bytes from which on orjson is the faster one.
MIN_ORJSON_BYTES = 64


class BeyondLimits(ValueError):
    """It may be JSON, but is nested too deeply, or holds an integer of too many digits."""


def loads(text: str | bytes) -> Any:
    """Parse JSON (bytes are UTF-8), `NaN` and `Infinity` included.

    Raises:
        BeyondLimits: it is nested too deeply, or holds an integer of too many digits.
        ValueError: it is not JSON. The message holds none of the text.
    """
    if _orjson_loads is not None and len(text) >= MIN_ORJSON_BYTES:
        try:
            raw = text.encode() if isinstance(text, str) else text
            if not _may_have_many_digits(raw):
                return _orjson_loads(raw)
        except ValueError:
            # `NaN`, a lone surrogate, or no JSON at all: the standard library decides.
            pass
    return stdlib_loads(text)


def _may_have_many_digits(raw: bytes) -> bool:
    """Return True if 19 digits stand in a row. A look at every third byte settles almost all texts,
    in a third of the time."""
    return _EVERY_THIRD_DIGIT in raw[::3].translate(
        _DIGITS_TO_ZERO
    ) and _MANY_DIGITS in raw.translate(_DIGITS_TO_ZERO)


def stdlib_loads(text: str | bytes) -> Any:
    """Parse JSON as `loads` does, by the standard library alone.

    For rows of many columns: looking into its dicts takes less time than into orjson's, which
    outweighs what orjson saves.
    """
    try:
        return _parse(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise BeyondLimits("JSON is nested too deeply") from None
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError:
        # The error's own message, and its `object`, would carry the text.
        raise ValueError("JSON is not UTF-8") from None
    except ValueError:
        # Python converts no integer of more than some thousand digits.
        raise BeyondLimits("JSON holds an integer of too many digits") from None


def _parse(text: str) -> Any:
    """Do what `decode` does, which looks for blanks first, in half the time for a small text."""
    try:
        value, end = _decoder.raw_decode(text)
    except ValueError:
        return _decoder.decode(text)
    return value if not text[end:].strip(_BLANKS) else _decoder.decode(text)
