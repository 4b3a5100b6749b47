"""Mutation testing of `_wire/` and `_decode/`: would a test fail if this line were wrong?

    pip install "mutmut>=3.8,<4"
    python tools/mutate.py               a sample of 300 mutants, about ten minutes
    python tools/mutate.py --sample 60 --only '*shape_log*'
    python tools/mutate.py --sample 0    every mutant, over an hour

The sample depends on the seed and the code alone, and is spread over the files by their size. A
mutant that runs into the time limit counts as killed. `[tool.mutmut]` in pyproject.toml says
what is mutated and which tests run; mutmut leaves out properties, other decorated functions and
code outside functions. Its copy of the project is `mutants/`: remove it to start afresh, and see
one mutant with `mutmut show NAME`.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from mutmut.configuration import config
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import (
    get_mutant_name,
    orig_function_and_class_names_from_key,
)

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("trigger_realtime_sync")
ROOMS = ("_wire", "_decode")
KILLED = {"killed", "timeout", "segfault", "suspicious"}


def main() -> None:
    """Test a sample of the mutants, print the survivors and the score of each room."""
    arguments = _arguments()
    os.chdir(ROOT)
    os.nice(19)
    names = _sample(arguments.only, arguments.sample, arguments.seed)
    if not names:
        sys.exit(f"no mutant is called {arguments.only}")
    _run(list(names), arguments.jobs)
    statuses = _statuses(names)
    print("\nSurvivors")
    for name, path in names.items():
        if statuses[name] not in KILLED:
            print("\n".join(_shown(name, path, statuses[name])))
    _print_scores(names, statuses)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=300, help="how many mutants; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="*", help="a pattern of mutant names, such as '*sse*'")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def _sample(only: str, size: int, seed: int) -> dict[str, Path]:
    """Return the file of each mutant in the sample, by the mutant's name."""
    every = {name: path for name, path in _mutants() if fnmatch(name, only)}
    if not 0 < size < len(every):
        return every
    chosen = set(random.Random(seed).sample(list(every), size))
    return {name: path for name, path in every.items() if name in chosen}


def _mutants() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        for path in sorted((PACKAGE / room).glob("*.py")):
            if config().should_mutate(path):
                for name in mutate_file_contents(str(path), path.read_text()).mutant_names:
                    yield get_mutant_name(path, name), path


def _run(names: list[str], jobs: int) -> None:
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
    # Hypothesis then draws the same examples each time, and a busy machine makes none too slow.
    environment = {**os.environ, "CI": "1", "STREAM_V1_TRIALS": "300"}
    # A path to this checkout would hide the mutated copy.
    environment.pop("PYTHONPATH", None)
    ended = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        sys.exit(re.sub(r"[^\n]*\r", "", ended.stdout))


def _statuses(names: dict[str, Path]) -> dict[str, str]:
    statuses: dict[str, str] = {}
    for path in set(names.values()):
        results = SourceFileMutationData(path=path)
        results.load()
        for name, code in results.exit_code_by_key.items():
            statuses[name] = status_by_exit_code[code]
    return statuses


def _shown(name: str, path: Path, status: str) -> Iterator[str]:
    """Yield where the mutant is, and the lines that it changes."""
    diff = get_diff_for_mutant(name).splitlines()
    changed = [n for n, line in enumerate(diff) if line[:1] in ("-", "+") and n > 1]
    hunk = next(n for n, line in enumerate(diff) if line.startswith("@@"))
    offset = int(re.findall(r"\d+", diff[hunk])[0]) + changed[0] - hunk - 2
    yield f"{path}:{_first_line(name, path) + offset}  {name} ({status})"
    yield from (f"    {diff[n]}" for n in changed)


def _first_line(name: str, path: Path) -> int:
    """Return the line on which the function that holds the mutant starts."""
    function, class_name = orig_function_and_class_names_from_key(name)
    scope: ast.AST = ast.parse(path.read_text())
    for wanted in filter(None, (class_name, function)):
        scope = next(n for n in ast.walk(scope) if getattr(n, "name", None) == wanted)
    assert isinstance(scope, ast.FunctionDef)
    return min((node.lineno for node in scope.decorator_list), default=scope.lineno)


def _print_scores(names: dict[str, Path], statuses: dict[str, str]) -> None:
    columns = ("mutants", "killed", "timeout", "survived", "score")
    print(f"\n{'':10}" + "".join(f"{column:>10}" for column in columns))
    for room in (*ROOMS, "all"):
        found = Counter(
            statuses[name] for name, path in names.items() if room in ("all", path.parent.name)
        )
        if total := found.total():
            killed = sum(found[status] for status in KILLED)
            print(
                f"{room:10}{total:10}{killed:10}{found['timeout']:10}{total - killed:10}"
                f"{100 * killed / total:9.1f}%"
            )


if __name__ == "__main__":
    main()
