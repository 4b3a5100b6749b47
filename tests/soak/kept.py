"""Runs of a tag that come, finish and leave, by the thousand: what does one that left cost?

    python -m tests.soak.kept --runs 20000 --kilobytes 50

One subscription, with callbacks and an iterator, is told of all of them; a server in another
process deletes each from the shape soon after it came. Memory is that of this process (Linux).
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

from tests.support.process import resident_mb
from tests.support.shape import done, message
from trigger_realtime_sync import PayloadError, RealtimeClient

UP_TO_DATE = {"headers": {"control": "up-to-date", "global_last_seen_lsn": "1"}}
# Runs in one answer.
TOGETHER = 5


@attrs.frozen
class Kept:
    """What was found.

    Attributes:
        grown: megabytes, from the first run to the last.
        told: how many runs `on_complete` was called for.
        yielded: how many runs the iterator yielded.
        completed: how many runs `wait_for_completion` returned, ...
        whole: ... and how many of these with their output.
    """

    grown: float
    told: int
    yielded: int
    completed: int
    whole: int


def measure(runs: int, url: str) -> Kept:
    """Follow so many runs of a server that `serving` started."""
    told, everything = itertools.count(), threading.Event()

    def on_complete(run: Any) -> None:
        if next(told) == runs - 1:
            everything.set()

    with RealtimeClient("tr_dev_soak", base_url=url) as client:
        subscription = client.subscribe_to_runs_with_tag(
            "t", on_update=lambda run: len(run.output), on_complete=on_complete
        )
        updates = subscription.updates()
        next(updates)
        gc.collect()
        before = resident_mb()
        yielded = 1 + sum(1 for _ in itertools.islice(updates, runs - 1))
        assert everything.wait(60)
        gc.collect()
        grown = resident_mb() - before
        completed = subscription.wait_for_completion(60, expected=runs)
        whole = sum(map(_is_whole, completed))
    return Kept(grown, next(told), yielded, len(completed), whole)


def _is_whole(run: Any) -> bool:
    try:
        return bool(run.output)
    except PayloadError:
        return False


@contextmanager
def serving(runs: int, kilobytes: int) -> Iterator[str]:
    """Serve so many runs to one client, in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--serve"]
    arguments = ["--runs", str(runs), "--kilobytes", str(kilobytes)]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    runs = 0
    size = 0
    sent = 0

    def do_GET(self) -> None:
        cls = type(self)
        if cls.sent >= cls.runs:
            threading.Event().wait(20)
        first = cls.sent
        cls.sent = min(cls.runs, first + TOGETHER)
        body = json.dumps([*_deleted(first), *_rows(first, cls.sent, cls.size), UP_TO_DATE])
        self.send_response(200)
        for name, value in {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "electric-handle": "h1",
            "electric-offset": f"{first + 1}_0",
            "electric-cursor": "1",
            "electric-schema": "{}",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _id(n: int) -> str:
    return f"run_{n:025d}"


def _rows(first: int, end: int, size: int) -> list[Any]:
    return [message(done(_id(n), output=str(n).ljust(size, "y"))) for n in range(first, end)]


def _deleted(first: int) -> list[Any]:
    gone = [message({"id": "c" + _id(n)}) for n in range(max(0, first - TOGETHER), first)]
    return [{**one, "headers": {"operation": "delete"}} for one in gone]


def _serve(runs: int, kilobytes: int) -> None:
    _Handler.runs, _Handler.size = runs, kilobytes * 1000
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--kilobytes", type=int, default=50, help="of each run's output")
    parser.add_argument("--most", type=float, metavar="MB", help="fail if it costs more")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(options.runs, options.kilobytes)
        return
    with serving(options.runs, options.kilobytes) as url:
        kept = measure(options.runs, url)
    sys.stdout.write(
        f"{kept.told:,} runs told, {kept.yielded:,} yielded, {kept.completed:,} returned,"
        f" {kept.whole:,} of them whole; {kept.grown:.1f} MB\n"
    )
    if {kept.told, kept.yielded, kept.completed} != {options.runs}:
        raise SystemExit("not all of them were told once")
    if options.most is not None and kept.grown > options.most:
        raise SystemExit(f"that is more than {options.most} MB")


if __name__ == "__main__":
    main()
