"""What an error shows of itself."""

from __future__ import annotations

import traceback


def everything_shown(error: BaseException) -> str:
    """Return everything that could be printed of an error."""
    return "\n".join(
        [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    )
