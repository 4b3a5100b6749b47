"""A server of canned answers to calls: triggers, batches and their items.

It answers before it has understood: a request is its path and the end of its body. One thread with
an epoll of its own, so that it takes a small part of what any client takes for a call. The headers
of an answer are those of a real one.

    python calls.py        the first line of output is its URL

This file imports nothing but the standard library.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
from typing import Any

READ = 1 << 20
# As long as a real one's.
TOKEN = f"eyJhbGciOiJIUzI1NiJ9.{'x' * 280}.{'y' * 43}"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
# JSON has no line end of two bytes, so this is the last chunk wherever it stands.
LAST_CHUNK = b"\r\n0\r\n\r\n"


def answer(status: str, document: dict[str, Any], *headers: str) -> bytes:
    body = json.dumps(document, separators=(",", ":")).encode()
    lines = [
        f"HTTP/1.1 {status}",
        "content-type: application/json; charset=utf-8",
        f"content-length: {len(body)}",
        "date: Mon, 23 Nov 2026 14:20:20 GMT",
        "connection: keep-alive",
        "keep-alive: timeout=5",
        "x-powered-by: Express",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def with_token(kind: str, known_as: str) -> tuple[str, str]:
    claims = {
        "sub": "cmenv0000000000000000test",
        "pub": True,
        "scopes": [f"read:{kind}:{known_as}"],
    }
    return f"x-trigger-jwt-claims: {json.dumps(claims)}", f"x-trigger-jwt: {TOKEN}"


RUN, BATCH = "run_cmi9q00000000v8kq3z1tw7dx", "batch_cmi9q00000000v8kq3z1tw7dx"
TRIGGERED = answer("200 OK", {"id": RUN, "isCached": False}, *with_token("runs", RUN))


def created(body: bytes) -> bytes:
    count = json.loads(body)["runCount"]
    made = {"id": BATCH, "runCount": count, "isCached": False}
    return answer("202 Accepted", made, *with_token("batch", BATCH))


def sealed(body: bytes) -> bytes:
    # One without items is not sealed, and so no client takes it for triggered.
    count = body.count(b'{"index":')
    facts = {"itemsAccepted": count, "itemsDeduplicated": 0, "sealed": count > 0}
    return answer("200 OK", {"id": BATCH, **facts, "runCount": count})


def answered(target: bytes, body: bytes) -> bytes:
    if target.endswith(b"/trigger"):
        return TRIGGERED
    if target.endswith(b"/items"):
        return sealed(body)
    if target.endswith(b"/batches"):
        return created(body)
    return answer("404 Not Found", {"error": "Not found"})


def end_of(request: bytearray) -> tuple[int, int] | None:
    """Where the body of the first request begins and ends; None as long as it does not."""
    start = request.find(b"\r\n\r\n") + 4
    if start < 4:
        return None
    length = LENGTH.search(request, 0, start)
    if length is not None:
        end = start + int(length[1])
        return (start, end) if len(request) >= end else None
    if CHUNKED.search(request, 0, start) is None:
        return start, start
    last = request.find(LAST_CHUNK, max(start - 2, len(request) - READ - len(LAST_CHUNK)))
    return None if last < 0 else (start, last + len(LAST_CHUNK))


def serve(listener: socket.socket) -> None:
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, tuple[socket.socket, bytearray]] = {}
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poll.register(connection.fileno(), select.EPOLLIN)
                connections[connection.fileno()] = connection, bytearray()
            elif not take(*connections[number]):
                poll.unregister(number)
                connections.pop(number)[0].close()


def take(connection: socket.socket, request: bytearray) -> bool:
    """Answer what is whole of what has arrived; False at the end of the connection."""
    try:
        data = connection.recv(READ)
        request += data
        while (place := end_of(request)) is not None:
            start, end = place
            target = request.split(b" ", 2)[1]
            connection.sendall(answered(bytes(target), bytes(request[start:end])))
            del request[:end]
    except OSError:
        return False
    return bool(data)


def main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        serve(listener)


if __name__ == "__main__":
    main()
