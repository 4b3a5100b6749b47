"""Puts the peers in place: a virtual environment, and the npm packages of the lock file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
ENVIRONMENT = HERE / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
OFFICIAL = ("@trigger.dev/core", "@trigger.dev/sdk")


def set_up() -> None:
    """Installs what is missing, and this project anew, as its users get it: not editable."""
    if not PYTHON.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        _pip("-r", str(HERE / "requirements.txt"))
    _install_project()
    if not all(_package(name).exists() for name in OFFICIAL):
        subprocess.run(["npm", "ci", "--silent"], cwd=HERE, check=True)


def _install_project() -> None:
    """From a copy, so that neither an old build directory nor this checkout is part of it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        copy.mkdir()
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(REPOSITORY / name, copy)
        ignored = shutil.ignore_patterns("__pycache__")
        package = "trigger_realtime_sync"
        shutil.copytree(REPOSITORY / package, copy / package, ignore=ignored)
        _pip(str(copy))
        _pip("--force-reinstall", "--no-deps", str(copy))


def _pip(*arguments: str) -> None:
    quiet = ["-qqq", "--disable-pip-version-check"]
    subprocess.run([str(PYTHON), "-m", "pip", "install", *quiet, *arguments], check=True)


def versions() -> str:
    """What was measured, in one line."""
    code = (
        "import platform, importlib.metadata as m;"
        "names = ['requests', 'urllib3', 'sseclient-py', 'httpx', 'httpx-sse', 'orjson'];"
        "print('Python', platform.python_version(), *[f', {n} {m.version(n)}' for n in names])"
    )
    python = subprocess.run([str(PYTHON), "-c", code], check=True, capture_output=True, text=True)
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True)
    official = [f"{name} {json.loads(_package(name).read_text())['version']}" for name in OFFICIAL]
    ours = python.stdout.strip().replace(" ,", ",")
    return f"{ours}; Node {', '.join([node.stdout.strip(), *official])}"


def _package(name: str) -> Path:
    return HERE / "node_modules" / name / "package.json"


if sys.platform == "win32":
    raise SystemExit("the benchmarks read /proc: they need Linux")
