"""A client, and what is shown of its subscriptions until they end."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from .. import RealtimeClient, State, Subscription
from ._event_queue import EventQueue
from ._exits import CommandError, Exit, check_token
from ._output import is_terminal, warn
from ._text import duration
from ._troubles import Troubles
from ._views import JsonLines, RunLines, View

# Columns that only JSON shows, and that may be large.
NOT_SHOWN = ("payload", "output")

NO_RICH = "for a live table: pip install 'trigger-realtime-sync[cli]'"


@attrs.frozen
class Session:
    """A client, the queue that its callbacks fill, and its troubles."""

    client: RealtimeClient
    queue: EventQueue
    troubles: Troubles

    @property
    def run_callbacks(self) -> dict[str, Any]:
        return {"on_update": self.queue.on_update, "on_error": self.queue.on_error}

    @property
    def stream_callbacks(self) -> dict[str, Any]:
        return {"on_stream": self.queue.on_stream, "on_error": self.queue.on_error}

    def show(self, view: View, *subscriptions: Subscription, timeout: float | None = None) -> bool:
        """Show what happens until all subscriptions have ended.

        Args:
            timeout: seconds after which to stop.

        Returns:
            Whether they have ended.

        Raises:
            TriggerRealtimeError: the error that ended one of them.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        with view:
            for event in self.queue.events(subscriptions):
                view.tick(self._trouble(subscriptions))
                if event is not None:
                    event(view)
                if time.monotonic() >= deadline and not _have_ended(subscriptions):
                    return False
        return True

    def timed_out(self, message: str, timeout: float) -> CommandError:
        """Return the end of a command that took too long.

        Args:
            message: what did not happen.
            timeout: within this many seconds.
        """
        text = f"{message} within {duration(timeout)}"
        return CommandError(self.troubles.with_latest(text), Exit.TIMED_OUT)

    def _trouble(self, subscriptions: tuple[Subscription, ...]) -> str | None:
        """Return what keeps one of the subscriptions from being followed at this moment."""
        if any(one.state is State.RETRYING for one in subscriptions):
            return self.troubles.latest or "no connection"
        return None


def _have_ended(subscriptions: tuple[Subscription, ...]) -> bool:
    return all(one.state.is_ended for one in subscriptions)


@contextmanager
def session(
    token: str | None, base_url: str | None, throttle_in_ms: float = 0
) -> Iterator[Session]:
    """Open a session. Everything is cancelled at the end.

    Raises:
        CommandError: there is no token.
    """
    check_token(token)
    client = RealtimeClient(token, base_url=base_url, throttle_in_ms=throttle_in_ms)
    queue = EventQueue()
    try:
        with Troubles() as troubles:
            yield Session(client, queue, troubles)
    finally:
        queue.close()
        client.close()


def choose_view(title: str, *, as_json: bool = False) -> View:
    """Return a view: JSON lines if wanted, a live table on a terminal, or plain lines."""
    if as_json:
        return JsonLines()
    if not is_terminal() or os.environ.get("TERM") == "dumb":
        return RunLines()
    try:
        from ._table import LiveTable
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        warn(NO_RICH)
        return RunLines()
    return LiveTable(title)
