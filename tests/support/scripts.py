"""Scripts run in a process of their own: what only shows at a fork, or at the very end."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import attrs


@attrs.frozen
class Ran:
    code: int
    out: str
    err: str
    seconds: float

    def lines(self) -> list[str]:
        return self.out.splitlines()


def run(script: str, *arguments: str, timeout: float = 60.0) -> Ran:
    """Runs Python source with these arguments. `seconds` begin when it printed `END`, if it did."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Python looks there first: the package that the tests import is the one to be run.
        cwd=sys.prefix,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    assert process.stderr is not None
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
