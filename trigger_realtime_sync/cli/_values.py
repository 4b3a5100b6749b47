"""Values of arguments, checked while they are parsed."""

from __future__ import annotations

import argparse
import math
import re

# The units of the server's own durations, in seconds.
UNITS = {"w": 604_800, "d": 86_400, "hr": 3600, "h": 3600, "m": 60, "s": 1}
_TERM = re.compile(rf"([0-9]+)({'|'.join(UNITS)})")
_DURATION = re.compile(rf"(?:{_TERM.pattern})+")


def seconds(text: str) -> float:
    """Return a duration: a number of seconds, or numbers with units, as in `1h30m`."""
    if _DURATION.fullmatch(text):
        return float(sum(int(count) * UNITS[unit] for count, unit in _TERM.findall(text)))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(
            f"must be seconds, or a duration such as 90s, 5m or 1h30m, not {text!r}"
        )
    return value


def shift(text: str) -> float:
    """Return a duration of either sign, in seconds."""
    return -seconds(text[1:]) if text.startswith("-") else seconds(text)


def age(text: str) -> str:
    """Return a duration of more than nothing, with a unit, as servers take it."""
    value = seconds(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be more than 0 seconds, not {text!r}")
    return text if _DURATION.fullmatch(text) else f"{math.ceil(value)}s"


def number(text: str) -> float:
    """Return any number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None


def factor(text: str) -> float:
    """Return a number above 0 and at most 1000."""
    value = number(text)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1000, not {text}")
    return value


def port(text: str) -> int:
    """Return the number of a TCP port, or 0."""
    value = index(text)
    if value > 65535:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, not {text}")
    return value


def count(text: str) -> int:
    """Return a whole number of at least 1."""
    value = index(text)
    if value == 0:
        raise argparse.ArgumentTypeError("must be at least 1, not 0")
    return value


def index(text: str) -> int:
    """Return a whole number of at least 0."""
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)
