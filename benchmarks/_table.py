"""The report as Markdown."""

from __future__ import annotations

from ._measure import Figures
from ._peers import HTTPX, OFFICIAL, REQUESTS
from ._rows import Report, Row

HEAD = (
    "| what | times better than the official client | goal | than requests + sseclient-py "
    "| than httpx + httpx-sse | here | official client | what it means |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def markdown(report: Report, versions: str) -> str:
    lines = [HEAD, *map(_line, report.rows)]
    if report.limits:
        lines += [
            "",
            "| what nothing can beat, per second | bare socket | bare `json` | bare `orjson` |",
            "| --- | --- | --- | --- |",
            *[_limit(title, figures) for title, figures in report.limits.items()],
        ]
    return "\n".join([*lines, "", *[f"- {note}" for note in report.notes], f"- {versions}."])


def _line(row: Row) -> str:
    figures = row.figures
    ratio = _ratio(figures.ratio(row.ours, row.against))
    if row.against != OFFICIAL:
        ratio += f" (than {row.against})"
    goal = f"{row.goal:.2g}" + ("" if row.met else ", **missed**")
    cells = [
        row.title,
        f"**{ratio}**",
        goal,
        _ratio(figures.ratio(row.ours, REQUESTS)),
        _ratio(figures.ratio(row.ours, HTTPX)),
        _number(figures.median(row.ours)),
        _number(figures.median(row.against)),
        row.meaning,
    ]
    return "| " + " | ".join(cells) + " |"


def _limit(title: str, figures: Figures) -> str:
    cells = [_number(figures.median(kind)) for kind in ("socket", "json", "orjson")]
    return f"| {title} | " + " | ".join(cells) + " |"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}" if ratio >= 1.95 else f"{ratio:.2f}"


def _number(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
