"""What is shown on a terminal: the live table, or plain lines and a hint."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from trigger_realtime_sync.testing import RealtimeServer

from .conftest import CLI, WITHOUT_RICH, Command, ended

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


# What moves the cursor, changes colors or the title, or shows text in another order.
EVIL = "A\x9b31mRED\x9d0;title\x9c\x7f\x1b[2J\r\u061c\u200e\u200f\u202e\u2066\u2028B"
CONTROLS = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
SHOWING = [
    ("stream", "RUN"),
    ("stream", "RUN", "--json"),
    ("stream", "RUN", "evil\x9b"),
    ("watch", "run", "RUN"),
    ("watch", "run", "RUN", "--json"),
    ("watch", "tag", EVIL.replace("\x1b[2J\r", "").replace("\x7f", ""), "--timeout", "0.5"),
    ("wait", "RUN"),
    ("wait", "RUN", "--json"),
    ("wait", "RUN\x9b", "--base-url", "\x9b"),
    ("wa\x9bit",),
]


@pytest.fixture
def evil_run(realtime_server: RealtimeServer) -> str:
    """A failed run whose every text would like to control a terminal."""
    run_id = realtime_server.create_run(
        f"task{EVIL}",
        status="EXECUTING",
        payload={EVIL: EVIL},
        metadata={"status": EVIL, EVIL: EVIL},
        tags=[EVIL],
    )
    realtime_server.append(run_id, "default", {"text": EVIL, EVIL: [EVIL]}, EVIL)
    realtime_server.fail_run(run_id, EVIL, name=EVIL)
    return run_id


@pytest.mark.parametrize("arguments", SHOWING, ids=lambda words: " ".join(words[:2]))
@pytest.mark.parametrize("python", [CLI, WITHOUT_RICH], ids=["rich", "plain"])
def test_nothing_on_a_terminal_is_steered_by_what_it_shows(
    evil_run, on_terminal, arguments, python
):
    """Neither by runs, parts and errors, as text and as JSON, nor by the arguments."""
    _, shown, err = on_terminal(
        *(word.replace("RUN", evil_run) for word in arguments), python=python
    )
    assert shown + err
    # rich moves the cursor itself, by escapes of ASCII alone, and begins each frame with a return.
    without_frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", shown)
    for text in (without_frames, err):
        assert "\x1b" not in text
        assert not CONTROLS.findall(text)
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize(
    "arguments",
    [("watch", "run", "RUN"), ("wait", "RUN"), ("stream", "RUN")],
    ids=" ".join,
)
def test_json_in_a_pipe_is_exact_and_escaped(evil_run, command, arguments):
    """It parses to what was written; a terminal that it reaches later is not steered."""
    end = ended(command(*(word.replace("RUN", evil_run) for word in arguments), "--json"))
    assert not CONTROLS.findall(end.out)
    values = [json.loads(line) for line in end.out.splitlines()]
    if arguments[0] == "stream":
        assert values == [{"text": EVIL, EVIL: [EVIL]}, EVIL]
    else:
        (run,) = values
        assert run["metadata"] == {"status": EVIL, EVIL: EVIL}
        assert (run["payload"], run["tags"]) == ({EVIL: EVIL}, [EVIL])
        assert run["error"]["message"] == EVIL


def test_a_line_end_of_windows_stays(realtime_server, on_terminal):
    """A return that begins a line end is none that overwrites a line."""
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.append(run_id, "default", "one\r\ntwo\rthree")
    realtime_server.complete_run(run_id)
    _, shown, _ = on_terminal("stream", run_id)
    assert shown.replace("\r\r\n", "\r\n") == "one\r\ntwo\N{REPLACEMENT CHARACTER}three"


def test_halves_of_an_emoji_are_joined(realtime_server, on_terminal, command):
    """On a terminal and in a pipe; as JSON each part stays as it was written."""
    run_id = realtime_server.create_run(status="EXECUTING")
    for part in ("Hi \ud83d", "\ude00!", {"a": 1}, "\ud83d"):
        realtime_server.append(run_id, "default", part)
    realtime_server.complete_run(run_id)
    expected = 'Hi \N{GRINNING FACE}!{"a": 1}\n\N{REPLACEMENT CHARACTER}'
    assert ended(command("stream", run_id)).out == expected
    _, shown, _ = on_terminal("stream", run_id)
    assert shown == expected.replace("\n", "\r\n")
    lines = ended(command("stream", run_id, "--json")).lines
    assert [json.loads(line) for line in lines] == ["Hi \ud83d", "\ude00!", {"a": 1}, "\ud83d"]
