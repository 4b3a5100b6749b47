"""The rows of the table: what is measured, what it means to a user, and what was aimed at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ._calling import calling
from ._measure import Figures, growth, idle, imports, limits, note, throughput
from ._peers import FAST, HTTPX, OFFICIAL, OURS, REQUESTS, REST, STAGES, canned, once


@dataclass(frozen=True)
class Row:
    """One line. `goal`: how many times better than the peer it is compared with."""

    title: str
    meaning: str
    figures: Figures
    goal: float
    ours: str = OURS
    against: str = OFFICIAL

    @property
    def met(self) -> bool:
        return (self.figures.ratio(self.ours, self.against) or 0) >= self.goal


@dataclass
class Report:
    """What a run found."""

    rows: list[Row] = field(default_factory=list)
    limits: dict[str, Figures] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Effort:
    """How much to measure: whole for the table, less for the picture, hardly any for a test."""

    rounds: int
    parts: int
    rows: int
    idle: tuple[int, ...]
    updates: int
    cpu_seconds: float
    calls: int


WHOLE = Effort(3, 200_000, 20_000, (20, 100, 500, 1000), 200, 30, 1_000)
QUICK = Effort(3, 100_000, 10_000, (100, 500), 50, 0, 500)
SMOKE = Effort(1, 2_000, 200, (12,), 3, 1, 20)


def streams(report: Report, effort: Effort) -> None:
    names = {form: f"{form}-{effort.parts}" for form in ("v1", "v1proxied", "v2")}
    with canned(*names.values()) as url:

        def measured(form: str) -> Figures:
            counts = dict.fromkeys((OURS, FAST, OFFICIAL, REQUESTS, HTTPX), effort.parts)
            return throughput("stream", names[form], url, counts, effort.rounds)

        v1, proxied, v2 = measured("v1"), measured("v1proxied"), measured("v2")
        for form in ("v1", "v2"):
            found = limits(names[form], effort.parts, url, 1)
            report.limits[f"{form} stream, parts"] = found
    catching_up = "how fast a client that was away has caught up with what an LLM said"
    report.rows += [
        Row("v1 stream, parts/s", catching_up, v1, 4),
        Row("v1 stream through a proxy that joins chunks, parts/s", "the same", proxied, 4),
        Row("v2 stream, parts/s", "the same, on current servers", v2, 3.5),
        Row("v2 stream with the `speed` extra, parts/s", "the same", v2, 5, ours=FAST),
    ]


def snapshots(report: Report, effort: Effort) -> None:
    name = f"rows-{effort.rows}"
    counts = dict.fromkeys((OURS, FAST, OFFICIAL, REQUESTS, HTTPX), effort.rows)
    with canned(name) as url:
        untouched = throughput("rows", name, url, counts, effort.rounds)
        read = throughput("rows-read", name, url, counts, effort.rounds)
        report.limits["snapshot, rows"] = limits(name, effort.rows, url, 1)
    report.rows += [
        Row(
            f"snapshot of {effort.rows:,} runs, rows/s",
            "how soon a dashboard shows all runs of a tag; payloads not looked at",
            untouched,
            4,
        ),
        Row("the same, payload and metadata read", "every run is looked into", read, 2),
    ]


def subscriptions(report: Report, effort: Effort) -> None:
    found = {}
    for count in effort.idle:
        is_last = count == effort.idle[-1]
        peers = [OURS, OFFICIAL]
        peers += [REQUESTS, HTTPX] if count == 500 or effort is SMOKE else []
        cpu = effort.cpu_seconds if is_last else 0
        updates = effort.updates if count == 500 or len(effort.idle) == 1 else 0
        rounds = 2 if count == 500 and effort is WHOLE else 1
        found[count] = idle(count, peers, rounds, updates=updates, cpu=cpu)
    most, some = effort.idle[-1], 500 if 500 in effort.idle else effort.idle[-1]
    one = found[some]
    others = f"with {some - 1} other subscriptions idle"
    report.rows += [
        Row(f"a change to the callback, p50, ms, {others}", "how live it is", one.p50, 1),
        Row("the same, p99, ms", "how live it is on a bad moment", one.p99, 1),
        *[
            Row(f"memory of {n:,} subscriptions, KB", "what a worker needs", found[n].memory, 3)
            for n in sorted({some, most})
        ],
        Row("subscribe to the first callback, ms", "how soon one sees a run", one.first, 1),
        Row(f"the same, {some - 11:,} at once, ms", "a worker that starts", one.burst, 1),
    ]
    if effort.cpu_seconds:
        title = f"CPU of {most:,} idle subscriptions over a minute, s"
        report.rows.append(Row(title, "what waiting costs", found[most].cpu, 1))
    _note_growth_of_subscriptions(report, {n: one.burst.median(OURS) for n, one in found.items()})


def _note_growth_of_subscriptions(report: Report, bursts: dict[int, float | None]) -> None:
    costs = {n: ms / (n - 11) for n, ms in bursts.items() if ms is not None and n > 11}
    texts = [f"{n:,}: {cost:.2f} ms" for n, cost in costs.items()]
    report.notes.append("Subscribing at once, per subscription: " + ", ".join(texts) + ".")


def polling(report: Report, effort: Effort) -> None:
    """One run, for a thousand of them can't be asked for once a second."""
    updates = min(20, effort.updates)
    one = idle(11, [OURS, OFFICIAL, REST], 1, updates=updates)
    title = "a change to the callback, p50, ms, a few runs"
    report.rows.append(Row(title, "against asking once a second", one.p50, 1, against=REST))


def calls(report: Report, effort: Effort) -> None:
    found = calling(effort.calls, effort.rounds)
    report.rows += [
        Row("a trigger, one after the other, p50, ms", "what a view waits for", found.p50, 1),
        Row("the same, p99, ms", "what it waits for on a bad moment", found.p99, 1),
        Row("the same, CPU of a trigger, µs", "what a worker pays for it", found.cpu, 1),
        Row("triggers from 16 threads, or promises, per second", "a busy one", found.rate, 1),
        Row(f"a batch of {effort.calls:,} items of 1 KB, ms", "a fan-out", found.batch, 1),
    ]
    report.notes.append(
        f"A request to the server of calls and back, without a client, p50: {found.bare:.3f} ms."
    )


def importing(report: Report, effort: Effort) -> None:
    figures = imports(effort.rounds * 3)
    base = "import requests"
    report.rows += [
        Row(
            f"`{statement}`, ms",
            "what a script pays that imports it",
            figures,
            1 / 1.3,
            ours=name,
            against=base,
        )
        for name, statement in (
            ("import trigger_realtime_sync", "import trigger_realtime_sync"),
            ("RealtimeClient", "from trigger_realtime_sync import RealtimeClient"),
        )
    ]


def growing(report: Report, effort: Effort) -> None:
    if effort is not WHOLE:
        return
    found = growth(1)
    rows = ", ".join(f"{cost:.1f}" for cost in found["rows"])
    parts = ", ".join(f"{cost:.2f}" for cost in found["parts"])
    report.notes += [
        f"CPU µs per row of a snapshot of 1,000, 10,000, 50,000 rows: {rows}.",
        f"CPU µs per KB of v1 parts of 1 KB, 1 MB, 10 MB: {parts}.",
    ]


def stages(report: Report, effort: Effort) -> None:
    """What the time goes to, step by step, without a network."""
    kinds = (
        ("v1", effort.parts, "part of a v1 stream"),
        ("v2", effort.parts, "part of a v2 stream"),
        ("rows", effort.rows, "row of a snapshot"),
    )
    for kind, count, unit in kinds:
        steps = once(STAGES, kind, count)
        costs = ", ".join(f"{name} {cost:.2f}" for name, cost in steps.items())
        report.notes.append(f"µs per {unit}, without a network: {costs}.")


SECTIONS: dict[str, Callable[[Report, Effort], None]] = {
    "streams": streams,
    "snapshots": snapshots,
    "subscriptions": subscriptions,
    "polling": polling,
    "calls": calls,
    "imports": importing,
    "growth": growing,
    "stages": stages,
}
PICTURED = ("streams", "snapshots", "subscriptions", "calls")


def run(names: list[str], effort: Effort) -> Report:
    report = Report()
    for name in names:
        note(f"-- {name}")
        try:
            SECTIONS[name](report, effort)
        except SystemExit as problem:
            report.notes.append(f"{name} could not be measured: {problem}")
    return report
