"""What the bodies of both stream formats share: the request, its waits, and their options."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from ._http_server import HttpExchange
from ._observer import Observer
from ._store import Store, Waiter
from ._stream_logs import StreamLogs, StreamName

# The start of a text that JavaScript's `parseInt` reads as a number.
_INTEGER = re.compile(r"\s*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(\d+))")


@attrs.frozen
class StreamOptions:
    """How a server serves its streams.

    Attributes:
        idle: seconds without a part after which a body ends, where the request names none.
        ping_interval: seconds between keep-alives.
        honours_start: obey `X-Trigger-Stream-Start`.
        step: v1: seconds that an XREAD blocks; 0 where the clock is looked at in between.
        ids: v1: send ids, pings and an end, as servers do since 4.1.2.
        ping_tail: v2: name the tail in pings, as S2 does since 0.39.3.
        creates_streams: v2: reading creates a stream.
    """

    idle: float
    ping_interval: float
    honours_start: bool
    step: float
    ids: bool
    ping_tail: bool
    creates_streams: bool


@attrs.frozen
class StreamRequest:
    """One request for one stream.

    Attributes:
        timeout: `Timeout-Seconds` as `parseInt` reads it: None without one, NaN if it is no number.
        last_event_id: empty without one.
        latest: begin behind what is there.
        more_headers: of the answer.
    """

    exchange: HttpExchange
    stream: StreamName
    logs: StreamLogs
    store: Store
    observer: Observer
    options: StreamOptions
    timeout: float | None
    last_event_id: str
    latest: bool
    more_headers: Mapping[str, str] = attrs.field(factory=dict)

    def wait(self, waiter: Waiter, seconds: float) -> None:
        """Wait until the waiter is woken, at most `seconds`.

        Raises:
            ExchangeEnded: the client is gone, or the server stops.
        """
        with self.exchange.watched(waiter), self.observer.holding(self.exchange.request):
            self.exchange.wait(waiter, seconds)


def parse_int(text: str) -> float:
    """Return what JavaScript's `parseInt` makes of a text: NaN where it is no number."""
    found = _INTEGER.match(text)
    if found is None:
        return float("nan")
    number = int(found[2], 16) if found[2] else int(found[3])
    return float(-number if found[1] == "-" else number)
