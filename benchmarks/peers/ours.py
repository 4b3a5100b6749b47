"""This project's client, as installed."""

from __future__ import annotations

import os
import sys
from typing import Any

if "--without-orjson" in sys.argv:
    sys.modules["orjson"] = None  # type: ignore[assignment]

import _worker

from trigger_realtime_sync import RealtimeClient


def stream(url: str, name: str, count: int) -> None:
    counter = _worker.Counter(count)
    with RealtimeClient(access_token="tr_x", base_url=url) as client:
        client.subscribe_to_stream(name, "llm", on_stream=lambda _, parts: counter.take(len(parts)))
        counter.wait()


def rows(url: str, name: str, count: int, *, read: bool) -> None:
    counter = _worker.Counter(count)

    def look(run: Any) -> None:
        counter.take()

    def read_all(run: Any) -> None:
        assert run.payload
        assert run.metadata
        counter.take()

    with RealtimeClient(access_token="tr_x", base_url=url) as client:
        client.subscribe_to_runs_with_tag(name, on_update=read_all if read else look)
        counter.wait()


def idle(url: str, count: int) -> None:
    client = RealtimeClient(access_token="tr_x", base_url=url)

    def watch(run_id: str, tell: Any) -> None:
        client.subscribe_to_run(run_id, on_update=lambda run: tell(lambda: run.metadata))

    _worker.Idle(watch).serve(count)
    # Nothing is measured any more.
    os._exit(0)


def main() -> None:
    kind, url, *rest = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    if kind == "idle":
        idle(url, int(rest[0]))
        return
    name, count = rest[0], int(rest[1])
    if kind == "stream":
        _worker.timed(lambda: stream(url, name, count))
    else:
        _worker.timed(lambda: rows(url, name, count, read=kind == "rows-read"))


if __name__ == "__main__":
    main()
