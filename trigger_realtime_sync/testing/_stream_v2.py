"""Bodies of v2 streams: what S2 sends, handed on by the server (docs/protocol.md, section 4)."""

from __future__ import annotations

import math
import random
import re
import time

from .._clock import monotonic
from ._http_server import ExchangeEnded
from ._replies import Reply, json_reply, to_json
from ._s2_log import S2Batch
from ._store import Waiter
from ._stream_body import StreamRequest
from ._stream_logs import subject_of

_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-stream-version": "v2",
    "access-control-expose-headers": "*",
}
_MISSING_IN_ACTION = {"code": "unavailable", "message": "streamer missing in action"}
# The largest number that S2 takes for a record's.
_LARGEST = 2**64 - 1
# JavaScript writes larger numbers with an exponent, which S2 refuses.
_LARGEST_WRITTEN_OUT = 10**21
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class _Errored(Exception):
    """S2 ended the body with an error."""


class StreamV2:
    """One v2 stream on its way to one client.

    S2 reads the backlog up to the tail that it saw first, looks at the tail again, and follows once
    there is nothing in between: only then it sends a ping, and names the tail in its batches. The
    wait for more starts anew with each batch, not with a ping. A wait of 0 ends at the tail.
    """

    def __init__(self, request: StreamRequest) -> None:
        self._request = request
        self._exchange = request.exchange
        self._options = request.options
        timeout = request.timeout
        self._idle = request.options.idle if timeout is None else timeout
        self._count = 0
        self._size = 0
        self._closes: float | None = None

    def run(self) -> Reply | None:
        """Send the events. Return the refusal instead, if S2 refuses the request.

        S2's own status never arrives: the server answers every failure of it with a 500.
        """
        start = _start(self._request.last_event_id)
        logs, stream = self._request.logs, self._request.stream
        exists = self._options.creates_streams or logs.has_s2(stream)
        if math.isnan(self._idle) or start is None or not exists or not logs.storage_is_up:
            return json_reply(500, {"error": "Internal Server Error"})
        self._log = logs.s2(stream)
        self._lease = self._log.lease()
        self._tail = self._log.tail()
        # An id beyond the tail is clamped to it.
        self._next = min(_LARGEST if self._request.latest else start, self._tail["seq_num"])
        self._exchange.open({**_HEADERS, **self._request.more_headers})
        with self._request.store.waiting(subject_of(stream)) as waiter:
            try:
                while self._catch_up() and self._follow(waiter):
                    pass
                self._exchange.chunk(b"data: [DONE]\n\n")
            except _Errored:
                self._send("error", _MISSING_IN_ACTION)
        self._exchange.finish()
        return None

    def _catch_up(self) -> bool:
        """Send the backlog. Return False if the time was up before anything could be followed."""
        while self._next < self._tail["seq_num"]:
            self._check_lease()
            batch = self._log.backlog(self._next, self._tail["seq_num"])
            if batch is None:
                self._next = self._tail["seq_num"]
            else:
                self._send_batch(batch)
            if self._next == self._tail["seq_num"]:
                self._tail = self._log.tail()
        if self._closes is None:
            self._closes = monotonic() + self._idle
        return monotonic() < self._closes

    def _follow(self, waiter: Waiter) -> bool:
        """Send what is written. Return False if it took too long, True if it was too fast."""
        assert self._closes is not None
        self._send_ping()
        pings = self._next_ping()
        while True:
            self._check_lease()
            if self._log.is_lagging(self._next):
                self._tail = self._log.tail()
                return True
            batch = self._log.followed(self._next)
            now = monotonic()
            if batch is not None:
                self._tail = dict(batch.tail or {})
                self._send_batch(batch)
                pings = self._next_ping()
            elif self._lease.ending == "error":
                raise _Errored
            elif now >= pings:
                self._send_ping()
                pings = self._next_ping()
            elif now >= self._closes:
                return False
            else:
                self._request.wait(waiter, min(self._closes, pings) - now)

    def _check_lease(self) -> None:
        if self._lease.ending == "cut":
            raise ExchangeEnded

    def _next_ping(self) -> float:
        # Between 5 and 15 s after the last event, by S2's own dice.
        return monotonic() + random.uniform(0.5, 1.5) * self._options.ping_interval

    def _send_batch(self, batch: S2Batch) -> None:
        last = batch.records[-1].seq_num
        self._next = last + 1
        self._count += len(batch.records)
        self._size += sum(record.size for record in batch.records)
        data = b'{"records":[' + b",".join(record.json for record in batch.records) + b"]"
        if batch.tail is not None:
            data += b',"tail":' + to_json(batch.tail)
        head = f"event: batch\nid: {last},{self._count},{self._size}\n".encode()
        self._exchange.chunk(head + b"data: " + data + b"}\n\n")
        self._closes = monotonic() + self._idle

    def _send_ping(self) -> None:
        ping: dict[str, object] = {"timestamp": int(time.time() * 1000)}
        if self._options.ping_tail:
            ping["tail"] = self._tail
        self._send("ping", ping)

    def _send(self, event: str, value: object) -> None:
        self._exchange.chunk(f"event: {event}\ndata: ".encode() + to_json(value) + b"\n\n")


def _start(last_event_id: str) -> int | None:
    """Return the first record's number as the server reads it from an id; None if S2 refuses it.

    The server takes what stands before the first hyphen for a number, as JavaScript does, and the
    beginning where it is none. So an id of v1 skips every record.
    """
    if not last_event_id:
        return 0
    text = last_event_id.split("-")[0].strip()
    if text and not _NUMBER.fullmatch(text):
        return 0
    # Numbers of JavaScript are floats; an empty text is 0.
    number = float(text or 0)
    if math.isinf(number) or number < 0:
        return 0
    start = int(number) + 1
    refused = number != int(number) or start >= _LARGEST_WRITTEN_OUT or start > _LARGEST
    return None if refused else start
