"""What waits for one browser, and how far the browser has come.

A feed is filled by the callbacks of a subscription, which never block here, and emptied by the
thread that answers the browser.
"""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

import attrs

from .. import (
    Run,
    RunsSubscription,
    RunSubscription,
    State,
    StreamSubscription,
    Subscription,
    TriggerRealtimeError,
    WaitTimeout,
)

# How many parts may wait for a browser before it is cut off, and how many go into one event.
MOST_WAITING = 2_000
MOST_TOGETHER = 256
# How often the subscription is looked at, in seconds; and how soon after a run has finished.
SLICE = 0.5
SHORT_SLICE = 0.01
LONGEST_CURSOR = 4_000

Source = Callable[..., Subscription] | Subscription
Stream = tuple[str, ...]


@attrs.frozen
class Parts:
    """Consecutive parts of one stream.

    Attributes:
        stream: the key; for many runs, the run's id before it.
        index: of the first, counted from the start of the subscription.
        cursor: the place after them, among all streams.
    """

    stream: Stream
    index: int
    parts: list[Any]
    cursor: str


News = Run[Any, Any] | Parts


class Cursor:
    """How many parts of each stream a browser has, as a text that stands in an event's id."""

    def __init__(self, text: str | None = None) -> None:
        self.counts: dict[Stream, int] = dict(_parse_cursor(text or ""))

    def __str__(self) -> str:
        text = urlencode({"/".join(stream): count for stream, count in self.counts.items()})
        # A header holds no more. The index in each event still tells parts that come twice.
        return text if len(text) <= LONGEST_CURSOR else ""


def _parse_cursor(text: str) -> Iterator[tuple[Stream, int]]:
    """Whatever a browser sends: what is no place in a stream does not count."""
    if len(text) > LONGEST_CURSOR:
        return
    for name, count in parse_qsl(text):
        if count.isascii() and count.isdigit() and len(count) < 16:
            yield tuple(name.split("/", 1)), int(count)


class AnyFeed(Protocol):
    """News for one browser."""

    error: TriggerRealtimeError | None

    @property
    def state(self) -> State:
        """Of the subscription. Once it has ended, no more news come in."""

    def take(self, seconds: float) -> list[News]:
        """What is new, or nothing after this time, or when it is woken."""

    def wake(self) -> None:
        """Whoever waits for news looks up."""

    def close(self) -> None:
        """The browser is gone."""


class Feed:
    """The news of a subscription of this browser's own: one more handle among those of its id.

    States of a run that wait coalesce to the latest. Of parts at most 2,000 wait: then the browser
    is cut off, and goes on where it was when it connects again.
    """

    def __init__(self, subscribe: Callable[..., Subscription], cursor: Cursor) -> None:
        # Protects what is below.
        self._changed = threading.Condition(threading.Lock())
        self._runs: dict[str, Run[Any, Any]] = {}
        self._parts: dict[Stream, deque[Any]] = {}
        self._seen: dict[Stream, int] = {}
        self._cursor = cursor
        self._waiting = 0
        self._cut = False
        self._finished_at = -math.inf
        self.error: TriggerRealtimeError | None = None
        self._handle = subscribe(**self._callbacks(subscribe))

    @property
    def state(self) -> State:
        state = self._handle.state
        if self._cut and not self._waiting:
            return State.CANCELLED
        return state

    def take(self, seconds: float) -> list[News]:
        with self._changed:
            if not self._runs and not self._waiting:
                self._changed.wait(min(seconds, self._patience()))
            news: list[News] = list(self._runs.values())
            self._runs.clear()
            for stream in list(self._parts):
                news.append(self._take_parts(stream))
        return news

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        self._handle.cancel()

    def on_update(self, run: Run[Any, Any]) -> None:
        with self._changed:
            self._runs[run.id] = run
            self._changed.notify_all()

    def on_stream(self, *stream_and_parts: Any) -> None:
        *names, parts = stream_and_parts
        stream = tuple(names)
        with self._changed:
            seen = self._seen.get(stream, 0)
            self._seen[stream] = seen + len(parts)
            new = parts[max(0, self._cursor.counts.get(stream, 0) - seen) :]
            self._cut = self._cut or self._waiting >= MOST_WAITING
            if new and not self._cut:
                self._parts.setdefault(stream, deque()).extend(new)
                self._waiting += len(new)
                self._changed.notify_all()

    def on_complete(self, run: Run[Any, Any]) -> None:
        self._look_soon()

    def on_error(self, error: TriggerRealtimeError) -> None:
        if error.terminal:
            self.error = error
            self._look_soon()

    def _callbacks(self, subscribe: Callable[..., Subscription]) -> dict[str, Callable[..., None]]:
        callbacks: dict[str, Callable[..., None]] = {
            "on_update": self.on_update,
            "on_complete": self.on_complete,
            "on_error": self.on_error,
        }
        if "on_stream" in inspect.signature(subscribe).parameters:
            callbacks["on_stream"] = self.on_stream
        return callbacks

    def _look_soon(self) -> None:
        """The state of a subscription changes right after its last callback."""
        with self._changed:
            self._finished_at = time.monotonic()
            self._changed.notify_all()

    def _patience(self) -> float:
        """Doubles with each look: most subscriptions of a tag go on when a run has finished."""
        return max(SHORT_SLICE, time.monotonic() - self._finished_at)

    def _take_parts(self, stream: Stream) -> Parts:
        waiting = self._parts[stream]
        parts = [waiting.popleft() for _ in range(min(MOST_TOGETHER, len(waiting)))]
        if not waiting:
            del self._parts[stream]
        self._waiting -= len(parts)
        index = self._cursor.counts.get(stream, 0)
        self._cursor.counts[stream] = index + len(parts)
        return Parts(stream, index, parts, str(self._cursor))


class BorrowedFeed:
    """The news of somebody else's subscription, which goes on when the browser is gone.

    States of a run coalesce. A browser that is slow to take parts holds their server back.
    """

    def __init__(self, subscription: Subscription, cursor: Cursor, patience: float) -> None:
        if not isinstance(subscription, RunSubscription | RunsSubscription | StreamSubscription):
            raise TypeError(f"can't relay a {type(subscription).__name__}")
        self._handle = subscription
        self._updates = subscription.updates(timeout=patience)
        self._cursor = cursor
        self._seen = 0
        self._over = False
        self.error: TriggerRealtimeError | None = None

    @property
    def state(self) -> State:
        if not self._over:
            return State.LIVE
        state = self._handle.state
        return state if state in (State.CANCELLED, State.FAILED) else State.COMPLETED

    def take(self, seconds: float) -> list[News]:
        try:
            return self._news(next(self._updates))
        except WaitTimeout:
            pass
        except StopIteration:
            self._over = True
        except TriggerRealtimeError as error:
            self.error = error
            self._over = True
        return []

    def wake(self) -> None:
        """It looks up twice a second by itself."""

    def close(self) -> None:
        self._updates.close()

    def _news(self, item: Any) -> list[News]:
        if not isinstance(self._handle, StreamSubscription):
            return [item]
        index, stream = self._seen, ("parts",)
        self._seen += 1
        if index < self._cursor.counts.get(stream, 0):
            return []
        self._cursor.counts[stream] = self._seen
        return [Parts(stream, index, [item], str(self._cursor))]


def feed_of(source: Source, cursor: Cursor, patience: float) -> AnyFeed:
    """Subscribes, or borrows the subscription."""
    if isinstance(source, Subscription):
        return BorrowedFeed(source, cursor, patience)
    return Feed(source, cursor)
