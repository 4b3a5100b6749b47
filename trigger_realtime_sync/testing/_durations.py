"""Durations and moments as servers read them: what they can't read counts as none, in silence.

docs/protocol.md, section R2.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from typing import Any

_MAX_LENGTH = 100
_DURATION = re.compile(r"(?:[0-9]+(?:w|d|hr|h|m|s))+")
_PART = re.compile(r"([0-9]+)(w|d|hr|h|m|s)")
_SECONDS = {"w": 604_800, "d": 86_400, "hr": 3600, "h": 3600, "m": 60, "s": 1}
_KEY_TTL = re.compile(r"([0-9]+)([smhd])")
# Seconds that an idempotency key lives unless it says otherwise.
KEY_TTL = 30 * 86_400


def duration(text: Any) -> int | None:
    """Return the seconds of a duration; None if it is none."""
    if not isinstance(text, str) or len(text) > _MAX_LENGTH or not _DURATION.fullmatch(text):
        return None
    units: dict[str, int] = {}
    for count, unit in _PART.findall(text):
        # Of a unit that is given twice only the first one counts.
        units.setdefault(unit[0], int(count) * _SECONDS[unit])
    return sum(units.values())


def key_ttl(text: Any) -> int:
    """Return the seconds that an idempotency key lives: 30 days for what can't be read."""
    found = _KEY_TTL.fullmatch(text) if isinstance(text, str) else None
    return int(found[1]) * _SECONDS[found[2]] if found else KEY_TTL


def moment(value: Any) -> float | None:
    """Return the moment that a delay or a time-out means, in epoch seconds; None for none."""
    if isinstance(value, (list, dict)):
        return None
    if not isinstance(value, str):
        # null is 1970, and a number counts its milliseconds.
        return float(value or 0) / 1000
    seconds = duration(value)
    return _date(value) if seconds is None else time.time() + seconds


def _date(text: str) -> float | None:
    if re.fullmatch(r"[0-9]{1,4}", text):
        return _year(int(text))
    try:
        found = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text))
    except ValueError:
        return None
    # A date without a zone is taken in the server's.
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def _year(number: int) -> float | None:
    # V8 takes 1 to 12 for a month of 2001, and 32 to 99 for a year around 2000.
    if 1 <= number <= 12:
        first = datetime(2001, number, 1, tzinfo=timezone.utc)
    elif 32 <= number <= 49:
        first = datetime(2000 + number, 1, 1, tzinfo=timezone.utc)
    elif 50 <= number <= 99:
        first = datetime(1900 + number, 1, 1, tzinfo=timezone.utc)
    elif number >= 1000:
        first = datetime(number, 1, 1, tzinfo=timezone.utc)
    else:
        return None
    return first.timestamp()
