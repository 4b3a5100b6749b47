"""Which columns the live table has, and how wide they are. Pure."""

from __future__ import annotations

# Columns from which a terminal is wide: it has room for whole ids, and for longer bars.
WIDE_TERMINAL = 110
# Characters between two columns, and behind the last one.
GAP = 2
# What comes behind a bar, " 100%", and in place of one.
PERCENTAGE = 5
SHORT_ID = 9

# The least width of each column, in characters. DONE is a percentage without a bar.
_LEAST = {
    "RUN": SHORT_ID,
    "TASK": 8,
    "STATUS": 11,
    "PROGRESS": 13,
    "DONE": 4,
    "TIME": 6,
    "NOTE": 12,
}
_WIDE_PROGRESS = 21
# The first that fits is chosen. What says least is left out first; a percentage always stays.
_CHOICES = (
    ("RUN", "TASK", "STATUS", "PROGRESS", "TIME", "NOTE"),
    ("RUN", "TASK", "STATUS", "DONE", "TIME", "NOTE"),
    ("RUN", "TASK", "STATUS", "DONE", "TIME"),
    ("RUN", "STATUS", "DONE", "TIME"),
    ("RUN", "STATUS", "DONE"),
    ("STATUS", "DONE"),
)


def layout(width: int, *, run_id: int, task: int, status: int) -> dict[str, int]:
    """Return the columns of a table and their widths, gaps left out.

    Args:
        width: of the terminal, in characters.
        run_id, task, status: the longest of each, in characters.
    """
    least = {**_LEAST, "STATUS": max(status, _LEAST["STATUS"])}
    if width >= WIDE_TERMINAL:
        least |= {"RUN": max(run_id, SHORT_ID), "PROGRESS": _WIDE_PROGRESS}
    names = next((names for names in _CHOICES if _total(names, least) <= width), _CHOICES[-1])
    widths = {name: least[name] for name in names}
    spare = width - _total(names, least)
    if spare < 0:
        widths["STATUS"] = max(1, widths["STATUS"] + spare)
    if "TASK" in widths:
        more = min(spare, max(0, task - widths["TASK"]))
        widths["TASK"] += more
        spare -= more
    if "NOTE" in widths:
        widths["NOTE"] += spare
    return widths


def _total(names: tuple[str, ...], widths: dict[str, int]) -> int:
    return sum(widths[name] + GAP for name in names)
