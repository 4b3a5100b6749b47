"""A proxy of raw sockets that does to requests and answers what networks do."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import attrs

from tests.chaos.faults import REFUSED_UNHEARD, RETRY_AFTER, UNREADABLE, Buffering, Fault, Plan
from tests.support.clocks import DOUBT_SECONDS
from tests.support.raw import Exchange, Hangup, RawServer
from trigger_realtime_sync._wire.names import CACHE_BUSTER

STATUS_TEXT = (
    b"HTTP/1.1 %d Something\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s"
)
LONGEST_STALL = 5.0
# Seconds; no older answer comes from the cache: a part of those in which it is not believed.
OLDEST_STALE = 0.4 * DOUBT_SECONDS


@attrs.frozen
class Seen:
    """A request, as it arrived."""

    at: float
    target: str
    fault: Fault


class Answer:
    """Finds the end of an answer in its bytes."""

    def __init__(self) -> None:
        self.data = b""
        self._length: int | None = None
        self._chunked = False

    def feed(self, data: bytes) -> bool:
        """Return True if the answer is whole now."""
        self.data += data
        if self._length is None and not self._chunked and not self._read_head():
            return False
        if self._chunked:
            return self.data.endswith(b"\r\n0\r\n\r\n")
        return self._length is not None and len(self.data) >= self._length

    def _read_head(self) -> bool:
        head, end, _ = self.data.partition(b"\r\n\r\n")
        if not end:
            return False
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        self._chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
        if not self._chunked:
            self._length = len(head) + 4 + int(fields.get(b"content-length", b"0"))
        return True

    @property
    def can_be_repeated(self) -> bool:
        return self.data.startswith(b"HTTP/1.1 200") and not self._chunked


class Proxy(RawServer):
    """Answers each request with what the upstream says, or with what the plan makes of it.

    Args:
        rotate: makes the upstream drop its shapes. A 409 that no server sent would be a lie: the
            handle that it refuses never comes back.
    """

    def __init__(
        self, upstream: str, plan: Plan | Buffering, rotate: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(self._meet)
        self._rotate = rotate
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._plan = plan
        self._earlier: dict[tuple[str, str], deque[tuple[float, bytes]]] = {}
        self.seen: list[Seen] = []
        self.tokens: set[str] = set()

    def _meet(self, exchange: Exchange) -> None:
        with closing(socket.create_connection(self._upstream)) as upstream:
            self._exchange(exchange.sock, upstream, exchange.head)

    def _exchange(self, client: socket.socket, upstream: socket.socket, head: bytes) -> None:
        target, place, stream = self._note_token_and_target(head)
        fault = self._plan.next(target, live="live=true" in place, stream=stream)
        with self._lock:
            self.seen.append(Seen(time.monotonic(), target, fault))
            earlier = self._earlier.setdefault((target, place), deque(maxlen=4))
        if fault.kind == "delay":
            time.sleep(fault.seconds)
        if fault.kind == "must-refetch":
            self._rotate()
        made_up = self._made_up(fault, earlier)
        if made_up is not None:
            is_over = fault.late and not stream and not _lose_answer(client, upstream, head)
            client.sendall(made_up)
            if is_over or not made_up.startswith(b"HTTP/1.1"):
                raise Hangup
            return
        if fault.late and not stream and fault.kind in REFUSED_UNHEARD:
            _lose_answer(client, upstream, head)
        _refuse(client, fault)
        upstream.sendall(head)
        asked = time.monotonic()
        answer = self._relay(client, upstream, fault)
        if answer.data.startswith(b"HTTP/1.1 200"):
            self._plan.accepted(target)
        if answer.can_be_repeated and not stream:
            earlier.append((asked, answer.data))

    def _note_token_and_target(self, head: bytes) -> tuple[str, str, bool]:
        """Return the target and its subscription, what a cache takes it for, and whether it is a
        stream. To a bad cache all requests for a snapshot are one, and it overlooks our
        parameter against it; but no place in a log is another one."""
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines if line)
        token = fields.get("authorization", "")
        self.tokens.add(token)
        parts = urlsplit(first.split(" ")[1])
        query = parse_qs(parts.query)
        subscriber = token.rpartition("_")[0].rpartition("_")[2]
        target = f"{subscriber}: {parts.path} {','.join(query.get('tags', []))}"
        place = "-1"
        if query.get("offset") != ["-1"]:
            place = urlencode([one for one in parse_qsl(parts.query) if one[0] != CACHE_BUSTER])
        return target, place, "/streams/" in parts.path

    def _made_up(self, fault: Fault, earlier: deque[tuple[float, bytes]]) -> bytes | None:
        kind = fault.kind
        if kind == "stale":
            now = time.monotonic()
            kept = [answer for asked, answer in earlier if now - asked < OLDEST_STALE]
            return kept[fault.at % len(kept)] if kept else None
        if kind == "not http":
            return bytes(range(fault.at % 200, 256)) * 3
        if kind in UNREADABLE:
            body = b"<html>in the way</html>" if kind == "html" else b'[{"headers": {'
            fields = b"electric-handle: x\r\nelectric-offset: 0_0\r\nelectric-cursor: 1\r\n"
            return STATUS_TEXT % (200, fields, len(body), body)
        if kind == "offset out of bounds":
            body = b'{"message": "Invalid request", "errors": {"offset": ["out of bounds"]}}'
            return STATUS_TEXT % (400, b"", len(body), body)
        if kind == "204":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        if kind.isdigit():
            fields = b"retry-after: %.2f\r\n" % RETRY_AFTER if kind in ("503", "429") else b""
            body = b'{"error": "chaos"}'
            return STATUS_TEXT % (int(kind), fields, len(body), body)
        return None

    def _relay(self, client: socket.socket, upstream: socket.socket, fault: Fault) -> Answer:
        answer = Answer()
        while True:
            data = _next_bytes(client, upstream)
            sent = len(answer.data)
            whole = answer.feed(data)
            if fault.kind in ("cut", "cut head", "half-close"):
                _cut(client, data, _where(answer, fault) - sent, fault)
            elif fault.kind == "drip":
                _drip(client, data, fault.at)
            elif fault.kind == "twice" and whole:
                # In one go: the copy is there before the connection can be used again. One that
                # came later would be the next request's answer, as HTTP/1.1 has it.
                client.sendall(data + answer.data)
            elif fault.kind == "buffer":
                # As a proxy does that hands nothing on until it has all of it.
                client.sendall(answer.data if whole else b"")
            else:
                client.sendall(data)
            if whole:
                return answer


def _next_bytes(client: socket.socket, upstream: socket.socket) -> bytes:
    ready, _, _ = select.select([client, upstream], [], [], 60)
    data = upstream.recv(65536) if ready == [upstream] else b""
    if not data:
        raise Hangup
    return data


def _lose_answer(client: socket.socket, upstream: socket.socket, head: bytes) -> bool:
    """Take an answer from the server that the client never sees. Returns False if either side
    hung up."""
    answer = Answer()
    try:
        upstream.sendall(head)
        while not answer.feed(_next_bytes(client, upstream)):
            pass
    except (Hangup, OSError):
        return False
    return True


def _refuse(client: socket.socket, fault: Fault) -> None:
    if fault.kind == "reset":
        _reset(client)
        raise Hangup
    if fault.kind == "no answer":
        raise Hangup
    if fault.kind == "stall":
        select.select([client], [], [], LONGEST_STALL)
        raise Hangup


def _where(answer: Answer, fault: Fault) -> int:
    """After which byte it is cut: within its head, or so far into its body."""
    if fault.kind == "cut head":
        return fault.at
    head = answer.data.find(b"\r\n\r\n") + 4
    return head + fault.at if head > 3 else 1 << 40


def _cut(client: socket.socket, data: bytes, left: int, fault: Fault) -> None:
    client.sendall(data[: max(0, left)])
    if len(data) < left:
        return
    if fault.kind == "half-close":
        client.shutdown(socket.SHUT_WR)
        select.select([client], [], [], LONGEST_STALL)
    elif fault.at % 2:
        _reset(client)
    raise Hangup


def _drip(client: socket.socket, data: bytes, size: int) -> None:
    for start in range(0, min(len(data), 100 * size), size):
        client.sendall(data[start : start + size])
        time.sleep(0.0005)
    client.sendall(data[100 * size :])


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Before the server says an orderly goodbye.
    sock.close()
