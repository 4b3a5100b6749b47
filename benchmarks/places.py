"""Measures how late changes are told where the plan's live polls are fewer than the subscriptions.

    python -m benchmarks.places
    python -m benchmarks.places --minutes 5 --subscriptions 50 --live-polls 5

follows runs, tags and batches on each backend of the test server, which grants no more than so many
live polls. Each has a run that changes at random moments, every 15 s on average. A change counts as
told with the first state that is no older. The requests of a subscription are counted while it is
without a place: from one that is not live, or a live one that was refused, to its next.

Needs Linux, and a Python that has the project's requirements.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Any

import attrs

from ._peers import talking
from ._setup import HERE, REPOSITORY

BACKENDS = ("native", "electric")
# What is followed, in turn.
KINDS = ("run", "tag", "batch")
SUBSCRIPTIONS = 50
LIVE_POLLS = 5
HEAD = (
    "| backend | changes | told after, p50, s | p99 | at most | without a place |"
    " requests a second, each | the most of one |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


@attrs.frozen
class Lateness:
    """How late changes were told, and what subscriptions without a place asked.

    Attributes:
        late: seconds from each change to its callback, sorted.
        rates: requests a second of each subscription, while it was without a place.
    """

    backend: str
    late: list[float]
    rates: list[float]


def measure(backend: str, seconds: float, subscriptions: int, live_polls: int) -> Lateness:
    """Change runs for so many seconds, and wait until the last change of each is told.

    Raises:
        SystemExit: that was not within two minutes.
    """
    subjects = [f"{kind}:{kind}_{n}" for n, kind in zip(range(subscriptions), cycle(KINDS))]
    command = [sys.executable, str(HERE / "servers" / "places.py"), str(REPOSITORY)]
    with talking([*command, backend, str(live_polls), *subjects]) as server:
        url = server.hear()
        command = [sys.executable, str(HERE / "peers" / "places.py"), str(REPOSITORY)]
        with talking([*command, url, *subjects]) as client:
            client.hear()
            changes = server.ask(f"change {seconds}")["changes"]
            last = {run: number for number, run, _ in changes}
            told = client.ask(f"until {json.dumps(list(last.values()))}")["told"]
            rates = server.ask("rates")["rates"]
    return Lateness(backend, sorted(_late(changes, told)), rates)


def _late(changes: list[list[Any]], told: list[list[Any]]) -> Iterator[float]:
    """Yield how late each change was told: with the first state of its run that is no older."""
    states: dict[str, list[tuple[int, float]]] = {}
    for run, number, moment in told:
        states.setdefault(run, []).append((number, moment))
    for number, run, changed in changes:
        yield min(moment for known, moment in states[run] if known >= number) - changed


def markdown(figures: Iterable[Lateness]) -> str:
    lines = [HEAD]
    for one in figures:
        p50, p99 = (one.late[int(len(one.late) * share)] for share in (0.5, 0.99))
        lines.append(
            f"| {one.backend} | {len(one.late)} | {p50:.2f} | {p99:.2f} | {one.late[-1]:.2f}"
            f" | {len(one.rates)} | {statistics.mean(one.rates):.2f} | {max(one.rates):.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.places",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=2.0, metavar="N", help="default: 2")
    parser.add_argument("--subscriptions", type=int, default=SUBSCRIPTIONS, metavar="N")
    parser.add_argument("--live-polls", type=int, default=LIVE_POLLS, metavar="N")
    options = parser.parse_args()
    figures = [
        measure(backend, options.minutes * 60, options.subscriptions, options.live_polls)
        for backend in BACKENDS
    ]
    sys.stdout.write(f"{markdown(figures)}\n")


if __name__ == "__main__":
    main()
