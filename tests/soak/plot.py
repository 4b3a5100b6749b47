"""A few curves as an SVG, without dependencies."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT, LEFT, GAP, TOP = 640, 110, 56, 34, 44


def svg(title: str, seconds: Sequence[float], curves: dict[str, Sequence[float]]) -> str:
    """Return one panel for each curve, over a shared time axis."""
    height = TOP + len(curves) * (HEIGHT + GAP)
    panels = [
        _panel(name, seconds, values, TOP + place * (HEIGHT + GAP))
        for place, (name, values) in enumerate(curves.items())
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            f' width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            f'<text x="{LEFT}" y="16" font-size="13">{title}</text>',
            *panels,
            "</svg>",
            "",
        ]
    )


def _panel(name: str, seconds: Sequence[float], values: Sequence[float], top: int) -> str:
    most, end = max(values) * 1.1 or 1.0, max(seconds) or 1.0
    right, bottom = WIDTH - 12, top + HEIGHT

    def point(second: float, value: float) -> str:
        x = LEFT + (right - LEFT) * second / end
        return f"{x:.1f},{bottom - HEIGHT * value / most:.1f}"

    line = " ".join(point(*one) for one in zip(seconds, values, strict=True))
    grid = "".join(
        f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share:.0f}</text>'
        for share in (0.0, 0.5, 1.0)
        for y in [bottom - HEIGHT * share]
    )
    return (
        f'<text x="{LEFT}" y="{top - 4}">{name}</text>{grid}'
        f'<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="1.2"/>'
        f'<text x="{right}" y="{bottom + 13}" text-anchor="end">{end / 60:.0f} min</text>'
    )
