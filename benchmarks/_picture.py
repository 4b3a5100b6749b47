"""The report as an SVG: a bar for each row, how many times better than the official client."""

from __future__ import annotations

from html import escape

from ._peers import OFFICIAL
from ._rows import Report, Row

WIDTH, LEFT, LINE, TOP = 830, 470, 26, 44
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.bar{fill:#2f6f4f}.one{stroke:#8c959f}"
    "@media(prefers-color-scheme:dark){text{fill:#d0d7de}.bar{fill:#4c9f76}}"
)


def svg(report: Report) -> str:
    rows = [row for row in report.rows if row.against == OFFICIAL]
    ratios = [(row, row.figures.ratio(row.ours) or 0.0) for row in rows]
    scale = (WIDTH - LEFT - 60) / max(1.0, *[ratio for _, ratio in ratios])
    height = TOP + LINE * len(rows) + 12
    bars = [_bar(row, ratio, scale, TOP + LINE * n) for n, (row, ratio) in enumerate(ratios)]
    one = LEFT + scale
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            "<title>How many times better than the official JavaScript client</title>",
            f"<style>{STYLE}</style>",
            '<text x="12" y="24">Times better than the official JavaScript client (line: as good)'
            "</text>",
            *bars,
            f'<path class="one" d="M{one:.1f} {TOP - 6}V{height - 8}" stroke-dasharray="3 3"/>',
            "</svg>",
            "",
        ]
    )


def _bar(row: Row, ratio: float, scale: float, top: int) -> str:
    width = max(1.0, ratio * scale)
    middle = top + LINE / 2 + 1
    title = escape(row.title.replace("`", ""))
    return (
        f'<text x="{LEFT - 10}" y="{middle}" text-anchor="end">{title}</text>'
        f'<rect class="bar" x="{LEFT}" y="{top}" width="{width:.1f}" height="{LINE - 8}"/>'
        f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{ratio:.1f}</text>'
    )
