"""`watch` in a pipe: plain lines, JSON lines, and its ends."""

from __future__ import annotations

import json
import signal
from datetime import datetime

import pytest

from .conftest import ended


def test_a_run_is_watched_until_it_has_finished(realtime_server, command):
    """Each change is a line at once, with task, status, progress and note."""
    run_id = realtime_server.create_run("make-pdf", tags=["user:7"])
    process = command("watch", "run", run_id)
    assert process.stdout.readline().split()[1:4] == [run_id, "make-pdf", "QUEUED"]
    realtime_server.wait_until_held(timeout=30)
    realtime_server.update_run(
        run_id, status="EXECUTING", metadata={"progress": {"current": 1, "total": 4}}
    )
    line = process.stdout.readline().split()
    assert line[3:5] == ["EXECUTING", "25%"]
    assert line[-1] == "#user:7"
    realtime_server.complete_run(run_id)
    end = ended(process)
    assert (end.code, end.err) == (0, "")
    assert end.lines[-1].split()[3] == "COMPLETED"


@pytest.mark.parametrize(("how", "code"), [("complete", 0), ("fail", 1), ("cancel", 2)])
def test_the_exit_code_tells_how_the_run_went(realtime_server, command, how, code):
    """0 completed, 1 failed, 2 cancelled, for `watch run` and for `wait`."""
    run_id = realtime_server.create_run()
    getattr(realtime_server, f"{how}_run")(run_id)
    assert ended(command("watch", "run", run_id)).code == code
    assert ended(command("wait", run_id)).code == code


def test_a_failed_run_shows_its_message_on_one_line(realtime_server, command):
    """Text from the network neither breaks the line nor controls the terminal."""
    run_id = realtime_server.create_run()
    realtime_server.fail_run(run_id, "out of\npaper \x1b[2J\x9b")
    end = ended(command("watch", "run", run_id))
    assert len(end.lines) == 1
    assert "out of paper" in end.out
    assert "\x1b" not in end.out
    assert "\x9b" not in end.out


def test_json_lines_hold_the_whole_run(realtime_server, command):
    """Payload, output, metadata and times, with substitutes for values that JSON can't hold."""
    payload = (
        '{"json": {"n": "12345678901234567890", "x": "NaN"},'
        ' "meta": {"values": {"n": ["bigint"], "x": ["number"]}}}'
    )
    run_id = realtime_server.create_run(
        "t", payload=(payload, "application/super+json"), metadata={"a": 1}, tags=["x"]
    )
    realtime_server.complete_run(run_id, output=[1, "é"])
    end = ended(command("watch", "run", run_id, "--json"))
    assert end.code == 0
    (run,) = [json.loads(line) for line in end.lines]
    assert run["id"] == run_id
    assert run["status"] == "COMPLETED"
    assert run["payload"] == {"n": 12345678901234567890, "x": "NaN"}
    assert run["output"] == [1, "é"]
    assert run["metadata"] == {"a": 1}
    assert run["tags"] == ["x"]
    assert datetime.fromisoformat(run["finished_at"]).utcoffset() is not None


def test_a_payload_that_can_not_be_read_does_not_end_it(realtime_server, command):
    """The run is still shown, with the error beside it."""
    run_id = realtime_server.create_run(
        payload=("{broken", "application/json"), metadata=("{", "application/json")
    )
    realtime_server.complete_run(run_id, output=1)
    end = ended(command("watch", "run", run_id, "--json"))
    assert end.code == 0
    run = json.loads(end.out)
    assert (run["payload"], run["output"]) == (None, 1)
    assert set(run["payload_errors"]) == {"payload", "metadata"}
    assert ended(command("watch", "run", run_id)).code == 0


def test_a_tag_is_watched_until_interrupted(realtime_server, command):
    """New runs show up, finished ones do not end it, and Ctrl-C ends it quietly with 130."""
    first = realtime_server.create_run(tags=["t"])
    realtime_server.complete_run(first)
    process = command("watch", "tag", "t", "--created-at", "1h")
    assert first in process.stdout.readline()
    realtime_server.wait_until_held(timeout=30)
    second = realtime_server.create_run(tags=["t"])
    assert second in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    end = ended(process)
    assert (end.code, end.err) == (130, "")
    asked = realtime_server.wait_for_requests(1, match="runs")[0]
    assert asked.query["createdAt"] == "1h"


def test_several_tags_are_asked_for_together(realtime_server, command):
    """A run must have all of them."""
    wanted = realtime_server.create_run(tags=["a", "b"])
    realtime_server.create_run(tags=["a"])
    process = command("watch", "tag", "a", "b", "--json")
    assert json.loads(process.stdout.readline())["id"] == wanted
    realtime_server.wait_until_held(timeout=30)
    process.send_signal(signal.SIGINT)
    assert ended(process).out == ""


def test_a_batch_is_watched_until_all_of_it_has_finished(realtime_server, command):
    """It ends by itself; one failed run makes the exit code 1."""
    good, bad = realtime_server.create_run(), realtime_server.create_run()
    batch = realtime_server.batch(good, bad)
    process = command("watch", "batch", batch)
    realtime_server.wait_until_held(timeout=30)
    realtime_server.fail_run(bad)
    realtime_server.complete_run(good)
    end = ended(process)
    assert end.code == 1
    assert {line.split()[3] for line in end.lines[-2:]} == {"COMPLETED", "FAILED"}


def test_a_lost_connection_is_told_once_and_survived(realtime_server, command):
    """A message on stderr says that it tries again; it continues when the server is back."""
    run_id = realtime_server.create_run()
    realtime_server.fail_next(status=503, times=3, match="run")
    process = command("watch", "run", run_id, "--json")
    assert "trying again" in process.stderr.readline()
    assert json.loads(process.stdout.readline())["id"] == run_id
    realtime_server.complete_run(run_id)
    assert ended(process).code == 0


def test_a_closed_pipe_ends_it_quietly(realtime_server, command):
    """`trigger-realtime … | head -1` leaves no traceback."""
    run_id = realtime_server.create_run()
    process = command("watch", "run", run_id)
    process.stdout.readline()
    process.stdout.close()
    realtime_server.wait_until_held(timeout=30)
    realtime_server.update_run(run_id, status="EXECUTING")
    assert process.wait(30) == 141
    assert process.stderr.read() == ""


def test_updates_can_be_throttled(realtime_server, command):
    """Changes within the time coalesce, and the end is shown at once."""
    run_id = realtime_server.create_run()
    process = command("watch", "run", run_id, "--throttle-ms", "600000")
    assert "QUEUED" in process.stdout.readline()
    realtime_server.wait_until_held(timeout=30)
    realtime_server.update_run(run_id, status="EXECUTING")
    realtime_server.wait_for_requests(3, match="run", timeout=30)
    realtime_server.complete_run(run_id)
    assert [line.split()[3] for line in ended(process).lines] == ["COMPLETED"]
