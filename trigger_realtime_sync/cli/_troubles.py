"""What the library tries again, and so tells in its log alone."""

from __future__ import annotations

import logging
import time

from .. import TriggerRealtimeError
from ._text import duration

LOGGER = logging.getLogger("trigger_realtime_sync")


class Troubles(logging.Handler):
    """Remembers the newest error in the library's log, as a context manager."""

    def __init__(self) -> None:
        super().__init__()
        self._latest: tuple[str, float] | None = None
        self._level_before = LOGGER.level

    def __enter__(self) -> Troubles:
        LOGGER.addHandler(self)
        # All but the first of a row of failures are told at this level.
        LOGGER.setLevel(logging.INFO)
        return self

    def __exit__(self, *exc_info: object) -> None:
        LOGGER.setLevel(self._level_before)
        LOGGER.removeHandler(self)

    @property
    def latest(self) -> str | None:
        """The newest error, or None if there was none."""
        return self._latest[0] if self._latest is not None else None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the error of a record, if it has one. Called on the library's threads."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            if isinstance(argument, TriggerRealtimeError):
                self._latest = (str(argument), time.monotonic())

    def with_latest(self, message: str) -> str:
        """Return a message that ends with the newest error, and how long ago it was."""
        if self._latest is None:
            return message
        error, at = self._latest
        return f"{message}; last trouble, {duration(time.monotonic() - at)} ago: {error}"
