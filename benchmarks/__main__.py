"""Sets the peers up, measures, and prints one table.

    python -m benchmarks                      everything: about five minutes
    python -m benchmarks streams snapshots    some of it
    python -m benchmarks --picture            a subset, drawn: benchmarks/picture.svg
    python -m benchmarks --write              everything, written into docs/performance.md too
    python -m benchmarks fleet                processes that share by a Redis: see fleet.py

Needs Linux, Python 3.10 or newer, Node 20 or newer with npm; nothing else: the peers come from
PyPI and npm into this folder.
"""

from __future__ import annotations

import argparse
import sys

from ._picture import svg
from ._rows import PICTURED, QUICK, SECTIONS, SMOKE, WHOLE, run
from ._setup import HERE, REPOSITORY, set_up, versions
from ._table import markdown

EFFORTS = {"whole": WHOLE, "quick": QUICK, "smoke": SMOKE}
START, END = "<!-- made by: python -m benchmarks --write -->", "<!-- end of what was made -->"


def main() -> None:
    if sys.argv[1:2] == ["fleet"]:
        from .fleet import main as measure_fleet

        measure_fleet(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("section", nargs="*", help=f"some of: {', '.join(SECTIONS)}")
    parser.add_argument("--effort", choices=EFFORTS)
    parser.add_argument("--picture", action="store_true", help="draw a subset")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    parser.add_argument("--no-setup", action="store_true", help="the peers are in place")
    options = parser.parse_args()
    names = options.section or (PICTURED if options.picture else SECTIONS)
    for name in names:
        if name not in SECTIONS:
            parser.error(f"there is no section {name!r}")
    if not options.no_setup:
        set_up()
    effort = EFFORTS[options.effort or ("quick" if options.picture else "whole")]
    report = run(list(names), effort)
    table = markdown(report, versions())
    sys.stdout.write(f"{table}\n")
    if options.picture:
        (HERE / "picture.svg").write_text(svg(report))
    if options.write:
        _write(table)


def _write(table: str) -> None:
    page = REPOSITORY / "docs" / "performance.md"
    before, _, rest = page.read_text().partition(START)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{START}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()
