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

import _thread
import contextlib
import itertools
import os
import signal
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ._browser_feeds import LOOK_SECONDS, BrowserFeed, Position, feed_of
from ._events import (
    COMMENT,
    END_ID,
    PREAMBLE,
    RunToDict,
    event_of,
    last_event,
    run_for_browser,
)
from ._source import Source, shared

__all__ = [
    "HEADERS",
    "KEEP_ALIVE",
    "Relay",
    "RunToDict",
    "Source",
    "end_relays",
    "end_relays_on_sigterm",
    "has_ended",
    "run_for_browser",
    "shared",
]

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent. Only writing shows that a browser is gone."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
"""Headers of the response. They keep proxies from caching, changing or collecting the events."""


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

    Raises:
        ValueError: `keep_alive` is not more than 0.
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
    ) -> None:
        if not keep_alive > 0:
            raise ValueError(f"keep_alive must be more than 0 seconds, not {keep_alive!r}")
        patience = min(LOOK_SECONDS, keep_alive)
        self._feed = feed_of(source, Position(last_event_id), patience)
        _open.add(self._feed)
        self._chunks = _chunks(self._feed, KeepAlive(keep_alive, patience), patience, run_to_dict)
        # A response may be dropped without being closed, by a middleware that raised for example.
        weakref.finalize(self, _close_elsewhere, self._feed).atexit = False

    def __iter__(self) -> Relay:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """End the relay: the browser is gone. Idempotent."""
        _close(self._feed)


def _chunks(
    feed: BrowserFeed, keep_alive: KeepAlive, patience: float, run_to_dict: RunToDict
) -> Iterator[bytes]:
    """Yield the body. Refers to the feed and not to the relay, which could not be dropped then."""
    try:
        yield PREAMBLE
        keep_alive.restart(time.monotonic())
        while feed in _open and not _ending:
            # Read before the news: all news is there once the subscription has ended.
            state = feed.state
            news = feed.take(patience)
            if news:
                yield b"".join(event_of(one, run_to_dict) for one in news)
                keep_alive.restart(time.monotonic())
            elif state.is_ended:
                if last := last_event(state, feed.error):
                    yield last
                return
            elif keep_alive.is_due(time.monotonic()):
                yield COMMENT
    finally:
        _close(feed)


class KeepAlive:
    """When to send a comment: after a time of silence, and once more soon after.

    The first write to a browser that is gone still succeeds. The second fails, because of the
    answer to the first; without it, the browser would be missed only after another full silence.

    Args:
        seconds: of silence before the first comment.
        soon: seconds from the first comment to the second.
    """

    def __init__(self, seconds: float, soon: float) -> None:
        self._seconds = seconds
        self._soon = soon
        self.restart(time.monotonic())

    def restart(self, now: float) -> None:
        """Begin a new silence: an event was sent."""
        self._waits = itertools.cycle((self._seconds, self._soon))
        self._due = now + next(self._waits)

    def is_due(self, now: float) -> bool:
        """Return True if a comment must be sent now. The wait for the next one begins then."""
        if now < self._due:
            return False
        self._due = now + next(self._waits)
        return True


def has_ended(last_event_id: str | None) -> bool:
    """Return True if a browser that sent this has already been sent the end: answer 204.

    No other answer keeps `EventSource` from connecting again.
    """
    return last_event_id == END_ID


_ending = False
# The feeds of this process's open relays.
_open: set[BrowserFeed] = set()
if hasattr(os, "register_at_fork"):
    # A child has no part in its parent's relays: a thread may have held their locks at the fork.
    os.register_at_fork(after_in_child=_open.clear)


def _close(feed: BrowserFeed) -> None:
    # One step, so that of two threads only one closes the feed.
    try:
        _open.remove(feed)
    except KeyError:
        return
    feed.close()
    feed.wake()


def _close_elsewhere(feed: BrowserFeed) -> None:
    """Close on another thread: garbage is collected while this one may hold the locks needed."""
    if feed in _open:
        _start_thread(_close, feed)


def _start_thread(function: Callable[..., None], *arguments: Any) -> None:
    # Not `threading`, whose `start` takes locks: this may run inside a signal handler.
    with contextlib.suppress(RuntimeError):
        _thread.start_new_thread(function, arguments)


def end_relays() -> None:
    """End every relay of this process at once, so that the browsers connect elsewhere.

    For a process that is about to stop. Takes no lock, and so may be called by a signal handler. A
    relay of a subscription that is not its own ends within half a second.
    """
    global _ending
    _ending = True
    # Waking takes locks, which the code interrupted by a signal may hold: on another thread. If
    # that can't be started, the relays still look twice a second.
    _start_thread(_wake_all)


def _wake_all() -> None:
    for feed in list(_open):
        feed.wake()


def end_relays_on_sigterm() -> None:
    """Call `end_relays` at SIGTERM, before the handler that is already there. On the main thread.

    For gunicorn's `post_worker_init`: a stopping worker waits for its open responses. SIGINT and
    SIGQUIT have a hook of their own in gunicorn: call `end_relays` in `worker_int`.
    """
    before = signal.getsignal(signal.SIGTERM)

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        end_relays()
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, on_sigterm)


def __getattr__(name: str) -> Any:
    if name == "run_as_dict":
        warnings.warn(
            "contrib.sse.run_as_dict is now run_for_browser", DeprecationWarning, stacklevel=2
        )
        return run_for_browser
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
