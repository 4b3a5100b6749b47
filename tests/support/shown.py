"""What could end up in a log: everything that errors and objects show of themselves."""

from __future__ import annotations

import gc
import traceback
from types import FrameType

PACKAGE = "trigger_realtime_sync"


def everything_shown(error: BaseException) -> str:
    """Return everything that could be printed of an error, and of all that lies below it."""
    shown = traceback.format_exception(error)
    for one in _with_all_below(error):
        shown += [str(one), repr(one), repr(one.args), repr(vars(one))]
    return "\n".join(shown)


def locals_shown(error: BaseException) -> str:
    """Return what a reporter of errors shows of this library's local variables."""
    frames: list[FrameType] = []
    for one in _with_all_below(error):
        frames += [frame for frame, _ in traceback.walk_tb(one.__traceback__)]
    return "\n".join(
        repr(value)
        for frame in frames
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == PACKAGE
        for value in frame.f_locals.values()
    )


def _with_all_below(error: BaseException) -> list[BaseException]:
    """Return the error, and what led to it by cause or context, though it is not printed."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if not any(one is other for other in found):
            found.append(one)
            waiting += [below for below in (one.__cause__, one.__context__) if below is not None]
    return found


def every_repr() -> str:
    """Return what all living objects of the library show, those of its test server left out."""
    gc.collect()
    return "\n".join(repr(thing) for thing in gc.get_objects() if _is_of_the_client(thing))


def _is_of_the_client(thing: object) -> bool:
    package, _, room = str(getattr(type(thing), "__module__", "")).partition(".")
    return package == PACKAGE and not room.startswith("testing")
