"""What could end up in a log: everything that errors and objects show of themselves."""

from __future__ import annotations

import gc
import traceback


def everything_shown(error: BaseException) -> str:
    """Return everything that could be printed of an error."""
    shown = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    return "\n".join(shown)


def every_repr() -> str:
    """Return what all living objects of the library show, those of its test server left out."""
    gc.collect()
    return "\n".join(repr(thing) for thing in gc.get_objects() if _is_of_the_client(thing))


def _is_of_the_client(thing: object) -> bool:
    package, _, room = str(getattr(type(thing), "__module__", "")).partition(".")
    return package == "trigger_realtime_sync" and not room.startswith("testing")
