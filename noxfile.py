"""The checks of this project, for the environment that nox itself is installed in.

`nox` runs the linters, the type checkers and all tests; `nox -s test -- wire streams` the tests of
two rooms; `nox -l` lists what else there is. Nothing is installed: `pip install -e '.[dev]'` once.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "test"]

# Most tests wait most of the time: four at a time fit on two cores.
PARALLEL = ("-n", "4")
# Of all parts, these see the most JSON.
PARSING_PARTS = (
    *("tests/wire", "tests/decode", "tests/client/test_completion.py"),
    *("tests/client/test_order.py", "tests/client/test_updates.py"),
    *("tests/streams/test_exact.py", "tests/calls/test_trigger.py"),
)


def python(session: nox.Session, *arguments: str) -> None:
    """Run a module with the interpreter of this environment."""
    session.run(sys.executable, "-m", *arguments, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and its format."""
    python(session, "ruff", "check", ".")
    python(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types, by mypy and by pyright: the package, and the public API as users write it."""
    python(session, "mypy")
    python(
        session,
        "mypy",
        "examples/typed_task.py",
        *sorted(map(str, Path("tests/typing").glob("*.py"))),
    )
    python(session, "pyright", "--pythonpath", sys.executable)


@nox.session
def test(session: nox.Session) -> None:
    """Tests: all, or those of the parts named after `--` (folders or files of tests/)."""
    arguments = [_path_of(argument) for argument in session.posargs]
    python(session, "pytest", *PARALLEL, *arguments)


@nox.session
def without_orjson(session: nox.Session) -> None:
    """A slice of the tests as they run without the extra `speed`."""
    python(session, "pytest", "-q", *PARALLEL, "-p", "tests.support.without_orjson", *PARSING_PARTS)


@nox.session
def pythons(session: nox.Session) -> None:
    """A slice of the tests on every Python that is claimed, out of the sdist; `--all` for all."""
    session.run(sys.executable, "tools/pythons.py", *session.posargs, external=True)


@nox.session
def package(session: nox.Session) -> None:
    """What a release consists of: it can be built, nothing is missing, and its page is shown."""
    folder = session.create_tmp()
    for old in Path(folder).glob("trigger_realtime_sync-*"):
        old.unlink()
    python(session, "build", "--outdir", folder)
    python(session, "twine", "check", "--strict", *map(str, Path(folder).glob("*-*")))
    if Path(".git").exists():
        # Git refuses to look into a folder of somebody else's, which a container may have.
        trusted = {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        session.run(sys.executable, "-m", "check_manifest", external=True, env=trusted)
    else:
        session.warn("no git here: whether the sdist has every file is not checked")


@nox.session
def release(session: nox.Session) -> None:
    """Build, check and tag a release, and publish nothing: `nox -s release -- 1.2.3`."""
    session.run(sys.executable, "tools/release.py", *session.posargs, external=True)


@nox.session
def coverage(session: nox.Session) -> None:
    """All tests, measured; fails below the floor in pyproject.toml."""
    python(session, "pytest", *PARALLEL, "--cov", *session.posargs)


@nox.session
def gate(session: nox.Session) -> None:
    """What a change must pass, in an environment of its own: `.ci/run`."""
    session.run("bash", ".ci/run", *session.posargs, external=True)


@nox.session
def changelog(session: nox.Session) -> None:
    """The changelog as it would be with the fragments of changelog.d/."""
    python(session, "towncrier", "build", "--draft", "--version", "Unreleased")


def _path_of(argument: str) -> str:
    """The folder or file of a part; anything else is pytest's."""
    for path in (f"tests/{argument}", f"tests/{argument}.py", f"tests/test_{argument}.py"):
        if Path(path).exists():
            return path
    return argument
