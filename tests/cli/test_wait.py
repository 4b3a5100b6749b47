"""`wait`: for runs, for runs with a tag, for a batch; how it ends, and what it says then."""

from __future__ import annotations

import json

import pytest

from .conftest import ended


@pytest.fixture
def runs(realtime_server):
    """A run of each end, and one that goes on, by how they stand."""
    created = {
        name: realtime_server.create_run(id=f"run_{name}", tags=["t"], status="EXECUTING")
        for name in ("completed", "failed", "cancelled", "executing")
    }
    realtime_server.complete_run("run_completed", output={"pages": 3})
    realtime_server.fail_run("run_failed", "out of paper")
    realtime_server.cancel_run("run_cancelled")
    return created


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["completed"], 0),
        (["completed", "cancelled"], 2),
        (["failed", "cancelled", "completed"], 1),
        (["failed", "executing", "cancelled"], 124),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("kind", ["runs", "batch"])
def test_the_worst_end_is_the_exit_code(realtime_server, command, runs, kind, names, code):
    """124 first, else 1 if one failed, else 2 if one was cancelled, else 0; each run is a line."""
    ids = [runs[name] for name in names]
    subject = ids if kind == "runs" else ["batch", realtime_server.batch(*ids)]
    end = ended(command("wait", *subject, "--timeout", "3s" if code == 124 else "5m"))
    assert end.code == code
    told = {line.split()[1] for line in end.lines}
    if code == 124:
        assert told <= set(ids) - {"run_executing"}
        assert "within 3.0s" in end.err
    else:
        assert told == set(ids)
        assert end.err == ""


def test_runs_are_told_as_they_finish(realtime_server, command, runs):
    """Each once, at once, and none waits for those that were named before it."""
    process = command("wait", "run_executing", "run_failed", "run_executing", "--json")
    assert json.loads(process.stdout.readline())["id"] == "run_failed"
    realtime_server.complete_run("run_executing", output=[1])
    end = ended(process)
    assert (end.code, end.err) == (1, "")
    assert [json.loads(line)["output"] for line in end.lines] == [[1]]


def test_one_run_that_is_not_there_ends_the_wait(command, runs):
    """66, though another one still executes."""
    end = ended(command("wait", "run_executing", "run_unknown"))
    assert (end.code, end.out) == (66, "")
    assert "run_unknown" in end.err


def test_so_many_runs_of_a_tag_are_waited_for(realtime_server, command, runs):
    """Of those that have all tags, within the time that was asked for; finished ones count."""
    for name in ("completed", "executing"):
        realtime_server.create_run(id=f"both_{name}", tags=["t", "u"], status=name.upper())
    process = command("wait", "tag", "t", "u", "--expected", "2", "--created-at", "1h", "--json")
    realtime_server.wait_until_held(timeout=30)
    realtime_server.complete_run("both_executing")
    end = ended(process)
    assert (end.code, end.err) == (0, "")
    assert {json.loads(line)["id"] for line in end.lines} == {"both_completed", "both_executing"}
    asked = realtime_server.wait_for_requests(1, match="runs")[0]
    assert (asked.query["tags"], asked.query["createdAt"]) == ("t,u", "1h")


def test_a_tag_with_too_few_runs_times_out(command, runs):
    """It says how many there were, and prints them."""
    end = ended(command("wait", "tag", "t", "--expected", "7", "--timeout", "5"))
    assert end.code == 124
    assert "tag t: 3 of 7 runs" in end.err
    assert len(end.lines) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tag", "t"], "--expected"),
        (["tag"], "TAG is missing"),
        (["batch"], "BATCH is missing"),
        (["batch", "a", "b"], "one batch"),
        (["run_1", "--expected", "1"], "wait tag"),
        (["batch", "b", "--created-at", "1h"], "wait tag"),
        (["tag", "t", "--expected", "0"], "at least 1"),
        (["tag", "t", "--expected", "-1"], "whole number"),
        (["tag", "a,b", "--expected", "1"], "comma"),
    ],
    ids=" ".join,
)
def test_what_can_not_be_waited_for_is_said(command, arguments, said):
    """64, and what is missing or too much."""
    end = ended(command("wait", *arguments))
    assert (end.code, end.out) == (64, "")
    assert said in end.err


@pytest.mark.parametrize(
    "arguments",
    [("wait", "run_1"), ("wait", "batch", "batch_1"), ("watch", "run", "run_1"),
     ("stream", "run_1"), ("wait", "tag", "t", "--expected", "1")],
    ids=" ".join,
)  # fmt: skip
def test_the_last_trouble_is_named_when_time_is_up(realtime_server, command, arguments):
    """What the server said, though all of it is retried."""
    realtime_server.fail_next(status=503, times=1000, body={"error": "Down for maintenance"})
    end = ended(command(*arguments, "--timeout", "3s"))
    last = end.err.splitlines()[-1]
    assert end.code == 124
    assert "within 3.0s; last trouble, " in last
    assert last.endswith("HTTP 503: Down for maintenance")


def test_no_trouble_is_named_where_there_was_none(realtime_server, command):
    """A run that only takes long."""
    realtime_server.create_run(id="run_1")
    end = ended(command("wait", "run_1", "--timeout", "1s"))
    assert end.err == "trigger-realtime: run run_1 did not finish within 1.0s\n"
