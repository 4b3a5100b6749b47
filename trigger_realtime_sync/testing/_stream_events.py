"""Streams as Server-Sent Events, in the two formats of v1 and v2 (docs/protocol.md, section 4)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

import attrs

from ._http_server import ExchangeEnded, HttpExchange
from ._observer import Observer, RecordedRequest
from ._replies import Reply, not_found, to_json
from ._store import Store, Waiter
from ._stream_logs import EntryId, S2Record, StreamLogs, StreamName, subject_of

_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache"}
# Seconds: the largest `Timeout-Seconds` that the server accepts.
_MAX_TIMEOUT = 600
# Seconds until a v1 server breaks off a body that it can't read from Redis.
_CUT_AFTER = 3.0
# Bytes of v1 events that are collected before they are sent.
_SEND_BYTES = 65536


@attrs.frozen
class StreamEvents:
    """Serves the streams of one server.

    Args:
        idle: seconds without a part after which a stream is closed.
        ping_interval: seconds between keep-alives.
        honours_start: obey `X-Trigger-Stream-Start`.
    """

    logs: StreamLogs
    store: Store
    observer: Observer
    idle: float
    ping_interval: float
    honours_start: bool

    def find(self, request: RecordedRequest) -> StreamName:
        """Return the stream that the request names.

        Raises:
            Refused: there is no such run.
        """
        run_id, key = request.segments[-2:]
        if self.store.get(run_id) is None:
            raise not_found(retry=False)
        return run_id, key

    def serve(self, exchange: HttpExchange, stream: StreamName) -> Reply | None:
        """Send events until the stream is idle for too long. Return the refusal, if it is one."""
        headers = exchange.request.headers
        idle = _idle_seconds(headers.get("timeout-seconds"), self.idle, self.logs.version)
        if idle is None:
            text = f"Timeout-Seconds must be between 1 and {_MAX_TIMEOUT}".encode()
            return Reply(400, {"content-type": "text/plain; charset=utf-8"}, text)
        last_event_id = headers.get("last-event-id", "")
        start = headers.get("x-trigger-stream-start") if self.honours_start else None
        latest = not last_event_id and start == "latest"
        opened = (_OpenStreamV1 if self.logs.version == "v1" else _OpenStreamV2)(
            self, exchange, stream, idle
        )
        opened.run(last_event_id, latest)
        return None


def _idle_seconds(header: str | None, default: float, version: str) -> float | None:
    found = re.match(r"\s*([+-]?\d{1,9})", header or "")
    seconds = int(found[1]) if found else 0
    if seconds < 0 or seconds > _MAX_TIMEOUT:
        return None
    if found and version == "v2":
        return float(seconds)
    return float(seconds) or default


class _OpenStream:
    """One stream on its way to one client. A version says what to send, and how it ends."""

    headers = _HEADERS

    def __init__(
        self, owner: StreamEvents, exchange: HttpExchange, stream: StreamName, idle: float
    ) -> None:
        self.logs = owner.logs
        self.exchange = exchange
        self.stream = stream
        self._owner = owner
        self.idle = idle

    def run(self, last_event_id: str, latest: bool) -> None:
        self.exchange.open(self.headers)
        self.seek(last_event_id, latest)
        with self._owner.store.waiting(subject_of(self.stream)) as waiter:
            self._follow(waiter)
        self.exchange.chunk(self.ending())
        self.exchange.finish()

    def _follow(self, waiter: Waiter) -> None:
        now = time.monotonic()
        closes, pings = now + self.idle, now + self._owner.ping_interval
        while True:
            sent = False
            for data in self.news():
                self.exchange.chunk(data)
                sent = True
            now = time.monotonic()
            if sent:
                closes = now + self.idle
            if now >= closes:
                return
            if now >= pings:
                self.exchange.chunk(self.ping())
                pings = now + self._owner.ping_interval
            self._wait(waiter, min(closes, pings) - now)

    def _wait(self, waiter: Waiter, seconds: float) -> None:
        with self.exchange.watched(waiter), self._owner.observer.holding(self.exchange.request):
            self.exchange.wait(waiter, seconds)

    def seek(self, last_event_id: str, latest: bool) -> None:
        raise NotImplementedError

    def news(self) -> Iterator[bytes]:
        raise NotImplementedError

    def ping(self) -> bytes:
        raise NotImplementedError

    def ending(self) -> bytes:
        raise NotImplementedError


class _OpenStreamV1(_OpenStream):
    """Lines, put together from the entries; a line has the id of the entry that ended it."""

    after: EntryId = (0, 0)
    rest = ""

    def seek(self, last_event_id: str, latest: bool) -> None:
        if latest:
            self.after = self.logs.last_entry(self.stream)
        elif last_event_id:
            found = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", last_event_id)
            if found is None:
                self.exchange.pause(_CUT_AFTER)
                raise ExchangeEnded
            self.after = (int(found[1]), int(found[2] or 0))

    def news(self) -> Iterator[bytes]:
        ready = bytearray()
        entries = self.logs.entries(self.stream, self.after)
        for entry in entries:
            self.after = entry.id
            *lines, self.rest = (self.rest + entry.text).split("\n")
            for line in lines:
                ready += self._event(line)
            if len(ready) > _SEND_BYTES:
                yield bytes(ready)
                ready.clear()
        if entries:
            # Even without a whole line: any write keeps the stream open.
            yield bytes(ready)

    def ping(self) -> bytes:
        return b": ping\n\n"

    def ending(self) -> bytes:
        # The server sends an unfinished line as if it were whole.
        return self._event(self.rest)

    def _event(self, line: str) -> bytes:
        if not line.strip():
            return b""
        ms, number = self.after
        return f"id: {ms}-{number}\ndata: {line}\n\n".encode("utf-8", "replace")


class _OpenStreamV2(_OpenStream):
    """Batches of records, pings with the position of the tail, and `[DONE]`."""

    headers = {**_HEADERS, "x-stream-version": "v2"}  # noqa: RUF012 (never changed)
    next = 0
    count = 0
    size = 0
    at_tail = False

    def seek(self, last_event_id: str, latest: bool) -> None:
        # Digits are read up to the first other character, so an id of v1 skips every record.
        found = re.match(r"\d{1,18}", last_event_id)
        tail = self.logs.tail(self.stream)["seq_num"]
        if latest:
            self.next = tail
        elif found:
            # An id beyond the tail is clamped to it (docs/protocol.md, section 4).
            self.next = min(int(found[0]) + 1, tail)

    def news(self) -> Iterator[bytes]:
        while records := self.logs.records(self.stream, self.next):
            yield self._batch(records)
        # Asked not to wait, S2 sends no ping (docs/protocol.md, section 4).
        if not self.at_tail and self.idle > 0:
            self.at_tail = True
            # Sent here and not yielded, because a ping does not keep the stream open.
            self.exchange.chunk(self.ping())

    def _batch(self, records: Sequence[S2Record]) -> bytes:
        last = records[-1].seq_num
        self.next = last + 1
        self.count += len(records)
        self.size += sum(record.size for record in records)
        data = b'{"records":[' + b",".join(record.json for record in records) + b"]"
        tail = self.logs.tail(self.stream)
        if tail["seq_num"] == self.next:
            data += b',"tail":' + to_json(tail)
        head = f"event: batch\nid: {last},{self.count},{self.size}\n".encode()
        return head + b"data: " + data + b"}\n\n"

    def ping(self) -> bytes:
        ping = {"timestamp": int(time.time() * 1000), "tail": self.logs.tail(self.stream)}
        return b"event: ping\ndata: " + to_json(ping) + b"\n\n"

    def ending(self) -> bytes:
        return b"data: [DONE]\n\n"
