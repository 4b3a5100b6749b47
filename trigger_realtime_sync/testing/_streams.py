"""The two formats of Server-Sent Events that streams are read in (PROTOCOL, section 4)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import attrs

from ._http_server import ExchangeEnded, HttpExchange
from ._observer import Observer
from ._store import Store, Waiter
from ._stream_logs import EntryId, Record, StreamLogs, subject_of

Triple = tuple[int, dict[str, str], bytes]

_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache"}
_MAX_TIMEOUT = 600
# How long a v1 server takes to break off a body that it can't read from Redis.
_CUT_AFTER = 3.0
_SEND_BYTES = 65536


@attrs.define
class Streams:
    """Serves the streams of one server."""

    logs: StreamLogs
    store: Store
    observer: Observer
    idle: float
    ping_interval: float
    honours_start: bool

    def serve(self, exchange: HttpExchange, run_id: str, key: str) -> Triple | None:
        """Stream to the client until it is idle for too long; or the refusal to do so."""
        request = exchange.request
        idle = _idle_seconds(request.headers.get("timeout-seconds"), self.idle)
        if idle is None:
            text = f"Timeout-Seconds must be between 1 and {_MAX_TIMEOUT}".encode()
            return 400, {"content-type": "text/plain; charset=utf-8"}, text
        last = request.headers.get("last-event-id", "")
        start = request.headers.get("x-trigger-stream-start") if self.honours_start else None
        latest = not last and start == "latest"
        reader = (_V1 if self.logs.version == "v1" else _V2)(self, exchange, run_id, key)
        reader.run(last, latest, idle)
        return None


def _idle_seconds(header: str | None, default: float) -> float | None:
    found = re.match(r"\s*([+-]?\d{1,9})", header or "")
    seconds = int(found[1]) if found else 0
    if seconds < 0 or seconds > _MAX_TIMEOUT:
        return None
    return float(seconds) or default


class _Reader:
    """One open stream. A version says what to send, and what its end looks like."""

    headers = _HEADERS

    def __init__(self, owner: Streams, exchange: HttpExchange, run_id: str, key: str) -> None:
        self.logs = owner.logs
        self.exchange = exchange
        self.where = (run_id, key)
        self._owner = owner

    def run(self, last: str, latest: bool, idle: float) -> None:
        self.exchange.open(self.headers)
        self.seek(last, latest)
        with self._owner.store.waiting(subject_of(*self.where)) as waiter:
            self._follow(waiter, idle)
        self.exchange.chunk(self.ending())
        self.exchange.finish()

    def _follow(self, waiter: Waiter, idle: float) -> None:
        now = time.monotonic()
        closes, pings = now + idle, now + self._owner.ping_interval
        while True:
            sent = False
            for data in self.news():
                self.exchange.chunk(data)
                sent = True
            now = time.monotonic()
            if sent:
                closes = now + idle
            if now >= closes:
                return
            if now >= pings:
                self.exchange.chunk(self.ping())
                pings = now + self._owner.ping_interval
            self._wait(waiter, min(closes, pings) - now)

    def _wait(self, waiter: Waiter, seconds: float) -> None:
        with self.exchange.watched(waiter), self._owner.observer.holding(self.exchange.request):
            self.exchange.wait(waiter, seconds)

    def seek(self, last: str, latest: bool) -> None:
        raise NotImplementedError

    def news(self) -> Iterator[bytes]:
        raise NotImplementedError

    def ping(self) -> bytes:
        raise NotImplementedError

    def ending(self) -> bytes:
        raise NotImplementedError


class _V1(_Reader):
    """Lines, put together from the entries; a line has the id of the entry that ended it."""

    after: EntryId = (0, 0)
    rest = ""

    def seek(self, last: str, latest: bool) -> None:
        if latest:
            self.after = self.logs.last_entry(*self.where)
        elif last:
            found = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", last)
            if found is None:
                self.exchange.pause(_CUT_AFTER)
                raise ExchangeEnded
            self.after = (int(found[1]), int(found[2] or 0))

    def news(self) -> Iterator[bytes]:
        ready = bytearray()
        entries = self.logs.entries(*self.where, self.after)
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
        # The server takes what is left for a line, finished or not.
        return self._event(self.rest)

    def _event(self, line: str) -> bytes:
        if not line.strip():
            return b""
        ms, number = self.after
        return f"id: {ms}-{number}\ndata: {line}\n\n".encode("utf-8", "replace")


class _V2(_Reader):
    """Batches of records, pings that tell the tail, and `[DONE]`."""

    headers = {**_HEADERS, "x-stream-version": "v2"}  # noqa: RUF012 (never changed)
    next = 0
    count = 0
    size = 0
    at_tail = False

    def seek(self, last: str, latest: bool) -> None:
        # A number is read as far as it goes, so an id of v1 skips everything there is.
        found = re.match(r"\d{1,18}", last)
        if latest:
            self.next = self.logs.tail(*self.where)[0]
        elif found:
            self.next = int(found[0]) + 1

    def news(self) -> Iterator[bytes]:
        while records := self.logs.records(*self.where, self.next):
            yield self._batch(records)
        if not self.at_tail:
            self.at_tail = True
            self.exchange.chunk(self.ping())

    def _batch(self, records: list[Record]) -> bytes:
        last = records[-1].seq_num
        self.next = last + 1
        self.count += len(records)
        self.size += sum(record.size for record in records)
        data = b'{"records":[' + b",".join(record.json for record in records) + b"]"
        tail, timestamp = self.logs.tail(*self.where)
        if tail == self.next:
            data += b',"tail":' + _json({"seq_num": tail, "timestamp": timestamp})
        head = f"event: batch\nid: {last},{self.count},{self.size}\n".encode()
        return head + b"data: " + data + b"}\n\n"

    def ping(self) -> bytes:
        tail, timestamp = self.logs.tail(*self.where)
        told = {"seq_num": tail, "timestamp": timestamp}
        ping = {"timestamp": int(time.time() * 1000), "tail": told}
        return b"event: ping\ndata: " + _json(ping) + b"\n\n"

    def ending(self) -> bytes:
        return b"data: [DONE]\n\n"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
