"""What the Python peers have in common: a command line, a clock, and the phases of idling.

A peer is run as `python peer.py stream|rows|rows-read URL NAME COUNT` and prints one line of JSON
with the seconds it took; or as `python peer.py idle URL COUNT` and follows the lines it reads, as
`serve_idle` tells. The names are those of `servers/canned.py`.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

LONGEST = 120.0
FIRST = 11


def say(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Counter:
    """Counts what arrives, and knows when it is enough."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._done = threading.Event()

    def take(self, number: int = 1) -> None:
        self._left -= number
        if self._left <= 0:
            self._done.set()

    def wait(self) -> None:
        if self._left > 0 and not self._done.wait(LONGEST):
            raise SystemExit(f"{self._left} are still missing")


def timed(work: Callable[[], None]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    say(seconds=time.perf_counter() - wall, cpu=time.process_time() - cpu)


class Idle:
    """The phases of idling: `watch(run_id, tell)` begins to follow a run, and calls
    `tell(metadata)`, `metadata` a callable, whenever it shows a state of it."""

    def __init__(self, watch: Callable[[str, Callable[[Callable[[], Any]], None]], None]) -> None:
        self._watch = watch
        self._delays: list[float] = []
        self._expected = Counter(1)
        self._next = 0
        self._last = 0

    def _tell_of(self, counter: Counter, run_id: str) -> Callable[[Callable[[], Any]], None]:
        seen = False

        def tell(metadata: Callable[[], Any]) -> None:
            nonlocal seen
            now = time.monotonic_ns()
            if not seen:
                seen = True
                counter.take()
                return
            shown = metadata() or {}
            if "t" in shown:
                self._delays.append((now - int(shown["t"])) / 1e6)
                # Those that followed too fast may have been merged on the way, but for the last.
                if shown["n"] == self._last:
                    self._expected.take()

        return tell

    def subscribe(self, count: int) -> float:
        counter = Counter(count)
        started = time.perf_counter()
        for _ in range(count):
            run_id = f"run_{self._next}"
            self._next += 1
            self._watch(run_id, self._tell_of(counter, run_id))
        counter.wait()
        return (time.perf_counter() - started) * 1e3

    def serve(self, count: int) -> None:
        """First a few subscriptions, one after the other. Then, line by line: `burst`, the rest of
        them at once; `collect`, the garbage; `expect N`, changes of the first run; `quit`."""
        say(first=[self.subscribe(1) for _ in range(FIRST)][1:])
        for line in sys.stdin:
            match line.split():
                case ["burst"]:
                    say(burst=self.subscribe(count - FIRST))
                case ["collect"]:
                    gc.collect()
                    say(collected=True)
                case ["expect", number]:
                    self._delays, self._expected = [], Counter(1)
                    self._last = int(number) - 1
                    say(ready=True)
                    self._expected.wait()
                    say(delays=self._delays)
                case _:
                    return
