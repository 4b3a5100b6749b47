"""The files that describe the project agree with each other and with what is there."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import distribution, entry_points, metadata
from pathlib import Path

import pytest

import trigger_realtime_sync
from trigger_realtime_sync import Task, WaitTimeout

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "trigger_realtime_sync"


def config(name: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / name, encoding="utf-8")
    return parser


SETUP = config("setup.cfg")
TOX = config("tox.ini")


def requirements(*texts: str) -> list[str]:
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("#", "%"))]


def lowest() -> dict[str, str]:
    """The lower bounds of everything that the tests need."""
    extras = SETUP["options.extras_require"]
    named = [SETUP["options"]["install_requires"]]
    of_the_tests = extras["test"]
    named += [of_the_tests, *(extras[name] for name in re.findall(r"%\((\w+)\)s", of_the_tests))]
    return dict(line.split(">=") for line in requirements(*named))


def padded(version: str) -> str:
    return ".".join([*version.split("."), "0", "0"][:3])


def test_the_oldest_versions_are_those_that_are_tested():
    """The environment `oldest` has each lower bound of setup.cfg, and nothing else."""
    pinned = dict(line.split("==") for line in requirements(TOX["testenv:oldest"]["deps"]))
    assert pinned == {name: padded(version) for name, version in lowest().items()}


def test_every_requirement_has_a_lower_bound_alone():
    """An upper bound would break users of libraries for a guess."""
    extras = SETUP["options.extras_require"]
    every = requirements(SETUP["options"]["install_requires"], *dict(extras).values())
    assert [line for line in every if not re.fullmatch(r"[a-z-]+[0-9]?>=[0-9.]+", line)] == []


def test_every_python_that_is_named_is_tested():
    """The classifiers, the environments of tox and the lower bound say the same."""
    versions = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
    environments = re.findall(r"\bpy(3)(\d+)\b", TOX["tox"]["envlist"])
    assert [".".join(pair) for pair in environments] == versions
    assert SETUP["options"]["python_requires"] == f">={versions[0]}"
    assert TOX["testenv:oldest"]["base_python"] == f"python{versions[0]}"


def test_the_version_is_in_the_changelog():
    """With a heading of its own."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{trigger_realtime_sync.__version__}]" in changelog


def test_the_sdist_has_what_the_tests_read():
    """`check-manifest` compares them to the letter; here it is only that no folder is forgotten."""
    manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8")
    grafted = set(re.findall(r"^graft (\S+)$", manifest, re.MULTILINE))
    assert grafted >= {".ci", "benchmarks", "changelog.d", "docs", "examples", "tests", "tools"}


def test_a_release_begins_with_a_version():
    """What is no version is refused before anything is looked at or changed."""
    script = [sys.executable, str(ROOT / "tools" / "release.py")]
    done = subprocess.run([*script, "v1.2"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "no release: 'v1.2' is no version such as 1.2.3\n")


def test_the_build_knows_licence_expressions():
    """Those of setup.cfg, which older versions of setuptools refuse or drop."""
    requires = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"setuptools>=77"' in requires
    assert SETUP["metadata"]["license_expression"] == "MIT"


def test_every_dependency_is_explained():
    """With its lower bound, on the page of dependencies; those of extras too."""
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    extras = dict(SETUP["options.extras_require"])
    every = requirements(SETUP["options"]["install_requires"], *extras.values())
    names = dict(line.split(">=") for line in every)
    rows = dict(re.findall(r"^\| `([\w-]+)` \| ([\d.]+) \|", page, re.MULTILINE))
    assert rows == names


def test_ci_ends_with_the_tests_as_the_readme_runs_them():
    """The last command is that of the README, with the tests side by side, so that the last line of
    its output is pytest's summary."""
    script = ROOT / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1].startswith('"$python" -m pytest ')
    assert lines[-1].endswith(' "$@"')
    assert ".venv/bin/python -m pytest\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    if os.name == "posix":
        assert os.access(script, os.X_OK)


def test_the_extra_testing_still_installs():
    """Old requirement files ask for it, though the test server needs nothing beyond the library."""
    assert "testing" in metadata("trigger-realtime-sync").get_all("Provides-Extra", [])
    assert requirements(SETUP["options.extras_require"]["testing"]) == []


def test_the_runner_has_what_contributing_names():
    """Each `nox -s …` of the guide is a session, and each session is in the guide."""
    sessions = re.findall(
        r"^@nox\.session\ndef (\w+)",
        (ROOT / "noxfile.py").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`nox -s (\w+)", guide)) == set(sessions)


def test_cancelled_is_spelled_in_one_way():
    """With two l, but for the server's own name of the status."""
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    files += [*(ROOT / "changelog.d").glob("*.md"), *(ROOT / "examples").rglob("*.py")]
    other = re.compile(r"[Cc]anceled|[Cc]anceling")
    found = [path for path in files if other.search(path.read_text(encoding="utf-8"))]
    assert (len(files) > 100, found) == (True, [])


def test_every_fragment_of_the_changelog_has_a_kind():
    """towncrier leaves out what it does not know, without a word."""
    fragments = [path.name for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    kinds = "added|changed|deprecated|removed|fixed|security"
    assert [name for name in fragments if not re.fullmatch(rf"[\w-]+\.({kinds})\.md", name)] == []


def test_every_folder_of_the_package_is_installed():
    """A folder without `__init__.py` would be missing from a wheel; so would the type marker."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
    assert (PACKAGE / "py.typed").exists()
    assert SETUP["options.package_data"]["trigger_realtime_sync"].split() == ["py.typed"]


def test_type_checkers_find_an_editable_install():
    """It is on the path: of an import hook mypy and pyright know nothing."""
    installed = distribution("trigger-realtime-sync")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if origin.get("url") != ROOT.as_uri() or not origin.get("dir_info", {}).get("editable"):
        pytest.skip("what is installed is not this folder")
    folder = Path(str(installed.locate_file("")))
    lines = [line for path in folder.glob("*.pth") for line in path.read_text().splitlines()]
    assert str(ROOT) in [line.rstrip("/.") for line in lines]


@pytest.mark.parametrize(
    ("group", "name"),
    [("console_scripts", "trigger-realtime"), ("pytest11", "trigger_realtime_sync")],
)
def test_the_entry_points_lead_somewhere(group, name):
    """The command and the pytest plugin can be loaded."""
    found = [point for point in entry_points(group=group) if point.name == name]
    assert found
    assert found[0].load() is not None


@pytest.mark.parametrize(
    "module", ["trigger_realtime_sync", "trigger_realtime_sync.testing.pytest_plugin"]
)
def test_importing_needs_no_extra_and_starts_nothing(module):
    """Neither rich nor an HTTP server is imported by the library, and no thread runs."""
    code = (
        f"import sys, threading, {module}\n"
        "print(sorted({'http.server', 'rich'} & set(sys.modules)), threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("[] 1", "")


# What is imported with the first call. (What subscriptions need is imported when the
# first client is made: they may begin where nothing can be imported any more.)
LATER = (
    "_calls.calls", "_calls.caller", "_calls.trigger", "_calls.batch", "_calls.spans",
    "_encode.options", "_encode.superjson", "batches", "handles", "metadata",
    "pages", "resources", "wait_tokens", "testing", "contrib",
)  # fmt: skip


def test_importing_the_client_costs_no_calls_and_no_extras():
    """A program pays for what it uses, when it first does."""
    code = (
        "import sys\n"
        "from trigger_realtime_sync import RealtimeClient\n"
        "print(*sorted(name for name in sys.modules if name[:22] == 'trigger_realtime_sync.'))\n"
        "print(*sorted({'cattrs', 'pydantic', 'rich', 'opentelemetry'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    ours, *others = done.stdout.splitlines()
    imported = {name.partition(".")[2] for name in ours.split()}
    assert imported.intersection(LATER) == set()
    assert "client" in imported
    assert others == [""]


def test_modules_are_there_without_importing_them():
    """`trigger_realtime_sync.errors.WaitTimeout` works after the plain import."""
    assert trigger_realtime_sync.errors.WaitTimeout is WaitTimeout
    assert trigger_realtime_sync.models.Task is Task
    assert copy.copy(trigger_realtime_sync.config.Timeouts()).read == 45.0
