"""What waits to be sent to one browser, and how far that browser has read.

The callbacks of a subscription fill a feed, and never block there. The thread that writes to the
browser empties it.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode

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
from ._source import Source, has_streams, upstream_of

# A browser for which this many parts wait is cut off: they must be kept, as none may be left out.
MAX_WAITING_PARTS = 2_000
# Parts in one event: keeps the first event of a long stream from being a huge one.
MAX_PARTS_IN_EVENT = 256
# Seconds between two looks at the state of the subscription; the first look after a run finished
# comes much sooner, since the subscription has then probably ended.
LOOK_SECONDS = 0.5
FIRST_LOOK_SECONDS = 0.01
# Seconds between two looks at the news of a subscription that is not the relay's own, where nobody
# can wait for them.
POLL_SECONDS = 0.05
# Characters of a `Last-Event-ID`: browsers send it as a header, whose length servers limit.
MAX_LAST_EVENT_ID = 4_000

Stream = tuple[str, ...]


@attrs.frozen
class PartsEvent:
    """Consecutive parts of one stream.

    Attributes:
        stream: the stream's key; with many runs, the run's id before it.
        index: index of the first part, counted from where the stream was begun to be read.
        parts: themselves.
        missed: how many parts before these the browser has not got, and never will: they were
            dropped before it came.
        last_event_id: the browser's position after these parts.
    """

    stream: Stream
    index: int
    parts: list[Any]
    missed: int
    last_event_id: str


# Bytes are the event for a run, which is made already.
News = Run[Any, Any] | PartsEvent | bytes
Prepare = Callable[[Run[Any, Any]], bytes]


def _do_nothing() -> None:
    pass


class Position:
    """Up to which part of each stream a browser has come. Its text is the id of an event.

    Args:
        last_event_id: the text that the browser sent. Whatever is not a count in it is ignored.
    """

    def __init__(self, last_event_id: str | None = None) -> None:
        self.counts: dict[Stream, int] = dict(_counts_in(last_event_id or ""))

    def __str__(self) -> str:
        text = urlencode({_name_of(stream): count for stream, count in self.counts.items()})
        # Without an id the browser starts over: the index in each event shows what is repeated.
        return text if len(text) <= MAX_LAST_EVENT_ID else ""

    def of(self, stream: Stream) -> int:
        """Return the index after the last part that the browser has."""
        return self.counts.get(stream, 0)

    def event(self, stream: Stream, index: int, parts: list[Any]) -> PartsEvent:
        """Move on behind these parts, and return the event that tells them."""
        missed = max(0, index - self.of(stream))
        self.counts[stream] = index + len(parts)
        return PartsEvent(stream, index, parts, missed, str(self))


def _counts_in(text: str) -> Iterator[tuple[Stream, int]]:
    if len(text) > MAX_LAST_EVENT_ID:
        return
    for name, count in parse_qsl(text):
        if count.isascii() and count.isdigit() and len(count) < 16:
            yield tuple(map(unquote, name.split("/", 1))), int(count)


def _name_of(stream: Stream) -> str:
    # A key may hold the slash that stands between a run and a key.
    return "/".join(quote(one, safe="") for one in stream)


class BrowserFeed(Protocol):
    """News for one browser."""

    error: TriggerRealtimeError | None
    # Called on any thread when there is news, or the end.
    on_news: Callable[[], None]

    @property
    def upstream(self) -> Hashable:
        """What tells the subscription from others; the same for feeds that share one."""

    @property
    def state(self) -> State:
        """The state of the subscription. Once it has ended, no more news is added."""

    def take(self, seconds: float) -> list[News]:
        """Wait for news. Returns nothing after this many seconds, or when `wake` is called."""

    def seconds_to_look(self) -> float:
        """Return the seconds after which `take` may find what `on_news` does not tell."""

    def wake(self) -> None:
        """Make a thread that waits in `take` return."""

    def close(self) -> None:
        """Stop: the browser is gone."""


class OwnFeed:
    """News of a subscription that this browser's relay made, or joined, and cancels.

    Waiting states of a run coalesce to the latest. A browser for which 2,000 parts wait is cut off:
    it is sent those, and the subscription is given back at once. It continues from its position
    when it connects again.
    """

    def __init__(
        self,
        source: Callable[..., Subscription],
        position: Position,
        on_cut: Callable[[], None] = _do_nothing,
        prepare: Prepare | None = None,
    ) -> None:
        # What `take` waits with. A worker may serve the browser on its main thread, where a signal
        # handler may raise at any moment: a `Condition` does not survive that.
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()
        # Protects everything below but the subscription.
        self._lock = threading.Lock()
        self._runs: dict[str, Run[Any, Any] | bytes] = {}
        # With the index of each.
        self._parts: dict[Stream, deque[tuple[int, Any]]] = {}
        # The index after the last part that came, and after the last one that was taken in.
        self._seen: dict[Stream, int] = {}
        self._next: dict[Stream, int] = {}
        self._position = position
        self._waiting = 0
        self._cut_off = False
        self._finished_at = -math.inf
        self.error: TriggerRealtimeError | None = None
        callbacks: dict[str, Callable[..., None]] = {
            "on_update": self.on_update,
            "on_complete": self.on_complete,
            "on_error": self.on_error,
        }
        if has_streams(source):
            callbacks["on_stream"] = self.on_stream
        self._on_cut = on_cut
        self._prepare = prepare
        self.on_news = _do_nothing
        self._upstream = upstream_of(source)
        self._subscription = source(**callbacks)
        if self._cut_off:
            # Before there was anything to cancel.
            self._subscription.cancel()

    @property
    def upstream(self) -> Hashable:
        return self._upstream or id(self._subscription)

    @property
    def state(self) -> State:
        if self._cut_off and not self._waiting:
            return State.CANCELLED
        return self._subscription.state

    def take(self, seconds: float) -> list[News]:
        if not self._runs and not self._waiting:
            with suppress(queue.Empty):
                self._rings.get(timeout=min(seconds, self._next_look()))
        with self._lock:
            self._forget_rings()
            news: list[News] = list(self._runs.values())
            self._runs.clear()
            for stream in list(self._parts):
                news.append(self._take_parts(stream))
        return news

    def wake(self) -> None:
        self._ring()

    def close(self) -> None:
        self._subscription.cancel()

    def on_update(self, run: Run[Any, Any]) -> None:
        news = self._prepared(run)
        with self._lock:
            self._runs[run.id] = news
        self._ring()

    def _prepared(self, run: Run[Any, Any]) -> Run[Any, Any] | bytes:
        if self._prepare is None:
            return run
        try:
            return self._prepare(run)
        except Exception:  # noqa: BLE001
            # It raises again where the event is made, for whoever reads the body.
            return run

    def on_stream(self, *stream_and_parts: Any) -> None:
        *names, parts = stream_and_parts
        stream = tuple(names)
        with self._lock:
            # A source of the application's own may pass plain lists: those are counted.
            first = getattr(parts, "first_index", self._seen.get(stream, 0))
            self._seen[stream] = first + len(parts)
            wanted = self._next.get(stream, self._position.of(stream))
            new = [(n, part) for n, part in enumerate(parts, first) if n >= wanted]
            was_cut_off = self._cut_off
            self._cut_off = was_cut_off or self._waiting >= MAX_WAITING_PARTS
            if new and not self._cut_off:
                self._next[stream] = new[-1][0] + 1
                self._parts.setdefault(stream, deque()).extend(new)
                self._waiting += len(new)
            self._ring()
        if self._cut_off and not was_cut_off:
            self._cut()

    def _cut(self) -> None:
        """Give the subscription back at once: the thread that writes may be blocked for long."""
        self._on_cut()
        subscription = getattr(self, "_subscription", None)
        # None: it is just being made, and cancelled then.
        if subscription is not None:
            subscription.cancel()

    def on_complete(self, run: Run[Any, Any]) -> None:
        self._look_soon()

    def on_error(self, error: TriggerRealtimeError) -> None:
        if error.terminal:
            self.error = error
            self._look_soon()

    def _look_soon(self) -> None:
        """Look at the state again soon: it changes right after the last callback."""
        with self._lock:
            self._finished_at = time.monotonic()
        self._ring()

    def _ring(self) -> None:
        if self._rings.empty():
            self._rings.put(None)
            self.on_news()

    def _forget_rings(self) -> None:
        while not self._rings.empty():
            self._rings.get_nowait()

    def seconds_to_look(self) -> float:
        return min(LOOK_SECONDS, self._next_look())

    def _next_look(self) -> float:
        """Return the seconds until the next look at the state, which double with each look.

        Most subscriptions to a tag go on after a run has finished.
        """
        return max(FIRST_LOOK_SECONDS, time.monotonic() - self._finished_at)

    def _take_parts(self, stream: Stream) -> PartsEvent:
        waiting = self._parts[stream]
        index, part = waiting.popleft()
        parts = [part]
        while waiting and len(parts) < MAX_PARTS_IN_EVENT and waiting[0][0] == index + len(parts):
            parts.append(waiting.popleft()[1])
        if not waiting:
            del self._parts[stream]
        self._waiting -= len(parts)
        return self._position.event(stream, index, parts)


class BorrowedFeed:
    """News of a subscription that the application owns, and that outlives the browser's visit.

    States of a run coalesce. A browser that is slow to take parts makes the reading of the stream
    wait.
    """

    def __init__(self, subscription: Subscription, position: Position, patience: float) -> None:
        if not isinstance(subscription, RunSubscription | RunsSubscription | StreamSubscription):
            raise TypeError(f"can't relay a {type(subscription).__name__}")
        self._subscription = subscription
        self._updates = subscription.updates(timeout=patience)
        self._position = position
        # Since the iterator is there, nothing is dropped: it has all that is kept still to take.
        is_stream = isinstance(subscription, StreamSubscription)
        self._seen = subscription.dropped_parts if is_stream else 0
        self._ended = False
        self.on_news = _do_nothing
        self.error: TriggerRealtimeError | None = None

    @property
    def upstream(self) -> Hashable:
        return id(self._subscription)

    @property
    def state(self) -> State:
        if not self._ended:
            return State.LIVE
        state = self._subscription.state
        return state if state in (State.CANCELLED, State.FAILED) else State.COMPLETED

    def take(self, seconds: float) -> list[News]:
        try:
            return self._news(next(self._updates))
        except WaitTimeout:
            pass
        except StopIteration:
            self._ended = True
        except TriggerRealtimeError as error:
            self.error = error
            self._ended = True
        return []

    def seconds_to_look(self) -> float:
        return POLL_SECONDS

    def wake(self) -> None:
        """`take` returns twice a second by itself."""
        self.on_news()

    def close(self) -> None:
        self._updates.close()

    def _news(self, item: Any) -> list[News]:
        if not isinstance(self._subscription, StreamSubscription):
            return [item]
        index, stream = self._seen, ("parts",)
        self._seen += 1
        if index < self._position.of(stream):
            return []
        return [self._position.event(stream, index, [item])]


def feed_of(
    source: Source,
    position: Position,
    patience: float,
    *,
    on_cut: Callable[[], None] = _do_nothing,
    prepare: Prepare | None = None,
) -> BrowserFeed:
    """Return the feed of a source.

    Args:
        source: what to relay. It is called, unless it is a subscription.
        position: where the browser is; the feed moves it on.
        patience: seconds after which `take` of a borrowed feed returns nothing.
        on_cut: called when the browser is too slow, and is cut off.
        prepare: makes the event for a run, on the thread of the callback. Without it the feed gives
            the run itself.
    """
    if isinstance(source, Subscription):
        return BorrowedFeed(source, position, patience)
    return OwnFeed(source, position, on_cut, prepare)
