"""Relay a subscription to browsers as Server-Sent Events. Needs no framework.

A `Relay` is the body of a WSGI response: the current state first, then each change.

    relay = Relay(
        shared(client.subscribe_to_run, run_id),
        last_event_id=environ.get("HTTP_LAST_EVENT_ID"),
    )

- `event: run`: a run as JSON, under the names that the JavaScript hooks use.
- `event: part`: `{"key": …, "index": …, "parts": […]}`, and `"runId"` with many runs. `index` is
  the index of the first part, counted from where the stream was begun to be read. A browser that
  came when parts before these were dropped already, because of `max_parts` or `max_part_bytes`, is
  told how many it has missed: `"missed": 3`. The event's id lets `EventSource` continue after it by
  itself.
- `event: complete`: the end, nothing more will come.
- `event: error`: an error ended the subscription: `{"error": …, "status": …, "message": …}`.
  Browsers dispatch their own connection errors under this name too, without `data`.

The last two have an id by which a browser that connects again is recognized, see `has_ended`.
"""

from __future__ import annotations

import signal
import warnings
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ._body import KEEP_ALIVE, MAX_AGE, Body, open_body, owner_text
from ._browser_feeds import LOOK_SECONDS
from ._events import END_ID, RunToDict, run_for_browser
from ._open_relays import RELAYS, EndsRelays, RelayCounts, RelayLimits, TooManyRelays
from ._source import Source, shared

__all__ = [
    "HEADERS",
    "KEEP_ALIVE",
    "MAX_AGE",
    "Relay",
    "RelayCounts",
    "RelayLimits",
    "RunToDict",
    "Source",
    "TooManyRelays",
    "end_relays",
    "end_relays_on_sigterm",
    "has_ended",
    "relay_counts",
    "run_for_browser",
    "shared",
]

PRIVATE = {
    "Cache-Control": "private, no-store, no-transform",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer that is about one user's runs."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    **PRIVATE,
    "X-Accel-Buffering": "no",
}
"""Headers of the response. They keep proxies from caching, changing or collecting the events."""

TOO_MANY = "Too many live views are open. Close some, or try again later."
"""The text of a 429."""

EVERYBODY: Final = object()


class Relay(Iterator[bytes]):
    """The body of one browser's response. Close it when the browser is gone, as WSGI servers do.

    Args:
        source: what to relay. Either a callable that subscribes: it takes the callbacks
            `on_update`, `on_complete` and `on_error`, and `on_stream` if that is one of its
            parameters, and returns the subscription, which the relay cancels at its end. A method
            of the client will do, see `shared`. Or a subscription of your own: its runs, or the
            parts of its stream (under the key `parts`), are relayed until it ends. It goes on
            when the browser is gone, and a browser that is slow to take parts holds back its
            reading.
        last_event_id: what the browser sent as `Last-Event-ID`. Any text is accepted.
        keep_alive: seconds of silence after which a comment is sent.
        run_to_dict: returns what the browser sees of a run.
        max_age: seconds after which the relay ends without an end of the run (up to a tenth sooner,
            so that not all end together). The browser comes again after a second, and whoever
            answers asks again whether it may. None for no bound.
        owner: whose relay it is, a user's key for example: for `limits`, and `end_relays(of=…)`.
        limits: how many may be open in this process. None for no bound.
        environ: the environment of the WSGI request. Where it holds the socket, as gunicorn's and
            Werkzeug's do, a write that a browser does not take within 30 s fails, and ending the
            relay ends one that is blocked. Otherwise a browser that stalls keeps its thread.

    Raises:
        ValueError: `keep_alive` or `max_age` is not more than 0.
        TooManyRelays: `limits` leaves no place. Nothing was subscribed.
        Exception: whatever `source` raises.

    States of a run that a slow browser has not taken yet coalesce. A browser for which 2,000 parts
    wait is cut off, and continues from its position when it connects again: no part is left out.
    """

    def __init__(
        self,
        source: Source,
        *,
        last_event_id: str | None = None,
        keep_alive: float = KEEP_ALIVE,
        run_to_dict: RunToDict = run_for_browser,
        max_age: float | None = MAX_AGE,
        owner: object = None,
        limits: RelayLimits | None = None,
        environ: Mapping[str, Any] | None = None,
    ) -> None:
        self._body = open_body(
            source,
            last_event_id=last_event_id,
            keep_alive=keep_alive,
            run_to_dict=run_to_dict,
            max_age=max_age,
            owner=owner,
            limits=limits,
            environ=environ,
        )
        self._chunks = _chunks(self._body, min(LOOK_SECONDS, keep_alive))
        # A response may be dropped without being closed, by a middleware that raised for example.
        weakref.finalize(self, RELAYS.close_elsewhere, self._body.relay).atexit = False

    def __iter__(self) -> Relay:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """End the relay: the browser is gone. Idempotent."""
        self._body.close()


def _chunks(body: Body, patience: float) -> Iterator[bytes]:
    """Yield the body. Refers to it and not to the relay, which could not be dropped then."""
    try:
        while (chunk := body.step(patience)) != b"":
            if chunk is not None:
                yield chunk
    finally:
        body.close()


def has_ended(last_event_id: str | None) -> bool:
    """Return True if a browser that sent this has already been sent the end: answer 204.

    No other answer keeps `EventSource` from connecting again.
    """
    return last_event_id == END_ID


def end_relays(*, of: object = EVERYBODY) -> None:
    """End every relay of this process at once, or one owner's.

    All of them for a process that is about to stop, so that the browsers connect elsewhere. Those
    `of` an owner (None is nobody) when something has changed for it, at a log-out say: the browsers
    come again after a second, and whoever answers asks again whether they may. Takes no lock, and
    so may be called by a signal handler.
    """
    owner = owner_text(of)
    if of is EVERYBODY:
        RELAYS.end()
    elif owner is not None:
        RELAYS.end_of(owner)


def relay_counts() -> RelayCounts:
    """Return how many relays this process has, and has had, for an operator. On any thread."""
    return RELAYS.counts()


def end_relays_on_sigterm() -> None:
    """Call `end_relays` at SIGTERM, before the handler that is already there. On the main thread.

    For gunicorn's `post_worker_init`: a stopping worker waits for its open responses. SIGINT and
    SIGQUIT have a hook of their own in gunicorn: call `end_relays` in `worker_int`.
    """
    signal.signal(signal.SIGTERM, EndsRelays(signal.getsignal(signal.SIGTERM)))


def __getattr__(name: str) -> Any:
    if name == "run_as_dict":
        warnings.warn(
            "contrib.sse.run_as_dict is now run_for_browser", DeprecationWarning, stacklevel=2
        )
        return run_for_browser
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
