"""Runs the tests on every Python that setup.cfg names, out of an sdist that was unpacked.

    python tools/pythons.py              a slice of the tests, on each with the newest of all,
                                         and on the oldest with the oldest versions as well
    python tools/pythons.py --all        all tests, some ten minutes for each
    python tools/pythons.py --only 3.12 oldest
    python tools/pythons.py --others     not on the Python that runs this, but for `oldest`
    python tools/pythons.py --missing    prints the Pythons that are not installed

So it is also proven that the sdist holds all that the tests need. A Python that is not installed is
skipped, and named: `tools/install-pythons` gets it. Needs `build`; each environment is made anew.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What differs between versions of Python and of libraries: parsers, types, threads, and the way
# from a trigger to the callback. It takes some ten seconds.
SLICE = (
    *("tests/decode", "tests/encode", "tests/dispatch"),
    *("tests/wire/test_sse.py", "tests/wire/test_shape_log.py"),
    *("tests/client/test_updates.py", "tests/streams/test_exact.py"),
    *("tests/calls/test_trigger.py", "tests/test_packaging.py"),
)
OLDEST = "oldest"


def config(name: str) -> ConfigParser:
    """Return one of the project's files."""
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / name, encoding="utf-8")
    return parser


def versions() -> list[str]:
    """Return the Pythons that the package claims."""
    return re.findall(r"Python :: (3\.\d+)", config("setup.cfg")["metadata"]["classifiers"])


def interpreter(version: str) -> str | None:
    """Return the path of a Python of this version that works, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # pyenv's own scripts on the path refuse what is not its current version.
    found = sorted(pyenv.glob(f"versions/{version}.*/bin/python"), key=_patch, reverse=True)
    candidates = [*map(str, found), shutil.which(f"python{version}"), sys.executable]
    code = "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, candidates):
        done = subprocess.run([path, "-c", code], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() == version:
            return path
    return None


def _patch(path: Path) -> int:
    numbers = re.findall(r"\d+", path.parent.parent.name)
    return int(numbers[2]) if len(numbers) > 2 else -1


def unpacked_sdist(folder: Path) -> Path:
    """Build an sdist, unpack it there, and return its folder."""
    _check([sys.executable, "-m", "build", "--sdist", "--outdir", str(folder), str(ROOT)])
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder)
    return folder / archive.name.removesuffix(".tar.gz")


class Environment:
    """A Python with this package in it, beside the folder of its tests.

    Args:
        name: a version, or `oldest`.
        sources: the unpacked sdist.
    """

    def __init__(self, name: str, sources: Path) -> None:
        self.name = name
        self._sources = sources
        self._version = versions()[0] if name == OLDEST else name
        self._python = sources.parent / f"venv-{name}" / "bin" / "python"

    def run(self, arguments: list[str]) -> tuple[bool, str]:
        """Install, then run pytest.

        Returns:
            Whether all went well, and a line to print; with all of the output if it did not.
        """
        base = interpreter(self._version)
        if base is None:
            return True, f"{self.name}: SKIPPED, Python {self._version} is not installed"
        began = time.monotonic()
        try:
            self._install(base)
            output = self._test(arguments)
        except subprocess.CalledProcessError as error:
            return False, f"{self.name}: FAILED\n{error.output}"
        summary = output.strip().splitlines()[-1].strip("= ")
        return True, f"{self.name}: {summary}, {time.monotonic() - began:.0f} s in all ({base})"

    def _install(self, base: str) -> None:
        _check([base, "-m", "venv", str(self._python.parent.parent)])
        pinned: list[str] = []
        if self.name == OLDEST:
            lines = config("tox.ini")["testenv:oldest"]["deps"].splitlines()
            pinned = [line.strip() for line in lines if "==" in line]
        pip = [str(self._python), "-m", "pip", "install", "--quiet", "--no-compile"]
        _check([*pip, f"{self._sources}[test]", "pytest-xdist", *pinned])

    def _test(self, arguments: list[str]) -> str:
        how = ["-q", "-p", "no:cacheprovider", *arguments]
        return _check([str(self._python), "-m", "pytest", *how], cwd=self._sources)


def _check(command: list[str], cwd: Path = ROOT) -> str:
    """Run a command and return its output; raises `CalledProcessError` with it."""
    # What is installed is to be found, not what another environment was told.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ).stdout


def main() -> int:
    """Run what the arguments ask for, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="all tests, not only a slice")
    parser.add_argument("--only", nargs="+", choices=[*versions(), OLDEST], help="on these alone")
    parser.add_argument("--others", action="store_true", help="not on the Python that runs this")
    parser.add_argument("--missing", action="store_true", help="print what is not installed")
    options = parser.parse_args()
    if options.missing:
        print("\n".join(one for one in versions() if interpreter(one) is None))
        return 0
    names = options.only or [*versions(), OLDEST]
    if options.others:
        names = [one for one in names if one != "{}.{}".format(*sys.version_info)]
    # All at once would take each other's processor, and the tests know time.
    arguments = ["-n", "auto", "--maxprocesses", "4"] if options.all else list(SLICE)
    side_by_side = 1 if options.all else min(4, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        sources = unpacked_sdist(Path(folder))
        environments = [Environment(name, sources) for name in names]
        went_well = True
        with ThreadPoolExecutor(side_by_side) as pool:
            for good, line in pool.map(lambda one: one.run(arguments), environments):
                went_well &= good
                print(line, flush=True)
    return 0 if went_well else 1


if __name__ == "__main__":
    raise SystemExit(main())
