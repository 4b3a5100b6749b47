"""What is said of a run: progress, note and duration, as text that may go to a terminal."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

from .. import PayloadError
from .._terminal import one_line
from ..models import AnyRun


def progress_of(run: AnyRun) -> float | None:
    """Return the share that is done, from 0 to 1, as in `metadata.progress`, or None.

    Tasks may write anything there. Understood are `percentage` (0 to 100), `current` and `total`,
    and a bare number, which is a share up to 1 and a percentage above.
    """
    progress = _metadata(run).get("progress")
    if isinstance(progress, dict):
        percentage = _number(progress.get("percentage"))
        if percentage is not None:
            return _share(percentage / 100)
        current, total = _number(progress.get("current")), _number(progress.get("total"))
        return _share(current / total) if current is not None and total else None
    number = _number(progress)
    if number is None:
        return None
    return _share(number if number <= 1 else number / 100)


def _metadata(run: AnyRun) -> dict[str, Any]:
    try:
        metadata = run.metadata
    except PayloadError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _number(value: Any) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if number == number else None


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def percentage(share: float) -> str:
    """Return a share as a whole percentage: 100% is said of nothing less."""
    # Rounded first, since 0.29 * 100 is a little less than 29.
    return f"{math.floor(round(share * 100, 9))}%"


def note_of(run: AnyRun) -> str:
    """Return why a run failed, what it is doing, or its tags."""
    if run.error is not None:
        return one_line(run.error.message)
    status = _metadata(run).get("status")
    if isinstance(status, str) and status and not run.is_finished:
        return one_line(status)
    return one_line(" ".join(f"#{tag}" for tag in run.tags))


def seconds_of(run: AnyRun, now: datetime | None = None) -> float | None:
    """Return for how long a run has been running, or ran; None before it started."""
    if run.started_at is None:
        return None
    end = run.finished_at
    if end is None:
        end = run.updated_at if run.is_finished else now or datetime.now(timezone.utc)
    return None if end is None else max(0.0, (end - run.started_at).total_seconds())


def duration(seconds: float | None) -> str:
    """Return seconds as `4.2s`, `3m05s`, `2h07m` or `5d03h`: six characters up to 100 days."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 100:
        return f"{hours}h{minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h"
