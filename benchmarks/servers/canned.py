"""A server of bytes made beforehand, so that what is measured is the client.

Which bytes is said by the run id or the tag: `v1-200000` (a stream of so many parts), `v2-200000`,
`part-1048576` (a v1 stream whose parts are that long), `rows-20000` (a snapshot). Everything named
on the command line is made before the first line of output, the URL.

A v1 part is a chunk of HTTP's own each, as the server sends it; those of `v1proxied-200000` come in
chunks of 32 KB, as a proxy in between may join them. A v2 batch, which is one event, is one chunk.

This file imports nothing but the standard library.
"""

from __future__ import annotations

import functools
import json
import re
import socketserver
import sys
from collections.abc import Iterable
from typing import Any

CHUNK = 32 * 1024
RECORDS_PER_BATCH = 1000
BIG_BYTES = 40 << 20
HELD_SECONDS = 60.0
WORDS = ("The ", "cat ", "sat ", "on ", "the ", "mat", ", ", "and ", "purr", "ed.\n")
COLUMNS = {
    "id": "text",
    "taskIdentifier": "text",
    "createdAt": "timestamp",
    "updatedAt": "timestamp",
    "startedAt": "timestamp",
    "delayUntil": "timestamp",
    "queuedAt": "timestamp",
    "expiredAt": "timestamp",
    "completedAt": "timestamp",
    "friendlyId": "text",
    "number": "int4",
    "isTest": "bool",
    "status": "text",
    "usageDurationMs": "int4",
    "costInCents": "float8",
    "baseCostInCents": "float8",
    "ttl": "text",
    "payload": "text",
    "payloadType": "text",
    "metadata": "text",
    "metadataType": "text",
    "output": "text",
    "outputType": "text",
    "runTags": "text[]",
    "error": "jsonb",
    "realtimeStreams": "text[]",
}


def token(n: int) -> dict[str, Any]:
    """One part: a token of an LLM, as the AI SDK hands it to a task."""
    return {"type": "text-delta", "id": "0", "delta": WORDS[n % len(WORDS)]}


def dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def v1_body(parts: int) -> bytes:
    events = [
        f"id: {1795414755000 + n // 3}-{n % 3}\ndata: {dump(token(n))}\n\n" for n in range(parts)
    ]
    return "".join(events).encode()


def big_v1_body(size: int) -> bytes:
    text = dump({"text": ("lorem ipsum " * (size // 12 + 1))[:size]})
    events = [f"id: {1795414755000 + n}-0\ndata: {text}\n\n" for n in range(BIG_BYTES // size)]
    return "".join(events).encode()


def v2_body(parts: int) -> bytes:
    return "".join(v2_batch(first, parts) for first in range(0, parts, RECORDS_PER_BATCH)).encode()


def v2_batch(first: int, parts: int) -> str:
    after = min(first + RECORDS_PER_BATCH, parts)
    records = [
        {
            "seq_num": n,
            "timestamp": 1795414755000 + n,
            "body": dump({"data": token(n), "id": f"part-{n:08}"}),
        }
        for n in range(first, after)
    ]
    data = dump({"records": records, "tail": {"seq_num": parts, "timestamp": 1795414755000}})
    return f"event: batch\nid: {after - 1},{after - first},{len(data)}\ndata: {data}\n\n"


def row(run_id: str, n: int) -> dict[str, Any]:
    time = (
        f"2026-11-23T{n // 3600000 % 24:02}:{n // 60000 % 60:02}:{n // 1000 % 60:02}.{n % 1000:03}"
    )
    value = dict.fromkeys(COLUMNS) | {
        # As real ones: 25 characters, of which few in a row are digits.
        "id": f"cmi9q{n:08x}v8kq3z1tw7dx",
        "friendlyId": run_id,
        "taskIdentifier": "render-video",
        "createdAt": time,
        "updatedAt": time,
        "startedAt": time,
        "queuedAt": time,
        "number": str(n),
        "isTest": "f",
        "status": "EXECUTING",
        "usageDurationMs": str(n % 5000),
        "costInCents": "0.0025",
        "baseCostInCents": "0.0025",
        "ttl": "10m",
        "payload": dump({"video": f"v{n}", "size": [1920, 1080], "user": {"id": n, "plan": "pro"}}),
        "payloadType": "application/json",
        "metadata": dump({"progress": {"current": n % 100, "total": 100}, "stage": "encoding"}),
        "metadataType": "application/json",
        "outputType": "application/json",
        "runTags": '{"user:7","video"}',
        "realtimeStreams": "{}",
    }
    return {
        "key": f'"public"."TaskRun"/"{value["id"]}"',
        "value": value,
        "headers": {"operation": "insert"},
    }


def snapshot(rows: int, run_id: str | None = None) -> bytes:
    messages = [row(run_id or f"run_{n}", n) for n in range(rows)]
    return dump([*messages, {"headers": {"control": "up-to-date"}}]).encode()


@functools.cache
def made(name: str) -> bytes:
    """The body that a name stands for."""
    kind, _, number = name.partition("-")
    count = int(number)
    if kind == "rows":
        return snapshot(count)
    if kind == "v1proxied":
        body = v1_body(count)
        return chunked([body[at : at + CHUNK] for at in range(0, len(body), CHUNK)])
    body = {"v1": v1_body, "v2": v2_body, "part": big_v1_body}[kind](count)
    return chunked([event + b"\n\n" for event in body.split(b"\n\n")[:-1]])


def chunked(pieces: Iterable[bytes]) -> bytes:
    return b"".join([b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces])


def schema() -> str:
    def of(kind: str) -> dict[str, Any]:
        return {"type": "text", "dims": 1} if kind == "text[]" else {"type": kind}

    return dump({name: of(kind) for name, kind in COLUMNS.items()})


SCHEMA = schema()
STREAM = re.compile(r"/realtime/v1/streams/([\w-]+)/")
RUN = re.compile(r"/realtime/v1/runs/([\w-]+)")
TAG = re.compile(r"[?&]tags=(rows-\d+)")


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while target := self.read_target():
            stream, run, tag = STREAM.match(target), RUN.match(target), TAG.search(target)
            if stream:
                self.send_stream(stream[1])
            elif "live=true" in target:
                self.hold()
                return
            elif run:
                self.send_rows(snapshot(1, run[1]))
            elif tag:
                self.send_rows(made(tag[1]))
            else:
                self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def read_target(self) -> str | None:
        request = self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        return request.split()[1].decode() if request else None

    def send_rows(self, body: bytes) -> None:
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            "electric-handle: h1\r\nelectric-offset: 1795414820422_1\r\n"
            f"electric-schema: {SCHEMA}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + body)

    def send_stream(self, name: str) -> None:
        version = "v2" if name.startswith("v2") else "v1"
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
            f"X-Stream-Version: {version}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.wfile.write(head.encode())
        self.wfile.write(made(name))
        self.hold()

    def hold(self) -> None:
        """Until the client goes away."""
        self.request.settimeout(HELD_SECONDS)
        self.rfile.read(1)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients leave when they have seen enough."""


def main() -> None:
    for name in sys.argv[1:]:
        made(name)
    with Server(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
