"""Errors are one line on stderr, have exit codes, and never show a token."""

from __future__ import annotations

import socket

import pytest

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


def test_no_token_is_told_with_the_variables_to_set(command, environment):
    """64, before anything is sent."""
    del environment["TRIGGER_ACCESS_TOKEN"]
    end = ended(command("watch", "run", "run_1"))
    assert end.code == 64
    assert "TRIGGER_SECRET_KEY or TRIGGER_ACCESS_TOKEN" in end.err
    assert len(end.err.splitlines()) == 1


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
