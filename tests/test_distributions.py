"""The files of a release, as users get them: built, installed in a fresh environment, and tried."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What a build, a test or an editor leaves behind.
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", ".gate", ".nox", ".tox", "node_modules", "build", "dist", "mutants",
    "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", ".coverage*",
)  # fmt: skip
# What the first screen of the README does, without a clone.
TRIED = """
import trigger_realtime_sync
from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer
with RealtimeServer() as server:
    server.task("t")(lambda payload: payload["n"] + 1)
    with RealtimeClient("tr_any", base_url=server.url) as client:
        print(client.trigger("t", {"n": 1}).result(timeout=30), trigger_realtime_sync.__file__)
"""


def checked(command: list[str], cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with an sdist, and the wheel that was built out of it."""
    if find_spec("build") is None or find_spec("setuptools") is None:
        pytest.skip("build or setuptools is not installed: pip install -e '.[dev]'")
    folder = tmp_path_factory.mktemp("release")
    # A copy: a build writes into the folder, where other tests read at the same time.
    sources = folder / "sources"
    shutil.copytree(ROOT, sources, ignore=LEFT_BEHIND)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    checked([*build, str(sources)], folder)
    return folder


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_it_works_where_nothing_else_is_installed(built, tmp_path, kind):
    """A trigger and its result, the marker of types, the command: from the wheel and the sdist."""
    (file,) = built.glob(kind)
    checked([sys.executable, "-m", "venv", "fresh"], tmp_path)
    scripts = tmp_path / "fresh" / "bin"
    checked([str(scripts / "pip"), "install", "--quiet", str(file)], tmp_path)
    result, where = checked([str(scripts / "python"), "-W", "error", "-c", TRIED], tmp_path).split()
    assert result == "2"
    assert Path(where).is_relative_to(tmp_path)
    assert (Path(where).parent / "py.typed").exists()
    assert "watch" in checked([str(scripts / "trigger-realtime"), "--help"], tmp_path)


def test_the_sdist_has_the_tests_and_all_they_read(built):
    """And nothing that a test or an editor left behind."""
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"tests/conftest.py", "tests/support/raw.py", "docs/protocol.md", ".ci/run", "tox.ini"}
    needed |= {"examples/callbacks.py", "tests/interop/package-lock.json", "tools/mutate.py"}
    assert needed <= names
    assert [name for name in names if re.search(r"node_modules|__pycache__|\.pyc$", name)] == []


def test_the_wheel_has_the_package_alone(built):
    """Its metadata name the licence, the author and addresses that are absolute."""
    (file,) = built.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        (info,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(info).decode()
    assert {top.partition("-")[0] for top in tops} == {"trigger_realtime_sync"}
    head, _, page = metadata.partition("\n\n")
    assert "License-Expression: MIT\n" in head
    assert re.search(r"^Author: .+$", head, re.MULTILINE)
    assert len(re.findall(r"^Project-URL: \w+, https://\S+$", head, re.MULTILINE)) >= 4
    assert re.findall(r"\]\((?!https://)[^)]*\)", page) == []
