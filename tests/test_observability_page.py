"""The recipes of docs/observability.md work, with the real libraries where they are installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from trigger_realtime_sync.testing import RealtimeServer

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
# What each must print, by the library that it needs.
EXPECTED = {
    "opentelemetry": ['"name": "subscription failed"', '"NotFoundError"', "there is no such run"],
    "sentry_sdk": ["there is no such run"],
    "prometheus_client": ['trigger_realtime_subscriptions{state="', "silence_seconds "],
    "logging": ["COMPLETED", '"run_id": "run_1234"', '"attempt": 1'],
}


@pytest.mark.parametrize("library", EXPECTED)
def test_a_recipe_works(library):
    """As it stands on the page."""
    (block,) = [one for one in BLOCKS if re.search(rf"^(import|from) {library}\b", one, re.M)]
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install -e '.[observed]'")
    with RealtimeServer() as server:
        server.create_run("t", id="run_1234", status="EXECUTING")
        server.complete_run("run_1234", output=1)
        if library == "logging":
            server.fail_next(match="run", status=503)
        environment = {
            **os.environ,
            "TRIGGER_API_URL": server.url,
            "TRIGGER_SECRET_KEY": "tr_recipe",
            # Where nobody listens.
            "SENTRY_DSN": "http://key@127.0.0.1:9/1",
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-c", block],
            env=environment,
            text=True,
            capture_output=True,
            timeout=60,
        )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert [one for one in EXPECTED[library] if one not in told] == []
    assert "tr_recipe" not in told
