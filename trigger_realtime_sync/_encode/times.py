"""Durations and moments as the server spells them; what it would ignore in silence is refused.

Source: docs/protocol.md, section R2.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any

from .superjson import javascript_date

LONGEST_DURATION = 100
_DURATION = re.compile(r"(?:\d+(?:w|d|hr|h|m|s))+", re.ASCII)
_UNIT = re.compile(r"(\d+)(w|d|hr|h|m|s)", re.ASCII)
_SECONDS_OF = {"w": 604_800, "d": 86_400, "hr": 3600, "h": 3600, "m": 60, "s": 1}
_ONE_UNIT = re.compile(r"\d+[smhd]", re.ASCII)
# A date that JavaScript reads the same everywhere: with its zone.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)", re.ASCII
)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# Seconds: a delay, and how long JavaScript's dates go on, end somewhere.
MOST_SECONDS = 100 * 366 * 86_400


def seconds_of(value: Any, name: str) -> int:
    """Return whole seconds, rounded up, of a timedelta or a number of seconds.

    Raises:
        ValueError: it is neither, or too large.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    else:
        raise ValueError(f"{name} must be a timedelta or seconds, not {value!r}")
    if not -MOST_SECONDS <= seconds <= MOST_SECONDS:
        raise ValueError(f"{name} is out of range: {value!r}")
    # Rounded to microseconds first: 0.1 + 0.2 is a little more than 0.3.
    return math.ceil(round(seconds, 6))


def check_duration(value: Any, name: str) -> str:
    """Return a duration of more than nothing: `"1h30m"` as it is, a timedelta or whole seconds as
    `"5400s"`.

    Raises:
        ValueError: it is nothing or less, or a text that the server would ignore.
    """
    if isinstance(value, str):
        return _check_duration_text(value, name)
    if not isinstance(value, (timedelta, int)) or isinstance(value, bool):
        raise ValueError(f"{name} must be a timedelta, text or whole seconds, not {value!r}")
    seconds = seconds_of(value, name)
    if seconds <= 0:
        raise ValueError(f"{name} must be more than 0 seconds, not {value!r}")
    return f"{seconds}s"


def _check_duration_text(text: str, name: str) -> str:
    if not _is_duration(text):
        raise ValueError(
            f"{name} must be a duration such as '90s' or '1h30m' (w, d, h, hr, m, s), not {text!r}:"
            f" the server would ignore it"
        )
    units = [unit.replace("hr", "h") for _, unit in _UNIT.findall(text)]
    if len(set(units)) < len(units):
        raise ValueError(f"{name} names a unit twice, of which the server reads one: {text!r}")
    seconds = duration_seconds(text)
    if seconds == 0:
        raise ValueError(f"{name} must be more than 0 seconds, not {text!r}")
    if seconds > MOST_SECONDS:
        raise ValueError(f"{name} is out of range: {text!r}")
    return text


def _is_duration(text: str) -> bool:
    return len(text) <= LONGEST_DURATION and _DURATION.fullmatch(text) is not None


def duration_seconds(text: str) -> int:
    """Return the seconds of a duration that `check_duration` returned."""
    return sum(int(count) * _SECONDS_OF[unit] for count, unit in _UNIT.findall(text))


def check_key_ttl(value: Any, name: str = "idempotency_key_ttl") -> str:
    """Return how long an idempotency key lives: one number with one unit of s, m, h, d.

    Raises:
        ValueError: it is nothing or less, or a text that the server would take for 30 days.
    """
    text = check_duration(value, name)
    if not _ONE_UNIT.fullmatch(text):
        raise ValueError(
            f"{name} must be one number with one unit of s, m, h or d, or a timedelta, not"
            f" {value!r}: the server would take it for 30 days"
        )
    return text


def check_ttl(value: Any, name: str = "ttl") -> str | int:
    """Return for how long a run may wait to be started: whole seconds as a number, anything else as
    `check_duration` does.

    Raises:
        ValueError: as `check_duration`. The server would let it wait for ever.
    """
    text = check_duration(value, name)
    return text if isinstance(value, (str, timedelta)) else int(value)


def check_delay(value: Any, name: str = "delay") -> str | None:
    """Return a delay as the server spells it, or None for now.

    Args:
        value: a timedelta, a duration as text, an aware datetime, or one as ISO text. A past one,
            or nothing or less: now.

    Raises:
        ValueError: it is something else, such as a naive datetime or a bare number.
    """
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise ValueError(f"{name} is a naive datetime, which means another time elsewhere")
        return javascript_date(value, name) if value > datetime.now(timezone.utc) else None
    if isinstance(value, timedelta):
        seconds = seconds_of(value, name)
        return f"{seconds}s" if seconds > 0 else None
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a timedelta, a datetime or text, not {value!r}")
    if _is_duration(value):
        if duration_seconds(value) == 0:
            return None
        return _check_duration_text(value, name)
    return check_delay(_moment_of(value, name), name)


def check_timeout_of_token(value: Any, name: str = "timeout") -> str:
    """Return when a wait token times out: as a delay, or whole seconds.

    Raises:
        ValueError: it has passed, or the server would take it for never.
    """
    if isinstance(value, int):
        return check_duration(value, name)
    rendered = check_delay(value, name)
    if rendered is None:
        raise ValueError(f"{name} must be in the future, not {value!r}")
    return rendered


def _moment_of(text: str, name: str) -> datetime:
    if _MOMENT.fullmatch(text):
        iso = text.replace("Z", "+00:00")
        zone = iso[-5:]
        if ":" not in zone:
            iso = f"{iso[:-5]}{zone[:3]}:{zone[3:]}" if zone[0] in "+-" else iso
        try:
            return datetime.fromisoformat(_six_digits(iso))
        except ValueError:
            pass
    raise ValueError(
        f"{name} must be a duration such as '90s' or '1h30m', or an ISO date with its zone, not"
        f" {text!r}: the server would ignore it"
    )


def _six_digits(iso: str) -> str:
    """Return a date whose fraction has six digits, which is all that Python 3.10 reads."""
    return re.sub(r"\.(\d+)", lambda match: f".{match[1][:6]:0<6}", iso)


def epoch_milliseconds(value: Any, name: str) -> str:
    """Return an aware datetime as milliseconds since 1970.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime, not {value!r}")
    return str((value - EPOCH) // timedelta(milliseconds=1))
