"""The measurements. Each takes samples in rounds, every peer once in each (A B A B), and compares
within a round: what else the machine does then hits all of them alike."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ._peers import (
    BARE,
    HTTPX,
    OFFICIAL,
    OURS,
    PEERS,
    PYTHON,
    REQUESTS,
    REST,
    Conversation,
    canned,
    live,
    once,
    talking,
)

SETTLING = 1.5
# Peers of which one sample will do: nobody's goal is set by them.
ROUGHLY = (REQUESTS, HTTPX)
GROWTH_BYTES = 40 << 20


@dataclass
class Figures:
    """One row: for each peer the samples, one a round. `higher_is_better`: rates."""

    unit: str
    higher_is_better: bool = False
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, peer: str, value: float) -> None:
        self.samples.setdefault(peer, []).append(value)

    def median(self, peer: str) -> float | None:
        return statistics.median(self.samples[peer]) if peer in self.samples else None

    def ratio(self, peer: str, to: str = OFFICIAL) -> float | None:
        """How many times better than another: the median of the rounds' own ratios."""
        if peer not in self.samples or to not in self.samples:
            return None
        pairs = zip(self.samples[peer], self.samples[to], strict=False)
        ratios = [a / b if self.higher_is_better else b / a for a, b in pairs]
        return statistics.median(ratios)

    def medians(self) -> str:
        return ", ".join(f"{peer} {self.median(peer):,.4g}" for peer in self.samples)


def note(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def throughput(kind: str, name: str, url: str, peers: dict[str, int], rounds: int) -> Figures:
    """Units per second. `peers`: how many units each is given, fewer where it is slow."""
    figures = Figures("per second", higher_is_better=True)
    for turn, (peer, count) in itertools.product(range(rounds), peers.items()):
        if turn == 0 or peer not in ROUGHLY:
            sample = once(peer, kind, url, name, count)
            figures.add(peer, count / sample["seconds"])
    note(f"{kind} {name}: {figures.medians()}")
    return figures


def limits(name: str, count: int, url: str, rounds: int) -> Figures:
    """What nothing can beat, under the names of what was done."""
    figures = Figures("per second", higher_is_better=True)
    for kind in ("socket", "json", "orjson"):
        for _ in range(rounds):
            figures.add(kind, count / once(BARE, kind, url, name)["seconds"])
    note(f"limits of {name}: {figures.medians()}")
    return figures


@dataclass
class Idle:
    """What so many idle subscriptions cost."""

    first: Figures = field(default_factory=lambda: Figures("ms"))
    burst: Figures = field(default_factory=lambda: Figures("ms"))
    memory: Figures = field(default_factory=lambda: Figures("KB"))
    p50: Figures = field(default_factory=lambda: Figures("ms"))
    p99: Figures = field(default_factory=lambda: Figures("ms"))
    cpu: Figures = field(default_factory=lambda: Figures("s"))


def idle(count: int, peers: Iterable[str], rounds: int, *, updates: int, cpu: float = 0) -> Idle:
    """One server for all. With `cpu`, the peers then idle side by side for so many seconds."""
    found = Idle()
    peers = tuple(peers)
    with live(count) as (url, server):
        for last, peer in itertools.product(range(rounds), peers):
            if cpu and last == rounds - 1:
                break
            if last and peer in ROUGHLY:
                continue
            with talking([*PEERS[peer], "idle", url, str(count)]) as worker:
                _idle_once(found, peer, worker, server, updates)
        if cpu:
            _idle_together(found, url, server, peers, count, updates, cpu)
    for row in ("first", "burst", "memory", "p50", "p99", "cpu"):
        note(f"{count} idle, {row}: {getattr(found, row).medians()}")
    return found


def _idle_once(
    found: Idle, peer: str, worker: Conversation, server: Conversation, updates: int
) -> None:
    found.first.add(peer, statistics.median(_heard(worker)["first"]))
    time.sleep(SETTLING)
    worker.ask("collect")
    before = worker.memory()
    found.burst.add(peer, worker.ask("burst")["burst"])
    time.sleep(SETTLING)
    worker.ask("collect")
    found.memory.add(peer, worker.memory() - before)
    if updates:
        _delays(found, peer, worker, server, updates)


def _delays(
    found: Idle, peer: str, worker: Conversation, server: Conversation, updates: int
) -> None:
    worker.ask(f"expect {updates}")
    pause = 1.3 if peer == REST else 0.03
    server.tell(f"update run_0 {updates} {pause}")
    delays = sorted(_heard(worker)["delays"])
    found.p50.add(peer, statistics.median(delays))
    found.p99.add(peer, delays[int(len(delays) * 0.99)])
    server.hear()


def _idle_together(
    found: Idle,
    url: str,
    server: Conversation,
    peers: tuple[str, ...],
    count: int,
    updates: int,
    seconds: float,
) -> None:
    workers: dict[str, Conversation] = {}
    try:
        for peer in peers:
            workers[peer] = Conversation([*PEERS[peer], "idle", url, str(count)])
            _idle_once(found, peer, workers[peer], server, updates)
        time.sleep(SETTLING)
        before = {peer: worker.cpu() for peer, worker in workers.items()}
        time.sleep(seconds)
        for peer, worker in workers.items():
            found.cpu.add(peer, (worker.cpu() - before[peer]) * 60 / seconds)
    finally:
        for worker in workers.values():
            worker.end()


def _heard(worker: Conversation) -> dict[str, Any]:
    return json.loads(worker.hear())  # type: ignore[no-any-return]


IMPORTS = {
    "import requests": "import requests",
    "import trigger_realtime_sync": "import trigger_realtime_sync",
    "RealtimeClient": "from trigger_realtime_sync import RealtimeClient",
}


def imports(rounds: int) -> Figures:
    """Milliseconds in a fresh interpreter, the files being in the page cache."""
    figures = Figures("ms")
    for _ in range(rounds):
        for name, statement in IMPORTS.items():
            code = (
                "import time; t = time.perf_counter();"
                f"{statement}; print((time.perf_counter() - t) * 1e3)"
            )
            command = [str(PYTHON), "-c", code]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            figures.add(name, float(done.stdout))
    note(f"imports: {figures.medians()}")
    return figures


def growth(rounds: int) -> dict[str, list[float]]:
    """CPU microseconds per row or per KB, at sizes far apart."""
    rows, sizes = (1_000, 10_000, 50_000), (1 << 10, 1 << 20, 10 << 20)
    with canned(*[f"rows-{n}" for n in rows], *[f"part-{n}" for n in sizes]) as url:
        by_rows = [_cost(rounds, "rows", url, f"rows-{n}", n) / n for n in rows]
        by_size = [
            _cost(rounds, "stream", url, f"part-{n}", GROWTH_BYTES // n) / (GROWTH_BYTES >> 10)
            for n in sizes
        ]
    note(f"growth: {by_rows}, {by_size}")
    return {"rows": by_rows, "parts": by_size}


def _cost(rounds: int, kind: str, url: str, name: str, count: int) -> float:
    samples = [once(OURS, kind, url, name, count)["cpu"] for _ in range(rounds)]
    return statistics.median(samples) * 1e6
