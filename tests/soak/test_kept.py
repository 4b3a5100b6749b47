"""What runs cost that come, finish and leave: a slice of `python -m tests.soak.kept`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


def test_runs_that_left_are_not_kept_whole():
    """A thousand with outputs of 50 KB, each told once, would be fifty megabytes."""
    command = [sys.executable, "-m", "tests.soak.kept", "--runs", "1000", "--most", "14"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
