"""Commands as processes, against a server in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import attrs
import pytest

from trigger_realtime_sync.testing import RealtimeServer

TOKEN = "tr_dev_do_not_show_me"
CLI = ("-W", "error", "-m", "trigger_realtime_sync.cli")
WITHOUT_RICH = (
    "-c",
    "import sys; sys.modules['rich'] = None\n"
    "from trigger_realtime_sync.cli import main; sys.exit(main())",
)

Command = Callable[..., "subprocess.Popen[str]"]


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait until a command has ended."""
    out, err = process.communicate(timeout=30)
    return Ended(process.returncode, out, err)


@pytest.fixture
def environment(realtime_server: RealtimeServer) -> dict[str, str]:
    """The environment of the commands: the server's URL, and a token."""
    # Unbuffered, what is printed too late would not show.
    dropped = ("TRIGGER_", "PYTHONUNBUFFERED")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(dropped)}
    return {
        **kept,
        "TRIGGER_API_URL": realtime_server.url,
        "TRIGGER_ACCESS_TOKEN": TOKEN,
        "PYTHONIOENCODING": "utf-8",
    }


@pytest.fixture
def command(environment: dict[str, str]) -> Iterator[Command]:
    """Start commands; those that still run at the end are killed."""
    with ExitStack() as stack:

        def start(
            *arguments: str, python: tuple[str, ...] = CLI, **options: object
        ) -> subprocess.Popen[str]:
            given = {"stdout": subprocess.PIPE, "env": environment, **options}
            process = subprocess.Popen(
                [sys.executable, *python, *arguments],
                stderr=subprocess.PIPE,
                encoding="utf-8",
                **given,  # type: ignore[call-overload]
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process  # type: ignore[no-any-return]

        yield start
