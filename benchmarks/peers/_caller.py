"""What the Python peers that make calls have in common, run as `python peer.py KIND URL COUNT`.

Each prints one line of JSON. `one`: the milliseconds of each trigger, one after the other, and the
CPU of all in seconds. `many`: the seconds of as many triggers from 16 threads. `batch`: the
milliseconds of each of a few batches of so many items of 1 KB.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import _worker

# Calls before anything is measured: connections, imports, and what Node compiles.
WARM = 200
THREADS = 16
BATCHES, WARM_BATCHES = 5, 2
TASK = "make-thumbnails"
PAYLOAD = {"video": "v1", "size": [1920, 1080], "user": {"id": 7, "plan": "pro"}}
TAGS = ["user:7"]
KILOBYTE = "x" * 1000


def measure(
    kind: str, count: int, trigger: Callable[[], object], batch: Callable[[int], object]
) -> None:
    if kind == "one":
        _one(trigger, count)
    elif kind == "many":
        _many(trigger, count)
    else:
        times = [_milliseconds(lambda: batch(count)) for _ in range(WARM_BATCHES + BATCHES)]
        _worker.say(times=times[WARM_BATCHES:])


def _one(trigger: Callable[[], object], count: int) -> None:
    for _ in range(WARM):
        trigger()
    cpu = time.process_time()
    times = [_milliseconds(trigger) for _ in range(count)]
    _worker.say(times=times, cpu=time.process_time() - cpu)


def _many(trigger: Callable[[], object], count: int) -> None:
    _from_threads(trigger, WARM)
    _worker.timed(lambda: _from_threads(trigger, count))


def _from_threads(trigger: Callable[[], object], count: int) -> None:
    numbers = iter(range(count))

    def work() -> None:
        for _ in numbers:
            trigger()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3
