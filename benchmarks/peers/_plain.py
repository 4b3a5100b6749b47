"""What one writes in an afternoon without a client library: an HTTP library and a loop.

No reconnecting, no resuming, no errors, dicts of text instead of runs: what is measured here does
less than a client has to.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import _worker

HEADERS = {
    "Authorization": "Bearer tr_x",
    "x-trigger-electric-version": "1.0.0-beta.1",
    "x-trigger-api-version": "2025-07-16",
}

Get = Callable[[str, dict[str, str]], tuple[Any, Any]]
Events = Callable[[str], Iterator[Any]]


def parts_of(event: Any) -> Iterator[Any]:
    """The parts in an event of either format."""
    if event.event != "batch":
        if event.event == "message":
            yield json.loads(event.data)
        return
    for record in json.loads(event.data)["records"]:
        yield json.loads(record["body"])["data"]


def stream(events: Iterator[Any], count: int) -> None:
    for event in events:
        for _ in parts_of(event):
            count -= 1
        if count <= 0:
            return


def rows(get: Get, url: str, name: str, count: int, *, read: bool) -> None:
    query = {"tags": name, "offset": "-1", "log": "full"}
    messages, _ = get(f"{url}/realtime/v1/runs", query)
    for message in messages:
        if "key" not in message:
            continue
        if read:
            assert json.loads(message["value"]["payload"])
            assert json.loads(message["value"]["metadata"])
        count -= 1
    assert count <= 0


def long_poll(get: Get, url: str, run_id: str, tell: Any) -> None:
    query = {"offset": "-1", "log": "full"}
    while True:
        messages, headers = get(f"{url}/realtime/v1/runs/{run_id}", query)
        for message in messages:
            if "key" in message:
                text = message["value"].get("metadata")
                tell(lambda text=text: json.loads(text or "null"))
        query = {
            "offset": headers["electric-offset"],
            "handle": headers["electric-handle"],
            "live": "true",
            "cursor": headers.get("electric-cursor", ""),
            "log": "full",
        }


def idle(session: Callable[[], Get], url: str, count: int) -> None:
    """A thread and a connection for each run."""

    def watch(run_id: str, tell: Any) -> None:
        arguments = (session(), url, run_id, tell)
        threading.Thread(target=long_poll, args=arguments, daemon=True).start()

    _worker.Idle(watch).serve(count)
    os._exit(0)


def main(session: Callable[[], Get], events: Events) -> None:
    kind, url, *rest = sys.argv[1:]
    if kind == "idle":
        idle(session, url, int(rest[0]))
        return
    name, count = rest[0], int(rest[1])
    if kind == "stream":
        path = f"{url}/realtime/v1/streams/{name}/llm"
        _worker.timed(lambda: stream(events(path), count))
    else:
        _worker.timed(lambda: rows(session(), url, name, count, read=kind == "rows-read"))
