"""Relays a subscription to browsers as Server-Sent Events. Needs no framework.

The body of a WSGI response is a `Relay`: the current state first, then each change.

    relay = Relay(
        shared(client.subscribe_to_run, run_id),
        last_event_id=environ.get("HTTP_LAST_EVENT_ID"),
    )

- `event: run`: a run as JSON, under the names that the JavaScript hooks use.
- `event: part`: `{"key": …, "index": …, "parts": […]}`, for many runs with `"runId"`; `index` is
  that of the first part. Its id lets `EventSource` go on after it by itself.
- `event: complete`: nothing more will come.
- `event: error`: the subscription ended by an error: `{"error": …, "status": …, "message": …}`. The
  browser dispatches its own connection errors under that name too; those have no `data`.

The last two have an id by which a browser that connects again is told to stop (see `has_ended`).
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import hashlib
import itertools
import os
import signal
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

from .. import ApiError, Run, State, Subscription, TriggerRealtimeError
from ._feeds import SLICE, AnyFeed, Cursor, News, Parts, Source, feed_of
from ._json import EncodedRuns, run_as_dict, to_json

__all__ = [
    "HEADERS",
    "KEEP_ALIVE",
    "Relay",
    "Source",
    "end_relays",
    "end_relays_on_sigterm",
    "has_ended",
    "run_as_dict",
    "shared",
]

SubscriptionT = TypeVar("SubscriptionT", bound=Subscription)
RunToDict = Callable[[Run[Any, Any]], dict[str, Any]]

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment is sent: what notices that a browser is gone."""

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}
"""Of the response: nothing between may keep, change or collect the events."""

_RECONNECT_MS = 1000
_END_ID = "end"
_PREAMBLE = f"retry: {_RECONNECT_MS}\n: connected\n\n".encode()
_COMMENT = b": keep-alive\n\n"

_MESSAGES = {
    400: "The request can't be served.",
    401: "The server refused the access token.",
    403: "The access token does not cover this.",
    404: "There is no such run.",
    422: "The request can't be served.",
    429: "Too many requests.",
}


class Relay(Iterator[bytes]):
    """The body of one browser's response. Close it, as WSGI servers do, when the browser is gone.

    Args:
        source: what to relay: a callable that takes the callbacks `on_update`, `on_complete`,
            `on_error`, and `on_stream` if it names that one, and returns the subscription; the
            relay cancels it at its end. A method of the client will do: see `shared`. Or a
            subscription: its runs, or the parts of its stream (under the key `parts`), are
            relayed until it ends, and it goes on when the browser is gone; a slow browser holds
            back the server of its parts.
        last_event_id: what the browser sent as `Last-Event-ID`. Anything goes.
        keep_alive: seconds of silence after which a comment is sent.
        run_to_dict: what a browser is shown of a run.

    Raises:
        ValueError: `keep_alive` is not more than 0.
        Exception: what `source` raises.

    Run states that a slow browser has not yet taken coalesce. Once 2,000 parts wait for it, it is
    cut off, and goes on where it was when it connects again: parts are never left out.
    """

    def __init__(
        self,
        source: Source,
        *,
        last_event_id: str | None = None,
        keep_alive: float = KEEP_ALIVE,
        run_to_dict: RunToDict = run_as_dict,
    ) -> None:
        if not keep_alive > 0:
            raise ValueError(f"keep_alive must be more than 0 seconds, not {keep_alive!r}")
        patience = min(SLICE, keep_alive)
        self._feed = feed_of(source, Cursor(last_event_id), patience)
        _open[id(self._feed)] = self._feed
        self._chunks = _chunks(self._feed, Silence(keep_alive, patience), patience, run_to_dict)
        # A response may be dropped that nobody closes: by a middleware that raised, say.
        weakref.finalize(self, _close_elsewhere, self._feed).atexit = False

    def __iter__(self) -> Relay:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """The browser is gone. With the last one the subscription ends. Idempotent."""
        _close(self._feed)


def _chunks(
    feed: AnyFeed, silence: Silence, patience: float, run_to_dict: RunToDict
) -> Iterator[bytes]:
    """Knows nothing of the relay, which could not be dropped otherwise."""
    try:
        yield _PREAMBLE
        silence.begins(time.monotonic())
        while id(feed) in _open and not _ending:
            # Asked for before the news: once it has ended, what is there is all there is.
            state = feed.state
            news = feed.take(patience)
            if news:
                yield b"".join(_event_of(one, run_to_dict) for one in news)
                silence.begins(time.monotonic())
            elif state in _LAST_WORDS:
                yield from _LAST_WORDS[state](feed.error)
                return
            elif silence.is_too_long(time.monotonic()):
                yield _COMMENT
    finally:
        _close(feed)


def _event_of(news: News, run_to_dict: RunToDict) -> bytes:
    if isinstance(news, Parts):
        return _event("part", to_json(_parts_as_dict(news)), news.cursor)
    # Another function's answer may depend on who asks.
    shown = _encoded(news) if run_to_dict is run_as_dict else to_json(run_to_dict(news))
    return _event("run", shown)


class Silence:
    """When to write into it: after `keep_alive` seconds, and soon after once more.

    The first write to a browser that is gone still succeeds. What breaks the second is the answer
    to the first: without it, a browser would be missed only after twice the time.
    """

    def __init__(self, keep_alive: float, soon: float) -> None:
        self._keep_alive = keep_alive
        self._soon = soon
        self.begins(time.monotonic())

    def begins(self, now: float) -> None:
        """Something was written."""
        self._waits = itertools.cycle((self._keep_alive, self._soon))
        self._until = now + next(self._waits)

    def is_too_long(self, now: float) -> bool:
        """Whether to write now. If so, the next wait begins."""
        if now < self._until:
            return False
        self._until = now + next(self._waits)
        return True


_encoded = EncodedRuns()


def _event(name: str, data: bytes, id_: str = "") -> bytes:
    head = f"event: {name}\nid: {id_}\n" if id_ else f"event: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def _parts_as_dict(news: Parts) -> dict[str, Any]:
    *run_id, key = news.stream
    data = {"key": key, "index": news.index, "parts": news.parts}
    return {"runId": run_id[0], **data} if run_id else data


def _complete(error: TriggerRealtimeError | None) -> Iterator[bytes]:
    yield _event("complete", b"{}", _END_ID)


def _failed(error: TriggerRealtimeError | None) -> Iterator[bytes]:
    """Says nothing that the error itself says: it may name hosts and quote answers."""
    status = error.status if isinstance(error, ApiError) else None
    data = {
        "error": type(error).__name__,
        "status": status,
        "message": _MESSAGES.get(status or 0, "The run can't be followed any longer."),
    }
    yield _event("error", to_json(data), _END_ID)


def _cancelled(error: TriggerRealtimeError | None) -> Iterator[bytes]:
    """Not the end for the browser: it connects again, to the next process if this one stops."""
    yield from ()


_LAST_WORDS = {State.COMPLETED: _complete, State.FAILED: _failed, State.CANCELLED: _cancelled}


def shared(
    subscribe: Callable[..., SubscriptionT], *arguments: Any, **options: Any
) -> Callable[..., SubscriptionT]:
    """A source that all browsers share: `shared(client.subscribe_to_run, run_id)`.

    Args:
        subscribe: a method of the client.
        arguments, options: of the method. An `id` by which calls with the same ones find each
            other is made up if there is none.

    However many relays have the same source, there is one connection; it ends with the last.
    """
    options.setdefault("id", _shared_id(subscribe, arguments, options))
    return functools.partial(subscribe, *arguments, **options)


def _shared_id(subscribe: Callable[..., Any], arguments: Any, options: dict[str, Any]) -> str:
    # Callers with different tokens must not meet: the token is part of it, and can't be read out.
    told = repr((arguments, sorted(options.items())))
    digest = hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()
    return f"sse-{getattr(subscribe, '__name__', 'subscribe')}-{digest[:32]}"


def has_ended(last_event_id: str | None) -> bool:
    """Whether a browser that sent this was told the end already: answer it with 204.

    That is the one answer after which `EventSource` does not connect again.
    """
    return last_event_id == _END_ID


_ending = False
# What the relays of this process are fed by, until they are closed.
_open: dict[int, AnyFeed] = {}
if hasattr(os, "register_at_fork"):
    # The parent's relays are none of the child's, and a thread may have held their locks.
    os.register_at_fork(after_in_child=_open.clear)


def _close(feed: AnyFeed) -> None:
    if _open.pop(id(feed), None) is not None:
        feed.close()
        feed.wake()


def _close_elsewhere(feed: AnyFeed) -> None:
    """What drops a relay may hold the locks that closing takes: on another thread."""
    if id(feed) in _open:
        _start(_close, feed)


def _start(work: Callable[..., None], *arguments: Any) -> None:
    with contextlib.suppress(RuntimeError):
        _thread.start_new_thread(work, arguments)


def end_relays() -> None:
    """Ends every relay of this process at once; browsers connect again elsewhere.

    For a process that is about to stop. Takes no lock: it may be called by a signal handler. (The
    relay of a subscription that is somebody else's ends within half a second.)
    """
    global _ending
    _ending = True
    # Waking takes locks, which whoever was interrupted by the signal may hold: on another thread.
    # One that can't be started is no harm: relays look twice a second by themselves.
    _start(_wake_all)


def _wake_all() -> None:
    for feed in list(_open.values()):
        feed.wake()


def end_relays_on_sigterm() -> None:
    """Calls `end_relays` at SIGTERM, then what was done at SIGTERM before. On the main thread.

    For gunicorn's `post_worker_init`: a worker that is told to stop waits for its open responses.
    For SIGINT and SIGQUIT gunicorn has a hook of its own: let `worker_int` call `end_relays`.
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
