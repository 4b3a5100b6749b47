"""What nothing can beat: the bare reading of the bytes, and the bare parsing of their JSON.

`socket` reads them with a plain socket and looks at none of them. `json` parses all of them with
the standard library, and `orjson` with that, from memory. `calls` sends the bytes of a trigger and
waits for those of its answer, so many times one after the other.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import _worker
import orjson

SILENCE = 0.5


def target(name: str) -> str:
    if name.startswith("rows"):
        return f"/realtime/v1/runs?tags={name}&offset=-1"
    return f"/realtime/v1/streams/{name}/llm"


def read(url: str, name: str, size: int | None = None) -> bytes:
    """So many bytes, or all that come before a silence."""
    address = urlsplit(url)
    pieces: list[bytes] = []
    with socket.create_connection((address.hostname, address.port or 80)) as sock:
        sock.sendall(f"GET {target(name)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        sock.settimeout(SILENCE)
        while size is None or size > 0:
            try:
                data = sock.recv(65536)
            except TimeoutError:
                break
            pieces.append(data)
            size = None if size is None else size - len(data)
    return b"".join(pieces)


def texts_of(name: str, raw: bytes) -> list[bytes]:
    """The JSON texts of a body, outermost first."""
    if name.startswith("rows"):
        return [raw.partition(b"\r\n\r\n")[2]]
    texts = re.findall(rb"^data: (.*)$", raw, re.MULTILINE)
    if name.startswith("v2"):
        inner = [
            record["body"].encode() for text in texts for record in json.loads(text)["records"]
        ]
        return texts + inner
    return texts


def parse_all(loads: Callable[[bytes], Any], texts: list[bytes]) -> None:
    for text in texts:
        loads(text)


def call(url: str, count: int) -> list[float]:
    """The milliseconds of each."""
    address = urlsplit(url)
    head = b"POST /api/v1/tasks/t/trigger HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    times = []
    with socket.create_connection((address.hostname, address.port or 80)) as sock:
        for _ in range(count):
            started = time.perf_counter()
            sock.sendall(head + b"{}")
            assert sock.recv(65536).endswith(b"}")
            times.append((time.perf_counter() - started) * 1e3)
    return times


def main() -> None:
    kind, url, name = sys.argv[1:4]
    if kind == "calls":
        _worker.say(times=call(url, int(name)))
        return
    raw = read(url, name)
    if kind == "socket":
        _worker.timed(lambda: read(url, name, len(raw)) and None)
        return
    texts = texts_of(name, raw)
    loads = json.loads if kind == "json" else orjson.loads
    _worker.timed(lambda: parse_all(loads, texts))


if __name__ == "__main__":
    main()
