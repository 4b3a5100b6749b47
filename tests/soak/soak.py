"""Hundreds of subscriptions that come and go, for as long as you like: does anything grow?

    python -m tests.soak.soak --minutes 60 --svg soak.svg

Subscriptions to runs, runs with streams, tags and batches are made, complete, are cancelled, and
are replaced, while the server rotates its shapes and cuts its connections. Memory, threads and
sockets of this process are sampled each second (Linux); the server is another process.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.soak.plot import svg
from tests.support.process import open_sockets, resident_mb
from trigger_realtime_sync import RealtimeClient, RetryPolicy

KINDS = ["run"] * 6 + ["streams"] * 2 + ["tag", "batch"]


class Server:
    """The other process."""

    def __init__(self, backend: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("world.py")), backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url: str = self._read()["url"]

    def create(self, kind: str) -> Any:
        self._process.stdin.write(json.dumps({"create": kind}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)

    def _read(self) -> Any:
        return json.loads(self._process.stdout.readline())


class Soak:
    """Keeps `count` subscriptions running."""

    def __init__(self, client: RealtimeClient, server: Server, count: int, cancels: int) -> None:
        self._cancels = cancels
        self._client = client
        self._server = server
        self._count = count
        self._rng = random.Random(1)
        self._running: dict[int, Any] = {}
        # Protects the counts.
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.errors: list[Any] = []

    def step(self) -> None:
        """Drop subscriptions that have ended, cancel a few, and fill up."""
        for number, subscription in list(self._running.items()):
            if subscription.state.value in ("COMPLETED", "FAILED"):
                self._drop(number)
        for number in self._rng.sample(list(self._running), min(self._cancels, self.size)):
            self._drop(number)
            self._note("cancelled")
        while self.size < self._count:
            self._subscribe()

    @property
    def size(self) -> int:
        return len(self._running)

    def _drop(self, number: int) -> None:
        self._running.pop(number).cancel()

    def _subscribe(self) -> None:
        made = self._server.create(self._rng.choice(KINDS))
        options: dict[str, Any] = {
            "on_update": lambda run: self._note("updates"),
            "on_complete": lambda run: self._note("completed runs"),
            "on_error": self.errors.append,
        }
        if "batch" in made:
            subscription: Any = self._client.subscribe_to_batch(made["batch"], **options)
        elif "tag" in made:
            subscription = self._client.subscribe_to_runs_with_tag(made["tag"], **options)
        else:
            subscription = self._client.subscribe_to_run_with_streams(
                made["run"], on_stream=lambda key, parts: self._note("parts", len(parts)), **options
            )
        self._note("subscriptions")
        self._running[self.counts["subscriptions"]] = subscription

    def _note(self, what: str, count: int = 1) -> None:
        with self._lock:
            self.counts[what] += count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--subscriptions", type=int, default=300)
    parser.add_argument("--backend", choices=["native", "electric"], default="electric")
    parser.add_argument("--cancels", type=int, default=3, help="cancelled in a second")
    parser.add_argument("--max-cached", type=int, default=1000, help="of the client")
    parser.add_argument("--svg", default="soak.svg")
    options = parser.parse_args()
    logging.getLogger("trigger_realtime_sync").setLevel(logging.CRITICAL)

    server = Server(options.backend)
    samples: list[tuple[float, float, int, int]] = []
    with RealtimeClient(
        "tr_soak",
        base_url=server.url,
        retry=RetryPolicy(initial_delay=0.1, max_delay=2.0),
        max_cached=options.max_cached,
    ) as client:
        soak = Soak(client, server, options.subscriptions, options.cancels)
        started = time.monotonic()
        while (now := time.monotonic() - started) < options.minutes * 60:
            soak.step()
            samples.append((now, resident_mb(), threading.active_count(), open_sockets()))
            time.sleep(1.0)
    server.close()
    gc.collect()
    report(options, soak, samples)


def report(options: Any, soak: Soak, samples: list[tuple[float, float, int, int]]) -> None:
    """Prints the figures, and writes the curves."""
    seconds, memory, threads, sockets = (list(column) for column in zip(*samples, strict=True))
    curves = {"resident memory, MB": memory, "threads": threads, "sockets": sockets}
    title = f"{options.subscriptions} subscriptions with churn, {options.backend}"
    Path(options.svg).write_text(svg(title, seconds, curves), encoding="utf-8")
    print(", ".join(f"{count:,} {what}" for what, count in sorted(soak.counts.items())))
    print(f"errors: {len(soak.errors)} {soak.errors[:3]}")
    quarter = max(1, len(samples) // 4)
    for name, values in curves.items():
        second, last = values[quarter : 2 * quarter], values[-quarter:]
        print(
            f"{name}: {statistics.mean(second):.1f} in the second quarter,"
            f" {statistics.mean(last):.1f} in the last, {max(values):.1f} at most"
        )
    half = len(samples) // 2
    slope = statistics.linear_regression(seconds[half:], memory[half:]).slope * 3600
    print(f"memory over the second half: {slope:+.1f} MB an hour")
    print(f"after the end: {threading.active_count()} threads, {open_sockets()} sockets")


if __name__ == "__main__":
    main()
