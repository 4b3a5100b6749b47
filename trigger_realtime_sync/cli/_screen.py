"""Which view fits the place where the output goes."""

from __future__ import annotations

import os
import sys

from ._lines import JsonLines, RunLines, View, warn

NO_RICH = "for a live table: pip install 'trigger-realtime-sync[cli]'"


def choose_view(title: str, *, as_json: bool = False) -> View:
    """JSON lines if asked for, a live table on a terminal, plain lines anywhere else."""
    if as_json:
        return JsonLines()
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return RunLines()
    try:
        from ._table import LiveTable
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        warn(NO_RICH)
        return RunLines()
    return LiveTable(title)
