"""Postgres text to Python values (docs/protocol.md, section 2).

Pure functions. Each raises `ValueError`, and nothing else, for text it can't read.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

_MAX_INT_DIGITS = 40
_MAX_FLOAT_CHARS = 400

# Characters 4, 7, … 19 of a timestamp without and with a fraction: one slice checks them all.
_TIMESTAMP_MARKS = frozenset({"--T::", "-- ::", "--T::.", "-- ::."})
_TIMESTAMP_LENGTHS = frozenset({19, 21, 22, 23, 24, 25, 26})
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?"
    r"(?:Z|([+-])(\d\d)(?::?([0-5]\d)(?::?([0-5]\d))?)?)?",
    re.ASCII,
)
_FLOAT = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|NaN|-?Infinity", re.ASCII)

# Written so that a text without its closing quote is rejected in linear time.
_ELEMENT = re.compile(
    r'"([^"\\]*(?:\\.[^"\\]*)*)"|([^"\\{},]*(?:\\.[^"\\{},]*)*)',
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse_timestamp(text: str) -> datetime:
    """Read `2026-11-23T06:15:09.979`, whose `T` may be a blank, as an aware UTC datetime.

    The fraction has 0 to 6 digits. Without an offset (`Z`, `+00`, `+05:30`) it is UTC.

    Raises:
        ValueError: it is anything else, `infinity` and dates before Christ included.
    """
    if text[4:20:3] in _TIMESTAMP_MARKS and len(text) in _TIMESTAMP_LENGTHS:
        try:
            return datetime.fromisoformat(text + "+00:00")
        except ValueError:
            pass  # an offset, a mistake, or a fraction that Python 3.10 refuses
    return _parse_any_timestamp(text)


def _parse_any_timestamp(text: str) -> datetime:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError("not a timestamp")
    *parts, fraction, sign, hours, minutes, seconds = match.groups()
    year, month, day, hour, minute, second = map(int, parts)
    micros = int((fraction or "").ljust(6, "0"))
    try:
        moment = datetime(year, month, day, hour, minute, second, micros, timezone.utc)
        if sign is None:
            return moment
        ahead = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
        if ahead >= timedelta(days=1):
            raise ValueError
        return moment - ahead if sign == "+" else moment + ahead
    except (ValueError, OverflowError):
        raise ValueError("not a timestamp") from None


def parse_bool(text: str) -> bool:
    """Read `t` or `f` (changes), or `true` or `false` (Electric's snapshots)."""
    if text in ("t", "true"):
        return True
    if text in ("f", "false"):
        return False
    raise ValueError("not a bool")


def parse_int(text: str) -> int:
    """Read up to 40 decimal digits, perhaps after a `-`."""
    digits = text[1:] if text.startswith("-") else text
    if len(digits) > _MAX_INT_DIGITS or not (digits.isascii() and digits.isdigit()):
        raise ValueError("not an integer")
    return int(text)


# Costs repeat from run to run, and most are 0.
@lru_cache(maxsize=1024)
def parse_float(text: str) -> float:
    """Read a decimal number, `NaN`, `Infinity` or `-Infinity`."""
    if len(text) > _MAX_FLOAT_CHARS or not _FLOAT.fullmatch(text):
        raise ValueError("not a number")
    return float(text)


def parse_array(text: str) -> list[str | None]:
    r"""Return the elements of a one-dimensional array literal: `{a,"b,c","say \"hi\"",NULL}`.

    Raises:
        ValueError: it is malformed, or has more than one dimension.
    """
    if text == "{}":
        return []
    if len(text) < 3 or text[0] != "{" or text[-1] != "}":
        raise ValueError("not an array")
    if "\\" in text:
        return _parse_any_array(text)
    quotes = text.count('"')
    if not quotes:
        return _parse_bare_array(text)
    elements: list[str | None] = []
    elements += text[2:-2].split('","')
    # Without escapes an element holds no quote: with two for each, every `","` was a boundary.
    if quotes == 2 * len(elements) and text[1] == '"' == text[-2]:
        return elements
    return _parse_any_array(text)


def _parse_bare_array(text: str) -> list[str | None]:
    elements = text[1:-1].split(",")
    if "" in elements or text.count("{") > 1 or text.count("}") > 1:
        raise ValueError("not an array")
    return [None if element == "NULL" else element for element in elements]


def _parse_any_array(text: str) -> list[str | None]:
    elements: list[str | None] = []
    position, end = 1, len(text) - 1
    while True:
        match = _ELEMENT.match(text, position, end)
        if match is None or match.end() == position:
            raise ValueError("not an array")
        elements.append(_element(match))
        position = match.end()
        if position == end:
            return elements
        if text[position] != ",":
            raise ValueError("not an array")
        position += 1


def _element(match: re.Match[str]) -> str | None:
    quoted, bare = match.groups()
    if bare == "NULL":
        return None
    element: str = bare if quoted is None else quoted
    return _ESCAPED.sub(r"\1", element) if "\\" in element else element
