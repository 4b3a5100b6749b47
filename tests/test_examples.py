"""The examples do what they say, as processes of their own, against a server in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

EXAMPLES = Path(__file__).parent.parent / "examples"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(realtime_server: RealtimeServer, tmp_path: Path) -> Iterator[Start]:
    """Starts an example; what still runs at the end is killed."""
    environment = {
        **os.environ,
        "TRIGGER_API_URL": realtime_server.url,
        "TRIGGER_ACCESS_TOKEN": "tr_example",
        "PYTHONIOENCODING": "utf-8",
    }
    with ExitStack() as stack:

        def run(name: str, *arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield run


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_waiting_blocks_until_the_output_is_there(realtime_server, start):
    """The script is still waiting while the run executes, and prints what it returned."""
    run_id = realtime_server.create_run(status="EXECUTING")
    process = start("wait_for_completion.py", run_id)
    realtime_server.wait_until_held(timeout=30)
    realtime_server.complete_run(run_id, output={"pages": 3})
    assert ended(process) == (0, "{'pages': 3}\n", "")


def test_waiting_tells_of_a_failure(realtime_server, start):
    """A failed run makes the script fail, with the run's own message."""
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.fail_run(run_id, "out of paper")
    code, out, err = ended(start("wait_for_completion.py", run_id))
    assert (code, out) == (1, "")
    assert "FAILED" in err
    assert "out of paper" in err


def test_a_chat(realtime_server, start):
    """Each line is a message to the agent, whose answer is printed; the end of the input closes
    the chat."""
    process = start("chat.py", "my-agent", "chat/7")
    assert process.stdout.readline() == "[new chat/7]\n"
    chat = realtime_server.session("chat/7")
    for number, (asked, answer) in enumerate([("Hello?", ("Hel", "lo!")), ("Bye", ("Bye.",))]):
        process.stdin.write(f"{asked}\n")
        process.stdin.flush()
        eventually(lambda number=number: len(chat.records("in")) > number)
        body = json.loads(chat.records("in")[number]["body"])
        assert json.loads(body["data"]) == {"kind": "message", "text": asked}
        chat.write(*({"type": "text-delta", "delta": part} for part in answer))
        chat.complete_turn(took_in=number)
        assert process.stdout.readline() == "".join(answer) + "\n"
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "[the user has left]\n", "")


def test_callbacks_tell_each_change(realtime_server, start):
    """Each change prints a line, and the last one ends the script."""
    run_id = realtime_server.create_run()
    process = start("callbacks.py", run_id)
    assert process.stdout.readline().split() == ["QUEUED", "None"]
    realtime_server.wait_until_held(timeout=30)
    realtime_server.update_run(run_id, status="EXECUTING", metadata={"step": 1})
    assert process.stdout.readline().split() == ["EXECUTING", "{'step':", "1}"]
    realtime_server.complete_run(run_id, output="fine")
    code, out, err = ended(process)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "finished: fine"


def test_callbacks_end_with_a_terminal_error(start):
    """A run that does not exist ends the script instead of leaving it waiting."""
    code, _, err = ended(start("callbacks.py", "run_unknown"))
    assert code == 0
    assert err.startswith("error: ")


def test_the_dashboard_draws_all_runs_of_the_tag(realtime_server, start):
    """It draws runs with the tag alone, again at each change, and ends quietly by Ctrl-C."""
    run_id = realtime_server.create_run("shown", tags=["t"], status="EXECUTING")
    realtime_server.create_run("hidden", tags=["other"])
    process = start("tag_dashboard.py", "t")
    read_until(process, run_id)
    realtime_server.wait_until_held(timeout=30)
    realtime_server.complete_run(run_id)
    seen = read_until(process, "1 COMPLETED") + read_until(process, run_id)
    assert "hidden" not in seen
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert (code, err) == (0, "")


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Everything up to the line that holds the text."""
    seen = ""
    while text not in seen:
        line = process.stdout.readline()
        assert line, f"ended without {text!r}: {seen}"
        seen += line
    return seen


def test_the_typed_task_reads_its_output(realtime_server, start):
    """A field of the output's type is printed."""
    run_id = realtime_server.create_run("make-thumbnails", status="EXECUTING")
    output = {"urls": ["https://example.com/1.png"], "seconds": 1.5}
    realtime_server.complete_run(run_id, output=output)
    assert ended(start("typed_task.py", run_id)) == (0, "https://example.com/1.png\n", "")


def test_the_typed_task_refuses_another_output(realtime_server, start):
    """An output of another shape is told as such."""
    run_id = realtime_server.create_run("make-thumbnails", status="EXECUTING")
    realtime_server.complete_run(run_id, output={"urls": "none"})
    code, out, err = ended(start("typed_task.py", run_id))
    assert (code, out) == (1, "")
    assert err.startswith("not what the task promised: ")


def test_tokens_are_printed_as_they_come(realtime_server, start):
    """Tokens join up to the text, before the run has finished."""
    run_id = realtime_server.create_run(status="EXECUTING")
    process = start("llm_tokens.py", run_id, "openai")
    realtime_server.append(run_id, "openai", "Hel", "lo")
    assert process.stdout.read(5) == "Hello"
    realtime_server.append(run_id, "openai", "!")
    realtime_server.complete_run(run_id)
    assert ended(process) == (0, "!\n[COMPLETED]\n", "")


def test_a_piped_stream_goes_on_where_it_was(realtime_server, start, tmp_path):
    """Killed in the middle, with half a line written, it ends up with each part once."""
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.append(run_id, "out", {"n": 0}, {"n": 1})
    file, state = tmp_path / "parts.jsonl", tmp_path / "parts.jsonl.state"
    process = start("stream_to_file.py", run_id, "out", str(file))
    length_of_two = len('{"n": 0}\n') * 2
    # The state is replaced after each part, so that it tells when the second one was kept.
    wait_for_state(process, state, length_of_two)
    process.kill()
    process.wait()
    with file.open("ab") as half:
        half.write(b'{"n":')

    realtime_server.append(run_id, "out", {"n": 2})
    realtime_server.complete_run(run_id)
    assert ended(start("stream_to_file.py", run_id, "out", str(file))) == (0, "", "")
    assert [json.loads(line)["n"] for line in file.read_text().splitlines()] == [0, 1, 2]


def wait_for_state(process: subprocess.Popen[str], state: Path, size: int) -> None:
    while not (state.exists() and json.loads(state.read_text())[0] == size):
        assert process.poll() is None, process.communicate()


def test_every_example_is_tested():
    """No example is left out here."""
    told = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in told] == []
