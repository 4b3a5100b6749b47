"""What is shown on a terminal: the live table, or plain lines and a hint."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from .conftest import CLI, WITHOUT_RICH, Command

OnTerminal = Callable[..., tuple[int, str, str]]


@pytest.fixture
def on_terminal(command: Command, environment: dict[str, str]) -> Iterator[OnTerminal]:
    """Run a command on a terminal to its end; returns exit code, screen and stderr."""
    environment |= {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    master, slave = pty.openpty()

    def run(*arguments: str, python: tuple[str, ...] = CLI) -> tuple[int, str, str]:
        process: subprocess.Popen[str] = command(*arguments, python=python, stdout=slave)
        os.close(slave)
        shown = b""
        # Linux ends the reading of a terminal that nobody holds any more with an error.
        with suppress(OSError):
            while some := os.read(master, 65536):
                shown += some
        err = process.stderr.read()
        return process.wait(30), shown.decode(), err

    yield run
    os.close(master)


def test_a_terminal_gets_a_live_table(realtime_server, on_terminal):
    """With a headline, a bar from the progress, and the whole message of a failure."""
    run_id = realtime_server.create_run("make-pdf", metadata={"progress": {"percentage": 50}})
    realtime_server.fail_run(run_id, "out of paper in tray 2 [bold] and the toner is low as well")
    code, shown, err = on_terminal("watch", "run", run_id)
    assert (code, err) == (1, "")
    assert f"run {run_id}" in shown
    assert "1 failed" in shown
    assert "make-pdf" in shown
    assert re.search(r"━+.*─+.* 50%", shown)
    assert "out of paper in tray 2 [bold] and the toner is low as well" in shown


def test_the_table_is_not_steered_by_what_it_shows(realtime_server, on_terminal):
    """Control characters from the network are replaced."""
    run_id = realtime_server.create_run("evil\x1b]0;title\x07", tags=["a\x1b[31mb"])
    realtime_server.complete_run(run_id)
    code, shown, _ = on_terminal("watch", "run", run_id)
    assert code == 0
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown


def test_streamed_text_on_a_terminal_is_made_safe(realtime_server, on_terminal):
    """Line ends stay, control characters do not."""
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.append(run_id, "default", "one\n\x1b[2Jtwo")
    realtime_server.complete_run(run_id)
    code, shown, _ = on_terminal("stream", run_id)
    assert (code, shown) == (0, "one\r\n\N{REPLACEMENT CHARACTER}[2Jtwo")


def test_without_rich_there_are_lines_and_a_hint(realtime_server, on_terminal):
    """The hint names the extra, once, on stderr."""
    run_id = realtime_server.create_run()
    realtime_server.complete_run(run_id)
    code, shown, err = on_terminal("watch", "run", run_id, python=WITHOUT_RICH)
    assert code == 0
    assert "trigger-realtime-sync[cli]" in err
    assert len(err.splitlines()) == 1
    assert len(shown.splitlines()) == 1
    assert run_id in shown


def test_a_pipe_needs_no_hint(realtime_server, command):
    """Plain lines are what a pipe gets anyway."""
    run_id = realtime_server.create_run()
    realtime_server.complete_run(run_id)
    _, err = command("watch", "run", run_id, python=WITHOUT_RICH).communicate(timeout=30)
    assert err == ""
