"""Collecting the parts of streams, and a server whose streams a test feeds byte by byte."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from .raw import Exchange, Hangup, RawServer
from .shape import answer, done, row
from .waiting import PATIENCE


class Parts:
    """An `on_stream`, for one run or many, that keeps all it is given."""

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
        """Those of all streams, in the order of the streams' first parts."""
        with self._changed:
            return [part for parts in self._streams.values() for part in parts]

    @property
    def by_stream(self) -> dict[Any, list[Any]]:
        with self._changed:
            return {key: list(parts) for key, parts in self._streams.items()}

    def wait(self, count: int, seconds: float = PATIENCE) -> list[Any]:
        """Blocks until so many parts came."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count() >= count, seconds):
                raise AssertionError(f"{self._count()} of {count} parts within {seconds} s")
        return self.all

    def _count(self) -> int:
        return sum(map(len, self._streams.values()))


class FedServer:
    """A run whose streams are answered by the test: `next_stream()` gives each request."""

    def __init__(self) -> None:
        self.finished = threading.Event()
        self._changed = threading.Condition()
        self._asked: queue.Queue[Exchange] = queue.Queue()
        self._closed = threading.Event()
        self.raw = RawServer(self._handle)

    @property
    def url(self) -> str:
        return self.raw.url

    def next_stream(self, seconds: float = PATIENCE) -> Exchange:
        """The next request for a stream, to be answered by hand. `close_stream` ends it."""
        return self._asked.get(timeout=seconds)

    def finish(self) -> None:
        """The run has finished."""
        with self._changed:
            self.finished.set()
            self._changed.notify_all()

    @contextlib.contextmanager
    def running(self) -> Iterator[FedServer]:
        with self.raw:
            try:
                yield self
            finally:
                self._closed.set()
                self.finish()

    def _handle(self, exchange: Exchange) -> None:
        if "/streams/" in exchange.path:
            over = exchange.over = threading.Event()  # type: ignore[attr-defined]
            self._asked.put(exchange)
            while not over.wait(0.02) and not self._closed.is_set():
                pass
            if getattr(exchange, "keep", False):
                return
            raise Hangup
        self._answer_run(exchange)

    def _answer_run(self, exchange: Exchange) -> None:
        if exchange.live:
            with self._changed:
                self._changed.wait_for(self.finished.is_set, 20)
            if self._closed.is_set():
                raise Hangup
        value = done() if self.finished.is_set() else row()
        answer(exchange, value, offset=f"{exchange.index + 1}_1")


def head(version: str | None = "v2", **more: str) -> bytes:
    """The head of an answer that is a stream; underscores in names become hyphens."""
    lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream"]
    if version is not None:
        lines.append(f"x-stream-version: {version}")
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def frame(version: str, n: int) -> bytes:
    """Part number `n` of a stream: `[n]`, which is certain to be whole as soon as it is there."""
    if version == "v1":
        return f"id: 1795414755{n:03d}-0\ndata: [{n}]\n\n".encode()
    body = json.dumps({"data": [n], "id": f"i{n}"})
    batch = json.dumps({"records": [{"seq_num": n, "timestamp": 1, "body": body}]})
    return f"event: batch\nid: {n},1,9\ndata: {batch}\n\n".encode()


def numbers(count: int) -> list[list[int]]:
    """The parts of so many frames."""
    return [[n] for n in range(count)]


def end_exchange(exchange: Exchange, *, keep: bool = False) -> None:
    """Closes the connection of an answer, or goes on with its next request."""
    exchange.keep = keep  # type: ignore[attr-defined]
    exchange.over.set()  # type: ignore[attr-defined]
