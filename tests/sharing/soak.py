"""Harm to a fleet, for as long as wanted: `python -m tests.sharing.soak --events 500`."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter

from tests.sharing.world import World

ALL = [("native", "v2"), ("electric", "v1"), ("native", "v1"), ("electric", "v2")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=500, help="in all")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pause", type=float, default=0.04)
    parser.add_argument("--only", help="of the four: electric,v1 say")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    for at, (backend, streams) in enumerate(ALL):
        if options.only and f"{backend},{streams}" != options.only:
            continue
        world = World(
            backend=backend,
            streams=streams,
            workers=options.workers,
            runs=options.runs,
            pause=options.pause,
            seed=options.seed + at,
        )
        try:
            one_world(world, options.events // len(ALL), f"{backend}, {streams}")
        finally:
            world.close()
    return 0


def one_world(world: World, events: int, name: str) -> None:
    done: Counter[str] = Counter()
    waits = []
    world.wait_for_news()
    for _ in range(events):
        event = world.random.choice(world.EVENTS)
        world.do(event)
        done[event] += 1
        waits.append(world.wait_for_news())
    world.finish()
    states, parts = world.check()
    print(
        f"{name}: {dict(done)}; {states:,} states and {parts:,} parts checked, none wrong;"
        f" news after {statistics.median(waits):.2f} s in the median, {max(waits):.2f} s at most"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
