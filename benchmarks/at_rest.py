"""Measures what following costs while nothing changes: requests, and CPU of the client's process.

    python -m benchmarks.at_rest --minutes 10
    python -m benchmarks.at_rest --minutes 10 --package ../before --package .

follows 50 runs, 40 tags and 10 batches whose runs are executing, on each backend of the test
server, and prints a table of what came in that time, once every subscription was being held. Each
--package is a folder that holds `trigger_realtime_sync`, another checkout say, for the client
alone. All are measured side by side, each against a process of its own with this checkout's server.

Needs Linux, and a Python that has the project's requirements.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import attrs

from ._peers import Conversation, talking
from ._setup import HERE, REPOSITORY
from .servers.resting import BATCHES, RUNS, TAGS

BACKENDS = ("native", "electric")
# Seconds, as servers hold a poll.
HOLD = 20.0
SUBSCRIPTIONS = RUNS + TAGS + BATCHES
HEAD = (
    "| client | backend | requests | of these not live | of these to `/api` | CPU, s |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


@attrs.frozen
class Cost:
    """What one client did in the time that was measured.

    Attributes:
        requests: all of them.
        not_live: those to `/realtime` that ask for no hold.
        api: those to `/api`.
        cpu: seconds, of all threads of the client's process.
    """

    package: Path
    backend: str
    requests: int
    not_live: int
    api: int
    cpu: float


@attrs.frozen
class _Pair:
    package: Path
    backend: str
    server: Conversation
    client: Conversation


def measure(packages: Iterable[Path], seconds: float, hold: float = HOLD) -> list[Cost]:
    """Return what each client costs on each backend, all of them side by side."""
    with contextlib.ExitStack() as stack:
        pairs = [
            _start(stack, package, backend, hold) for package in packages for backend in BACKENDS
        ]
        for pair in pairs:
            pair.client.hear()
            pair.server.ask(f"held {SUBSCRIPTIONS}")
        for pair in pairs:
            pair.server.ask("clear")
        before = [pair.client.cpu() for pair in pairs]
        time.sleep(seconds)
        return [_cost(pair, cpu) for pair, cpu in zip(pairs, before, strict=True)]


def _start(stack: contextlib.ExitStack, package: Path, backend: str, hold: float) -> _Pair:
    command = [sys.executable, str(HERE / "servers" / "resting.py")]
    server = stack.enter_context(talking([*command, str(REPOSITORY), backend, str(hold)]))
    command = [sys.executable, str(HERE / "peers" / "resting.py"), str(package), server.hear()]
    client = stack.enter_context(talking([*command, str(RUNS), str(TAGS), str(BATCHES)]))
    return _Pair(package, backend, server, client)


def _cost(pair: _Pair, before: float) -> Cost:
    cpu = pair.client.cpu() - before
    counts = pair.server.ask("count")
    live = pair.client.ask("live")["live"]
    if live != SUBSCRIPTIONS:
        raise SystemExit(f"{pair.package}, {pair.backend}: {live} of {SUBSCRIPTIONS} are live")
    return Cost(pair.package, pair.backend, counts["all"], counts["not_live"], counts["api"], cpu)


def markdown(costs: Iterable[Cost]) -> str:
    lines = [
        f"| {cost.package.name} | {cost.backend} | {cost.requests:,} | {cost.not_live:,} "
        f"| {cost.api:,} | {cost.cpu:.2f} |"
        for cost in costs
    ]
    return "\n".join([HEAD, *lines])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.at_rest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="default: 10")
    parser.add_argument(
        "--package",
        type=Path,
        action="append",
        metavar="PATH",
        help="the folder of the client's package; may be given again; default: this checkout",
    )
    options = parser.parse_args()
    packages = [path.resolve() for path in options.package or [REPOSITORY]]
    for path in packages:
        if not (path / "trigger_realtime_sync").is_dir():
            parser.error(f"there is no trigger_realtime_sync in {path}")
    costs = measure(packages, options.minutes * 60)
    sys.stdout.write(f"{markdown(costs)}\n")


if __name__ == "__main__":
    main()
