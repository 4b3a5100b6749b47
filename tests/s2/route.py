"""The server's routes of a v2 stream and of a session's channels in front of a real S2
(docs/protocol.md, sections 4 and R9).

Runs are the test server's: what is no stream is handed on to it.
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import threading
from contextlib import closing, suppress
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from tests.chaos.proxy import Answer
from tests.s2.process import CREATING, S2, stream_name
from tests.support.raw import Exchange, Hangup, RawServer, answer_bytes
from trigger_realtime_sync.testing import RealtimeServer

JSON = {"content-type": "application/json; charset=utf-8"}
FAILED = answer_bytes(500, JSON, '{"error":"Internal Server Error"}')
ADDED = b"x-stream-version: v2\r\naccess-control-expose-headers: *\r\n"
LAST_CHUNK = b"\r\n0\r\n\r\n"
# Seconds without a byte after which a body is given up, here as by any proxy.
PATIENCE = 120.0


class Route(RawServer):
    """Answers what clients of the Realtime API ask.

    Args:
        runs: the server of the runs.
        basin: where the streams are.

    Attributes:
        cut_after: how many bytes of each body get through before it is cut; None: all.
    """

    def __init__(self, s2: S2, runs: RealtimeServer, basin: str = CREATING) -> None:
        super().__init__(self._meet)
        self._s2 = s2
        self._runs = urlsplit(runs.url)
        self._basin = basin
        self.cut_after: int | None = None
        # Protects the numbers of what was appended, by session and part id.
        self._appending = threading.Lock()
        self._appended: dict[tuple[str, str], int] = {}

    def cut(self) -> None:
        """Reset every connection now."""
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RDWR)

    def _meet(self, exchange: Exchange) -> None:
        found = re.fullmatch(r"/realtime/v1/streams/([^/]+)/([^/]+)", exchange.path)
        channel = re.fullmatch(r"/realtime/v1/sessions/(.+)/(in|out)(/append)?", exchange.path)
        if channel is not None and channel[3]:
            self._append(exchange, channel[1])
        elif channel is not None:
            self._channel(exchange, channel[1], channel[2])
        elif found is None:
            with closing(socket.create_connection((self._runs.hostname, self._runs.port))) as runs:
                self._hand_on(exchange, runs)
        else:
            self._stream(exchange, found[1], found[2])

    def _hand_on(self, exchange: Exchange, runs: socket.socket) -> None:
        runs.sendall(exchange.head + exchange.body)
        answer = Answer()
        whole = False
        while not whole:
            data = _next_bytes(exchange.sock, runs)
            whole = answer.feed(data)
            exchange.send(data)

    def _stream(self, exchange: Exchange, run_id: str, key: str) -> None:
        if (refusal := self._refusal(exchange, run_id)) is not None:
            exchange.send(refusal)
            return
        wait = _timeout(exchange.headers.get("timeout-seconds", ""))
        if (wait.isdecimal() and int(wait) > 600) or wait.startswith("-"):
            bound = "greater than 0" if wait.startswith("-") else "less than 600"
            text = {"content-type": "text/plain;charset=UTF-8"}
            exchange.send(answer_bytes(400, text, f"Timeout seconds must be {bound}"))
            return
        self._read_s2(exchange, stream_name(run_id, key), wait)

    def _append(self, exchange: Exchange, session: str) -> None:
        """Write to `in`, once for each part id."""
        key = (session, exchange.headers["x-part-id"])
        with self._appending:
            if key not in self._appended:
                envelope = {"data": exchange.body.decode(), "id": key[1]}
                record = {"body": json.dumps(envelope)}
                self._appended[key] = self._s2.append(f"sessions:{session}", "in", record)
        exchange.send(answer_bytes(200, JSON, {"ok": True, "seq": self._appended[key]}))

    def _channel(self, exchange: Exchange, session: str, io: str) -> None:
        wait = exchange.headers.get("timeout-seconds", "60")
        if not wait.isdecimal() or not 1 <= int(wait) <= 600:
            text = {"content-type": "text/plain;charset=UTF-8"}
            exchange.send(answer_bytes(400, text, "Timeout seconds must be from 1 to 600"))
            return
        self._read_s2(exchange, stream_name(f"sessions:{session}", io), wait)

    def _read_s2(self, exchange: Exchange, name: str, wait: str) -> None:
        try:
            upstream = socket.create_connection(("127.0.0.1", self._s2.port), timeout=PATIENCE)
        except OSError:
            exchange.send(FAILED)
            return
        start = _start(exchange.headers.get("last-event-id", ""))
        with closing(upstream):
            upstream.sendall(self._request(name, start, wait))
            self._relay(exchange, upstream)

    def _refusal(self, exchange: Exchange, run_id: str) -> bytes | None:
        """Return what the server of the runs says where the token is no good, or no such run is."""
        request = Request(
            f"{self._runs.geturl()}/api/v3/runs/{quote(run_id, safe='')}",
            headers={"Authorization": exchange.headers.get("authorization", "")},
        )
        try:
            urlopen(request, timeout=10).close()
        except HTTPError as error:
            with error:
                retry = {"x-should-retry": "false"} if error.code == 404 else {}
                return answer_bytes(error.code, {**JSON, **retry}, error.read())
        return None

    def _request(self, name: str, start: str, wait: str) -> bytes:
        query = f"seq_num={start}&clamp=true&wait={wait}"
        lines = [
            f"GET /v1/streams/{quote(name, safe='')}/records?{query} HTTP/1.1",
            f"Host: 127.0.0.1:{self._s2.port}",
            "Authorization: Bearer ignored",
            "Accept: text/event-stream",
            "S2-Format: raw",
            f"S2-Basin: {self._basin}",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def _relay(self, exchange: Exchange, upstream: socket.socket) -> None:
        head, body = self._read_answer(exchange, upstream)
        if not head.startswith(b"HTTP/1.1 200"):
            exchange.send(FAILED)
            return
        exchange.send(head + b"\r\n" + ADDED + b"\r\n")
        left, end = self.cut_after, b""
        while True:
            if left is not None:
                body, left = body[:left], left - len(body)
            exchange.send(body)
            if left is not None and left <= 0:
                raise Hangup
            end = (end + body)[-len(LAST_CHUNK) :]
            if end == LAST_CHUNK:
                return
            body = _next_bytes(exchange.sock, upstream)

    @staticmethod
    def _read_answer(exchange: Exchange, upstream: socket.socket) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            try:
                data += _next_bytes(exchange.sock, upstream)
            except (Hangup, OSError):
                # S2 is gone before it answered: a failure like any other.
                return b"", b""
        head, _, body = data.partition(b"\r\n\r\n")
        return head, body


def _next_bytes(client: socket.socket, upstream: socket.socket) -> bytes:
    ready, _, _ = select.select([client, upstream], [], [], PATIENCE)
    data = upstream.recv(65536) if upstream in ready else b""
    if not data:
        raise Hangup
    return data


def _timeout(header: str) -> str:
    """Return `wait` as the server makes it of the header: by `parseInt`, 60 by default."""
    found = re.match(r"\s*([+-]?\d+)", header)
    if not header:
        return "60"
    return str(int(found[1])) if found else "NaN"


def _start(last_event_id: str) -> str:
    """Return `seq_num` as the server makes it of the id: by its leading number."""
    digits = last_event_id.split("-")[0].strip()
    if not last_event_id or (digits and not digits.isdecimal()):
        return "0"
    return str(int(digits or 0) + 1)
