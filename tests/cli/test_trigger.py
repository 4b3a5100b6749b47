"""`trigger`: the id alone on stdout, and what follows with `--wait`, `--watch` and `--stream`."""

from __future__ import annotations

import json
import shlex
import signal

import pytest

from .conftest import ended


def test_the_id_stands_alone_on_stdout(realtime_server, command):
    """So that `$(…)` works."""
    end = ended(
        command(
            "trigger", "t", '{"a": 1}', "--tag", "x", "--tag", "y", "--delay", "5m", "--ttl", "1h",
            "--queue", "q", "--key", "k", "--metadata", '{"m": 1}', "--machine", "micro",
            "--priority", "1m5s",
        )
    )  # fmt: skip
    (asked,) = realtime_server.triggered("t")
    assert (end.code, end.out) == (0, f"{asked.run_id}\n")
    assert asked.payload == {"a": 1}
    assert asked.options["tags"] == ["x", "y"]
    assert (asked.options["delay"], asked.options["ttl"]) == ("5m", "1h")
    assert asked.options["priority"] == 65
    again = ended(command("trigger", "t", "--key", "k", "--json"))
    assert json.loads(again.out) == {"id": asked.run_id, "task": "t", "is_cached": True}
    assert "triggered before" in again.err


@pytest.mark.parametrize("where", ["argument", "file", "stdin"])
def test_a_payload_comes_from_anywhere(realtime_server, command, tmp_path, where):
    """As JSON; as text where the command says so."""
    path = tmp_path / "payload.json"
    path.write_text("[1, 2]", encoding="utf-8")
    given = {"argument": "[1, 2]", "file": f"@{path}", "stdin": "-"}[where]
    with path.open() as stdin:
        assert ended(command("trigger", "t", given, stdin=stdin)).code == 0
    with path.open() as stdin:
        assert ended(command("trigger", "t", given, "--text", stdin=stdin)).code == 0
    assert [one.payload for one in realtime_server.triggered("t")] == [[1, 2], "[1, 2]"]


def test_waiting_prints_the_output(realtime_server, command):
    """As JSON; the exit code is that of `wait`."""
    realtime_server.task("double")(lambda n: 2 * n)
    end = ended(command("trigger", "double", "21", "--wait", "--timeout", "30s"))
    assert (end.code, end.out) == (0, "42\n")
    assert end.err.strip() == realtime_server.triggered("double")[0].run_id
    run = json.loads(ended(command("trigger", "double", "2", "--wait", "--json")).out)
    assert (run["status"], run["output"]) == ("COMPLETED", 4)


def test_a_run_that_fails_is_an_exit_code(realtime_server, command):
    """With its error on stderr."""

    @realtime_server.task("t")
    def fail(payload: object) -> None:
        raise ValueError("no luck")

    end = ended(command("trigger", "t", "--wait"))
    assert (end.code, end.out) == (1, "")
    assert "no luck" in end.err
    assert ended(command("trigger", "never", "--wait", "--timeout", "0.2")).code == 124


def test_watching_and_streaming(realtime_server, command):
    """As `watch` and `stream` do."""
    realtime_server.task("t")(lambda payload: payload)
    end = ended(command("trigger", "t", "5", "--watch", "--json"))
    assert end.code == 0
    assert json.loads(end.lines[-1])["output"] == 5
    process = command("trigger", "s", "--stream", "answer")
    realtime_server.wait_for_requests(1, match="trigger", timeout=20)
    run_id = process.stderr.readline().strip()
    realtime_server.append(run_id, "answer", "Hello ", "world")
    realtime_server.complete_run(run_id)
    end = ended(process)
    assert (end.code, end.out.strip()) == (0, "Hello world")


def test_a_stream_that_the_run_never_had(realtime_server, command):
    """66, and the streams that it has, as `stream` says it."""
    process = command("trigger", "s", "--stream", "anwser")
    run_id = process.stderr.readline().strip()
    realtime_server.append(run_id, "answer", "Hello")
    realtime_server.complete_run(run_id)
    end = ended(process)
    assert (end.code, end.out) == (66, "")
    assert "never had a stream 'anwser'; its streams: answer" in end.err


@pytest.mark.parametrize("printed", [True, False])
def test_an_interrupted_stream_says_how_to_go_on(realtime_server, command, printed):
    """By a command that can be copied."""
    process = command("trigger", "s", "--stream", "an answer")
    run_id = process.stderr.readline().strip()
    if printed:
        realtime_server.append(run_id, "an answer", "Hello ", "world")
        assert process.stdout.read(11) == "Hello world"
    else:
        realtime_server.wait_for_requests(1, match="stream", timeout=20)
    process.send_signal(signal.SIGINT)
    end = ended(process)
    assert end.code == 130
    told = next(line for line in end.err.splitlines() if "to read on: " in line)
    again = shlex.split(told.partition("to read on: ")[2])
    assert again[:4] == ["trigger-realtime", "stream", run_id, "an answer"]
    assert ("--last-event-id" in again) == printed
    if not printed:
        realtime_server.append(run_id, "an answer", "Hello world")
    realtime_server.append(run_id, "an answer", "!")
    realtime_server.complete_run(run_id)
    assert ended(command(*again[1:])).out.strip() == ("!" if printed else "Hello world!")


def test_a_stream_that_takes_too_long_says_how_to_go_on(realtime_server, command):
    """As one that is interrupted."""
    end = ended(command("trigger", "s", "--stream", "answer", "--timeout", "0.5"))
    assert end.code == 124
    run_id = realtime_server.triggered("s")[0].run_id
    assert f"to read on: trigger-realtime stream {run_id} answer" in end.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["t", "no json"],
        ["t", "@/no/such/file"],
        ["t", "1", "--delay", "tomorrow"],
        ["t", "1", "--metadata", "[1]"],
        ["t", "1", "--metadata", "x"],
        ["t", "1", "--tag", "a,b"],
        ["t", "1", "--timeout", "5"],
        ["t", "1", "--wait", "--watch"],
        ["", "1"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_before_anything_is_sent(realtime_server, command, arguments):
    """With the exit code of a wrong usage."""
    end = ended(command("trigger", *arguments))
    assert (end.code, end.out) == (64, "")
    assert end.err
    assert realtime_server.requests == []


def test_a_doubt_is_told(realtime_server, command):
    """Whether there is a run; and how to try again."""
    never = {"status": 500, "headers": {"x-should-retry": "false"}}
    realtime_server.fail_next(match="trigger", **never)
    end = ended(command("trigger", "t"))
    assert end.code == 69
    assert "--key" in end.err


def test_other_calls(realtime_server, command):
    """Each says nothing but an id, if there is one."""
    run_id = realtime_server.create_run(task="t")
    assert ended(command("send", run_id, "s", '{"a": 1}')).code == 0
    assert realtime_server.inputs(run_id, "s") == [{"a": 1}]
    again = ended(command("replay", run_id))
    assert again.code == 0
    assert again.out.startswith("run_")
    assert ended(command("cancel", run_id, again.out.strip())).code == 0
    assert ended(command("cancel", "run_unknown")).code == 66
    assert ended(command("send", run_id, "s", "no json")).code == 64
