"""How runs look, by what they are doing."""

from __future__ import annotations

import attrs

from ..models import AnyRun


@attrs.frozen
class Look:
    """The look of runs.

    Attributes:
        symbol: one character.
        color: None for the terminal's own.
        group: what a headline counts them as.
    """

    symbol: str
    color: str | None
    group: str


# For the runs with each property, in the order of a headline.
_LOOKS = {
    "is_success": Look("✓", "green", "completed"),
    "is_failed": Look("✗", "red", "failed"),
    "is_cancelled": Look("■", "yellow", "cancelled"),
    "is_executing": Look("▶", "cyan", "executing"),
    "is_waiting": Look("◷", "magenta", "waiting"),
    "is_queued": Look("○", None, "queued"),
}
_OTHER = Look("?", None, "other")

GROUPS = tuple(look.group for look in (*_LOOKS.values(), _OTHER))


def look_of(run: AnyRun) -> Look:
    """Return the look of a run."""
    return next((look for name, look in _LOOKS.items() if getattr(run, name)), _OTHER)
