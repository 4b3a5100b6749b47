"""The reading of one stream, for the commands that print one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import PayloadError, StreamSubscription
from ..models import AnyRun
from ._exits import CommandError, Exit, usage_errors
from ._interrupts import Uninterrupted
from ._output import OutputError
from ._session import Session
from ._views import JsonLines, RawText, View


class Reading:
    """One reading of a stream, and the place of what was printed last.

    Args:
        subscribe: subscribes to it, with the options that are left to this class.
    """

    def __init__(
        self,
        here: Session,
        run_id: str,
        key: str,
        subscribe: Callable[..., StreamSubscription[Any]],
    ) -> None:
        self._here = here
        self._run_id = run_id
        self._key = key
        self._printed: str | None = None
        with usage_errors():
            # Enabled below: the first parts ask for their place.
            self._subscription = subscribe(
                max_parts=1,
                enabled=False,
                on_stream=self._on_stream,
                on_error=here.queue.on_error,
            )
        self._subscription.enable()

    def show(self, *, as_json: bool, timeout: float | None) -> None:
        """Print it until it ends.

        Args:
            timeout: seconds after which to stop.

        Raises:
            CommandError: it did not end by then.
            TriggerRealtimeError: it can't be read.
        """
        view = JsonLines() if as_json else RawText()
        if not self._here.show(view, self._subscription, timeout=timeout):
            message = f"stream {self._key} of run {self._run_id} did not end"
            raise self._here.timed_out(message, timeout or 0.0)

    def place_after(self, error: BaseException) -> str | None:
        """Return the place behind the last part that was printed, None if there is none or stdout
        takes no more."""
        return None if isinstance(error, OutputError) else self._printed

    def check_that_it_exists(self) -> None:
        """Check that the run, if it has finished, had a stream of this key.

        Raises:
            CommandError: it had none.
        """
        run = self._subscription.run
        if self._printed is None and run is not None and run.is_finished:
            keys = _streams_of(run)
            if self._key not in keys:
                named = ", ".join(keys) or "none"
                raise CommandError(
                    f"run {run.id} never had a stream {self._key!r}; its streams: {named}",
                    Exit.NOT_FOUND,
                )

    def _on_stream(self, key: str, parts: list[Any]) -> None:
        place = self._subscription.last_event_id

        def show(view: View) -> None:
            with Uninterrupted():
                view.show_parts(key, parts)
                self._printed = place

        self._here.queue.put(show)


def _streams_of(run: AnyRun) -> list[str]:
    """Return the keys that a run names, in either place."""
    try:
        named = (run.metadata or {}).get("$$streams")
    except (AttributeError, PayloadError):
        named = None
    texts = [key for key in named if isinstance(key, str)] if isinstance(named, list) else []
    return list(dict.fromkeys([*texts, *run.realtime_streams]))
