"""Collecting the parts of streams, and a server whose streams a test feeds byte by byte."""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import Any

from .raw import Exchange, RawServer, by_path
from .shape import answer, done, row
from .waiting import PATIENCE


class PartRecorder:
    """An `on_stream`, for one run or many, that keeps all parts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._streams: dict[Any, list[Any]] = {}
        self.batches: list[list[Any]] = []
        self.times: list[float] = []

    def __call__(self, *arguments: Any) -> None:
        *stream, parts = arguments
        with self._changed:
            assert parts, "an empty list of parts"
            self.batches.append(parts)
            self.times.append(time.monotonic())
            key = stream[0] if len(stream) == 1 else tuple(stream)
            self._streams.setdefault(key, []).extend(parts)
            self._changed.notify_all()

    @property
    def all(self) -> list[Any]:
        """The parts of all streams, in the order of the streams' first parts."""
        with self._changed:
            return [part for parts in self._streams.values() for part in parts]

    @property
    def by_stream(self) -> dict[Any, list[Any]]:
        with self._changed:
            return {key: list(parts) for key, parts in self._streams.items()}

    def wait(self, count: int, seconds: float = PATIENCE) -> list[Any]:
        """Block until at least this many parts came; return all of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count() >= count, seconds):
                raise AssertionError(f"{self._count()} of {count} parts within {seconds} s")
        return self.all

    def _count(self) -> int:
        return sum(map(len, self._streams.values()))


class FedServer(RawServer):
    """A run whose streams are answered by the test: `next_stream()` gives each request.

    Attributes:
        date: the server's clock, as its answers name it; none by default.
        gone: whether polls of the run are answered by 404, once it has finished.
    """

    def __init__(self) -> None:
        super().__init__(by_path({"/streams/": self._hand_over}, self._answer_run))
        self.date: str | None = None
        self.gone = False
        self._changed = threading.Condition()
        self._rows = [row(startedAt="2026-11-23T06:20:00.000", completedAt=None)]
        self._closed = False
        self._waiting: queue.Queue[Exchange] = queue.Queue()

    def next_stream(self, seconds: float = PATIENCE) -> Exchange:
        """Return the next request for a stream, for the test to answer and to `end()`."""
        return self._waiting.get(timeout=seconds)

    @property
    def stream_is_asked(self) -> bool:
        """Whether a request for a stream waits to be taken."""
        return not self._waiting.empty()

    def finish(self) -> None:
        """Let the run finish."""
        self.change(done())

    def change(self, value: Any) -> None:
        """Give the run another row."""
        with self._changed:
            self._rows.append(value)
            self._changed.notify_all()

    def update(self, status: str, **columns: Any) -> None:
        """Change columns of the run."""
        self.change({**self._rows[-1], **row("run_1", len(self._rows), status), **columns})

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _hand_over(self, exchange: Exchange) -> None:
        self._waiting.put(exchange)
        exchange.wait_for_end()

    def _answer_run(self, exchange: Exchange) -> None:
        seen = int(exchange.query.get("offset", "-1").split("_")[0])
        with self._changed:
            self._changed.wait_for(
                lambda: not exchange.live or len(self._rows) > seen or self.gone or self._closed, 20
            )
            value, count = self._rows[-1], len(self._rows)
        rows = [value] if count > seen else []
        if self.gone and exchange.live and not rows:
            exchange.answer(404, {}, {"error": "not found"})
            return
        more = {} if self.date is None else {"date": self.date}
        answer(*rows, offset=f"{count}_1", **more)(exchange)


def head(version: str | None = "v2", **more: str) -> bytes:
    """Return the head of a stream's answer; underscores in names become hyphens."""
    lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream"]
    if version is not None:
        lines.append(f"x-stream-version: {version}")
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def frame(version: str, n: int, part: Any = None) -> bytes:
    """Return the frame of part number `n`: `[n]`, JSON that is certainly whole once it arrived."""
    part = [n] if part is None else part
    if version == "v1":
        return f"id: {1795414755000 + n}-0\ndata: {json.dumps(part)}\n\n".encode()
    body = json.dumps({"data": part, "id": f"i{n}"})
    batch = json.dumps({"records": [{"seq_num": n, "timestamp": 1, "body": body}]})
    return f"event: batch\nid: {n},1,9\ndata: {batch}\n\n".encode()


DONE = b"data: [DONE]\n\n"


def drained(version: str, *frames: bytes) -> bytes:
    """Return an answer that proves that nothing more is in the stream: of v1, one that ends without
    parts; of v2, one that says so."""
    body = b"".join(frames) + (DONE if version == "v2" else b"")
    return head(version, content_length=str(len(body))) + body


def ping(tail: int | None = None) -> bytes:
    """Return the frame by which a v2 server says which number its next part will have; one of an
    S2 before 0.39.3 does not say it."""
    if tail is None:
        return b'event: ping\ndata: {"timestamp":1}\n\n'
    return b'event: ping\ndata: {"timestamp":1,"tail":{"seq_num":%d,"timestamp":1}}\n\n' % tail


def numbers(count: int) -> list[list[int]]:
    """Return the parts of `frame(version, 0)` to `frame(version, count - 1)`."""
    return [[n] for n in range(count)]
