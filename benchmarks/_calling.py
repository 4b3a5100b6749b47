"""What calls cost: triggers and batches, ours beside the official SDK's, by one server for all."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from ._measure import ROUGHLY, Figures, note
from ._peers import BARE, CALLERS, answering, once


@dataclass
class Calling:
    """What was found. `bare`: the milliseconds of a round trip without any client."""

    p50: Figures = field(default_factory=lambda: Figures("ms"))
    p99: Figures = field(default_factory=lambda: Figures("ms"))
    cpu: Figures = field(default_factory=lambda: Figures("µs"))
    rate: Figures = field(default_factory=lambda: Figures("per second", higher_is_better=True))
    batch: Figures = field(default_factory=lambda: Figures("ms"))
    bare: float = 0.0


def calling(count: int, rounds: int) -> Calling:
    """Triggers one after the other, from 16 threads or promises, and batches: `count` each time."""
    found = Calling()
    with answering() as url:
        for turn in range(rounds):
            for peer in CALLERS:
                if turn == 0 or peer not in ROUGHLY:
                    _call_once(found, peer, url, count)
        found.bare = statistics.median(once(BARE, "calls", url, count)["times"])
    for row in ("p50", "p99", "cpu", "rate", "batch"):
        note(f"{count} calls, {row}: {getattr(found, row).medians()}")
    return found


def _call_once(found: Calling, peer: str, url: str, count: int) -> None:
    one = once(peer, "one", url, count, among=CALLERS)
    times = sorted(one["times"])
    found.p50.add(peer, statistics.median(times))
    found.p99.add(peer, times[int(len(times) * 0.99)])
    found.cpu.add(peer, one["cpu"] / count * 1e6)
    found.rate.add(peer, count / once(peer, "many", url, count, among=CALLERS)["seconds"])
    batch = once(peer, "batch", url, count, among=CALLERS)
    found.batch.add(peer, statistics.median(batch["times"]))
