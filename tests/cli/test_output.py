"""A stdout that can't be written, and colors."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .conftest import CLI, ended

FULL = "/dev/full"
COMMANDS = [
    ("wait", "run_1"),
    ("wait", "run_1", "--json"),
    ("watch", "run", "run_1"),
    ("stream", "run_1"),
    ("demo", "--speed", "50"),
    ("serve", "--port", "0"),
    ("completion", "bash"),
]


@pytest.fixture
def finished_run(realtime_server):
    realtime_server.create_run(id="run_1", status="EXECUTING")
    realtime_server.append("run_1", "default", "text")
    realtime_server.complete_run("run_1")


@pytest.mark.skipif(not os.path.exists(FULL), reason="there is no device that is always full")
@pytest.mark.parametrize("arguments", [*COMMANDS, ("--help",), ("--version",)], ids=" ".join)
def test_a_full_stdout_is_a_line_and_a_code(command, finished_run, arguments):
    """74, and the reason."""
    with open(FULL, "w") as full:
        end = ended(command(*arguments, stdout=full))
    assert end.code == 74
    assert end.err == "trigger-realtime: can't write to stdout: No space left on device\n"


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_closed_stdout_is_a_line_and_a_code(environment, finished_run, arguments):
    """74, and the reason; Python has no `sys.stdout` there."""
    done = closed(environment, ">&-", *arguments)
    assert done.returncode == 74
    assert done.stderr == "trigger-realtime: can't write to stdout: Bad file descriptor\n"


@pytest.mark.parametrize(
    ("redirection", "arguments", "code"),
    [
        (">&- 2>&-", ("wait", "run_1"), 74),
        ("2>&-", ("wait", "run_unknown"), 66),
        ("2>&-", ("wait",), 64),
        (">&-", ("--help",), 0),
        (f"2>{FULL}", ("wait", "run_unknown"), 66),
        (f"2>{FULL}", ("nope",), 64),
        (f">{FULL} 2>{FULL}", ("wait", "run_1"), 74),
    ],
    ids=str,
)
def test_the_exit_code_stays_where_nothing_can_be_said(
    environment, finished_run, redirection, arguments, code
):
    """Neither a traceback nor the interpreter's 120."""
    done = closed(environment, redirection, *arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "colored"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, False),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
    ids=str,
)
def test_colors_can_be_forced_in_a_pipe(command, environment, finished_run, given, colored):
    """`FORCE_COLOR` colors the status, `NO_COLOR` goes before; JSON has no colors."""
    for name in ("FORCE_COLOR", "NO_COLOR"):
        environment.pop(name, None)
    environment |= given
    end = ended(command("wait", "run_1"))
    assert ("\x1b[32mCOMPLETED\x1b[0m" in end.out) is colored
    assert ("\x1b" in end.out) is colored
    assert "\x1b" not in ended(command("wait", "run_1", "--json")).out


def closed(environment, redirection, *arguments):
    """Run a command with streams that the shell redirects or closes."""
    line = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, *CLI, *arguments]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=60)
