"""The one way to the JSON parser. With the extra `speed` installed orjson takes the place of the
standard library's, wherever both would find the same.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any


def _find_quick() -> Callable[[bytes], Any] | None:
    try:
        return importlib.import_module("orjson").loads  # type: ignore[no-any-return]
    except ImportError:
        return None


_quick = _find_quick()
_decoder = json.JSONDecoder()
_BLANKS = " \t\n\r"
# orjson makes a float, in silence, of an integer of more than 64 bits: of 19 digits at least.
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_MANY_DIGITS = b"0" * 19
# Of every third byte, so many are digits where 19 are in a row.
_EVERY_THIRD_DIGIT = b"0" * 6
# What is shorter is parsed as fast by either.
SHORTEST_QUICK = 64


def loads(text: str | bytes) -> Any:
    """Parse JSON (bytes are UTF-8), `NaN` and `Infinity` included.

    Raises:
        ValueError: it is not JSON, is nested too deeply, or holds an integer of too many digits.
            The message holds none of the text.
    """
    if _quick is not None and len(text) >= SHORTEST_QUICK:
        try:
            raw = text.encode() if isinstance(text, str) else text
            if not _has_many_digits(raw):
                return _quick(raw)
        except ValueError:
            # `NaN`, a lone surrogate, or no JSON at all: the other one decides.
            pass
    return loads_plain(text)


def _has_many_digits(raw: bytes) -> bool:
    """A look at every third byte says no to almost all, in a third of the time."""
    return _EVERY_THIRD_DIGIT in raw[::3].translate(
        _DIGITS_TO_ZERO
    ) and _MANY_DIGITS in raw.translate(_DIGITS_TO_ZERO)


def loads_plain(text: str | bytes) -> Any:
    """The same by the standard library alone. For rows of many columns: its dicts take less time to
    look into than orjson's, which comes to more than the parsing saves."""
    try:
        return _parse(text if isinstance(text, str) else text.decode())
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    except UnicodeDecodeError:
        # Its own message, and its `object`, would carry the text.
        raise ValueError("JSON is not UTF-8") from None


def _parse(text: str) -> Any:
    """What `decode` does, which looks for blanks first: half the time of a small text."""
    try:
        value, end = _decoder.raw_decode(text)
    except ValueError:
        return _decoder.decode(text)
    return value if not text[end:].strip(_BLANKS) else _decoder.decode(text)
