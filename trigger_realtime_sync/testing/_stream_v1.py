"""Bodies of v1 streams: what the server reads from Redis (docs/protocol.md, section 4)."""

from __future__ import annotations

import re
import threading
from collections import deque

from .._clock import monotonic
from ._http_server import ExchangeEnded
from ._redis_log import END_OF_STREAM, EntryId, RedisEntry
from ._store import Waiter
from ._stream_body import StreamRequest
from ._stream_logs import subject_of

_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache"}
# Seconds until the server breaks off a body that it can't read from Redis.
_CUT_AFTER = 3.0
# Seconds that a sender waits for its reader, which wakes it: only so that the wait is bounded.
_LONG = 3600.0


class StreamV1:
    """One v1 stream on its way to one client: its events go out as fast as the client takes them.

    The reader on the other side does not wait for the client.
    """

    def __init__(self, request: StreamRequest) -> None:
        self._request = request
        self._exchange = request.exchange

    def run(self) -> None:
        self._exchange.open(_HEADERS)
        ready = Waiter()
        reader = _Reader(self._request, self._start(), ready)
        reader.start()
        try:
            while (data := reader.take()) is not None:
                if data:
                    self._exchange.chunk(data)
                else:
                    self._request.wait(ready, _LONG)
        finally:
            reader.stop()
        self._exchange.finish()

    def _start(self) -> EntryId:
        last_event_id = self._request.last_event_id
        if self._request.latest:
            return self._request.logs.redis(self._request.stream).last_id()
        if not last_event_id or not self._request.options.ids:
            return (0, 0)
        found = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", last_event_id)
        if found is None:
            # Redis refuses it three times; the head is long gone by then.
            self._exchange.pause(_CUT_AFTER)
            raise ExchangeEnded
        return int(found[1]), int(found[2] or 0)


class _Reader:
    """Reads the entries of one stream, on a thread of its own, into events that wait to be sent.

    It looks at its clock when an XREAD has returned, each of which blocks for the step. Pings and
    the end count from the last entry that it read itself, whatever the client has received.
    """

    def __init__(self, request: StreamRequest, after: EntryId, ready: Waiter) -> None:
        options = request.options
        self._request = request
        self._log = request.logs.redis(request.stream)
        self._after = self._line_id = after
        # Neither 0 nor what is no number is a wish.
        wished = request.timeout if request.timeout and request.timeout > 0 else options.idle
        self._idle = wished if options.ids else float("inf")
        self._ping_interval = options.ping_interval if options.ids else float("inf")
        self._has_ids = options.ids
        self._step = options.step
        self._rest = ""
        self._ready = ready
        self._events: deque[bytes] = deque()
        self._ended = False
        self._stopped = False
        self._waiter: Waiter | None = None
        self._thread = threading.Thread(
            target=self._run, name="realtime-server-stream-reader", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        if self._waiter is not None:
            self._waiter.wake()

    def take(self) -> bytes | None:
        """Return what is to be sent, empty if there is nothing yet; None at the end."""
        ended = self._ended
        events = [self._events.popleft() for _ in range(len(self._events))]
        return None if ended and not events else b"".join(events)

    def _run(self) -> None:
        with self._request.store.waiting(subject_of(self._request.stream)) as self._waiter:
            self._read(self._waiter)
        # An unfinished line is sent as if it were whole.
        self._put(self._event(self._rest.strip()))
        self._ended = True
        self._ready.wake()

    def _read(self, waiter: Waiter) -> None:
        self._last_read = self._last_sent = monotonic()
        while not self._stopped:
            if monotonic() - self._last_sent >= self._ping_interval:
                self._put(b": ping\n\n")
                self._last_sent = monotonic()
            entries = self._xread(waiter)
            found = [entry for entry in entries if entry.text != END_OF_STREAM]
            if entries:
                self._after = entries[-1].id
            if found:
                self._put(b"".join(map(self._lines, found)))
                self._last_read = self._last_sent = monotonic()
            elif monotonic() - self._last_read >= self._idle:
                return
            if entries and entries[-1].text == END_OF_STREAM and not self._has_ids:
                return

    def _xread(self, waiter: Waiter) -> list[RedisEntry]:
        closes = self._last_read + self._idle
        pings = self._last_sent + self._ping_interval
        until = monotonic() + self._step if self._step else min(closes, pings)
        while True:
            entries = self._log.after(self._after)
            left = until - monotonic()
            if entries or left <= 0 or self._stopped:
                return entries
            waiter.wait(min(left, _LONG))

    def _put(self, data: bytes) -> None:
        if data:
            self._events.append(data)
            self._ready.wake()

    def _lines(self, entry: RedisEntry) -> bytes:
        self._line_id = entry.id
        *lines, self._rest = (self._rest + entry.text).split("\n")
        return b"".join(map(self._event, lines))

    def _event(self, line: str) -> bytes:
        """Return a line as an event: it has the id of the entry that ended it."""
        if not line.strip():
            return b""
        ms, number = self._line_id
        ident = f"id: {ms}-{number}\n" if self._has_ids else ""
        return f"{ident}data: {line}\n\n".encode("utf-8", "replace")
