"""Errors are one line on stderr, have exit codes, and never show a token."""

from __future__ import annotations

import re
import socket

import pytest

from trigger_realtime_sync import __version__
from trigger_realtime_sync.cli._arguments import parse

from .conftest import TOKEN, ended


@pytest.mark.parametrize(
    "arguments",
    [
        ("watch", "run", "run_1"),
        ("watch", "tag", "t"),
        ("watch", "batch", "batch_1"),
        ("wait", "run_1"),
        ("stream", "run_1"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(("status", "code"), [(401, 77), (403, 77), (400, 69)])
def test_a_refusal_has_a_code_and_a_line(realtime_server, command, arguments, status, code):
    """77 for a refused token, 69 for any other refusal."""
    realtime_server.fail_next(status=status, times=100, body={"error": "Not this time"})
    end = ended(command(*arguments))
    assert (end.code, end.out) == (code, "")
    assert len(end.err.splitlines()) == 1
    assert end.err.startswith("trigger-realtime: ")
    assert TOKEN not in end.err


@pytest.mark.parametrize("arguments", [("watch", "run"), ("wait",), ("stream",)], ids=" ".join)
def test_an_unknown_run_is_not_found(command, arguments):
    """66, and a hint at what to check."""
    end = ended(command(*arguments, "run_unknown"))
    assert end.code == 66
    assert "check the id" in end.err


@pytest.mark.parametrize(
    "arguments",
    [("watch", "run", "r"), ("wait", "r"), ("wait", "batch", "b"), ("stream", "r")],
    ids=" ".join,
)
def test_no_token_is_told_with_what_to_set_or_give(command, environment, arguments):
    """64, before anything is sent: the variables, and the option."""
    del environment["TRIGGER_ACCESS_TOKEN"]
    end = ended(command(*arguments))
    assert end.code == 64
    assert "TRIGGER_SECRET_KEY or TRIGGER_ACCESS_TOKEN" in end.err
    assert "--token" in end.err
    assert len(end.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "named"),
    [({}, "TRIGGER_ACCESS_TOKEN"), ({"TRIGGER_SECRET_KEY": "tr_x"}, "TRIGGER_SECRET_KEY")],
)
def test_a_refused_token_is_named_by_where_it_came_from(
    realtime_server, command, environment, given, named
):
    """The variable that was used, or the option."""
    environment |= given
    realtime_server.fail_next(status=401, times=100)
    assert f"check {named}: wrong" in ended(command("wait", "run_1")).err
    assert "check --token: wrong" in ended(command("wait", "run_1", "--token", "tr_y")).err


@pytest.mark.parametrize("arguments", [("watch", "batch"), ("wait", "batch")], ids=" ".join)
def test_an_unknown_batch_is_what_the_server_says(command, arguments):
    """It is asked for again for some seconds, since replicas lag; that is no lost connection."""
    end = ended(command(*arguments, "batch_unknown"))
    assert end.code == 66
    assert "no connection" not in end.err
    assert all("batch batch_unknown: HTTP 404" in line for line in end.err.splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("watch",),
        ("watch", "run"),
        ("watch", "run", ""),
        ("watch", "tag", "a,b"),
        ("watch", "tag", "a", "--created-at", "soon"),
        ("watch", "run", "run_1", "--throttle-ms", "-1"),
        ("watch", "run", "run_1", "--throttle-ms", "nan"),
        ("watch", "run", "run_1", "--base-url", "ftp://x"),
        ("wait", "run_1", "--timeout", "-1"),
        ("wait", "run_1", "--timeout", "soon"),
        ("watch", "run", "run_1", "--js"),
        ("watch", "run", "run_1", "--time", "1"),
        ("wait", "run_1", "--tim", "1"),
        ("stream", "run_1", "--from"),
        ("--vers",),
        ("stream", "run_1", "--start-index", "1", "--from-latest"),
        ("stream", "run_1", "--start-index", "-1"),
        ("stream", "run_1", "--last-event-id", "x"),
        ("completion", "tcsh"),
        ("demo", "--speed", "0"),
        ("serve", "--port", "70000"),
        ("serve", "--backend", "other"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_not_taken_for_the_end_of_a_run(command, arguments):
    """64, since 2, which is what argparse would say, means that a run was cancelled."""
    end = ended(command(*arguments))
    assert (end.code, end.out) == (64, "")
    assert end.err.splitlines()[-1].startswith("trigger-realtime")
    assert "Traceback" not in end.err


@pytest.mark.parametrize("status", [200, 401, 404, 500])
def test_the_token_is_never_shown(realtime_server, command, status):
    """Not even if it was given as an option, or the server sends it back."""
    run_id = realtime_server.create_run()
    realtime_server.complete_run(run_id)
    if status != 200:
        realtime_server.fail_next(status=status, body="no", times=1)
    end = ended(command("watch", "run", run_id, "--token", "tr_from_the_command_line"))
    assert "tr_from_the_command_line" not in end.out + end.err
    sent = realtime_server.wait_for_requests(1)[0]
    assert sent.headers["authorization"] == "Bearer tr_from_the_command_line"


def test_a_wait_times_out(realtime_server, command):
    """124, as with `timeout`."""
    run_id = realtime_server.create_run()
    end = ended(command("wait", run_id, "--timeout", "0.2"))
    assert (end.code, end.out) == (124, "")
    assert run_id in end.err
    assert "0.2" in end.err


def test_a_taken_port_is_told(command):
    """69, and a message with the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        end = ended(command("serve", "--port", port))
    assert end.code == 69
    assert port in end.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("watch", "run", ""), "RUN is empty"),
        (("watch", "batch", "."), "BATCH must not be"),
        (("watch", "run", "r", "--base-url", "x"), "--base-url must be"),
        (("watch", "run", "r", "--throttle-ms", "-1"), "--throttle-ms must be"),
        (("wait", "r", "--token", " "), "--token is empty"),
        (("stream", "r", "--last-event-id", "x"), "--last-event-id 'x'"),
        (("trigger", "t", "--delay", "300"), "--delay must be"),
        (("trigger", "t", "--ttl", "soon"), "--ttl must be"),
        (("reschedule", "r", "300"), "DELAY must be"),
        (("token", "create", "--timeout", "90"), "--timeout must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_mistakes_are_named_as_they_were_typed(command, arguments, said):
    """Not by the arguments of the library's functions."""
    assert said in ended(command(*arguments)).err


@pytest.mark.parametrize(
    "arguments",
    [("watch", "tag", "t"), ("wait", "tag", "t", "--expected", "1")],
    ids=lambda words: words[0],
)
def test_an_age_that_servers_clamp_is_told(realtime_server, command, arguments):
    """Of more than 24 hours, before what is found is taken for all there is."""
    asking = (*arguments, "--timeout", "0", "--created-at")
    assert "24h at most" in ended(command(*asking, "1d1s")).err
    assert "24h at most" not in ended(command(*asking, "24h")).err


@pytest.mark.parametrize(
    "arguments",
    [("watch", "tag", "t"), ("watch", "run", "run_1"), ("stream", "run_1")],
    ids=" ".join,
)
def test_following_ends_when_its_time_is_up(realtime_server, command, arguments):
    """124, after what there was; a tag has no other end."""
    realtime_server.create_run(id="run_1", tags=["t"], status="EXECUTING")
    realtime_server.append("run_1", "default", "text")
    end = ended(command(*arguments, "--timeout", "4s"))
    assert end.code == 124
    assert "did not end within 4.0s" in end.err
    assert ("text" if arguments[0] == "stream" else "run_1") in end.out


@pytest.mark.parametrize(
    "command_line",
    ["", "watch", "watch run", "watch tag", "watch batch", "stream", "wait", "demo", "serve",
     "completion"],
)  # fmt: skip
def test_help_has_examples_that_parse(command, command_line):
    """Each example is one that the command line takes."""
    end = ended(command(*command_line.split(), "--help"))
    assert (end.code, end.err) == (0, "")
    examples = end.out.split("examples:\n")[1].splitlines()
    lines = [re.search(r"trigger-realtime ([^#)|&>]+)", line) for line in examples if line.strip()]
    assert lines
    for line in lines:
        assert line is not None
        if "--help" not in line[1]:
            assert parse(line[1].split()).handler


def test_it_is_a_module_of_the_package(command):
    """`python -m trigger_realtime_sync`, where the script is not on the path."""
    end = ended(command("--version", python=("-m", "trigger_realtime_sync")))
    assert (end.code, end.out) == (0, f"trigger-realtime {__version__}\n")
