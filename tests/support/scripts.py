"""Scripts in a process of their own: what shows only at a fork or at the interpreter's exit."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Future, ThreadPoolExecutor

import attrs


@attrs.frozen
class Ran:
    code: int
    out: str
    err: str
    seconds: float

    def lines(self) -> list[str]:
        return self.out.splitlines()


def start(script: str, *arguments: str) -> Future[Ran]:
    """Run it beside the test: `.result()` waits for its end."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(run, script, *arguments)
    pool.shutdown(wait=False)
    return future


def run(script: str, *arguments: str, timeout: float = 60.0) -> Ran:
    """Run Python source with these arguments. `seconds` count from the line `END`, if printed."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Python looks there first: the package that the tests import is the one to be run.
        cwd=sys.prefix,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        said, began = [], time.monotonic()
        for line in process.stdout:
            said.append(line)
            if line == "END\n":
                began = time.monotonic()
        code = process.wait(timeout)
        return Ran(code, "".join(said), process.stderr.read(), time.monotonic() - began)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
