"""`runs`, `reschedule` and `tag`."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from .conftest import ended


def test_runs_are_listed(realtime_server, command):
    """The newest first, each as a line or as JSON; filters choose."""
    made = [realtime_server.create_run("t", tags=[f"n:{n}"]) for n in range(3)]
    other = realtime_server.create_run("other", status="EXECUTING")
    end = ended(command("runs"))
    assert (end.code, end.err) == (0, "")
    assert [line.split()[1] for line in end.lines] == [other, *reversed(made)]
    listed = [json.loads(line) for line in ended(command("runs", "--task", "t", "--json")).lines]
    assert [one["id"] for one in listed] == list(reversed(made))
    assert listed[0]["tags"] == ["n:2"]
    # A list has no values for them, and null would be one.
    assert not {"payload", "output", "error"} & listed[0].keys()
    end = ended(command("runs", "--tag", "n:0", "--tag", "n:1", "--status", "queued"))
    assert [line.split()[1] for line in end.lines] == [made[1], made[0]]


def test_a_list_is_as_long_as_was_asked_for(realtime_server, command):
    """However many pages that takes; stderr says that there are more."""
    made = [realtime_server.create_run("t") for _ in range(130)]
    end = ended(command("runs", "--limit", "120"))
    assert [line.split()[1] for line in end.lines] == made[:9:-1]
    assert "there are more" in end.err
    assert ended(command("runs", "--limit", "130")).err == ""


def test_nothing_found_is_told(realtime_server, command):
    """With how far was looked back, where nobody said it."""
    end = ended(command("runs"))
    assert (end.code, end.out) == (0, "")
    assert "7 days" in end.err
    (request,) = realtime_server.requests
    assert "period" not in request.path
    ended(command("runs", "--since", "1d"))
    assert realtime_server.requests[-1].query["filter[createdAt][period]"] == "1d"


def test_a_status_that_is_not_known_is_told(realtime_server, command):
    """A server refuses it, and does not say why."""
    end = ended(command("runs", "--status", "nonsense"))
    assert (end.code, end.out) == (69, "")
    assert "known are" in end.err


def test_cancelled_is_understood_as_it_is_spelled_elsewhere(realtime_server, command):
    """Servers write it with one l."""
    run_id = realtime_server.create_run(status="CANCELED")
    realtime_server.create_run()
    end = ended(command("runs", "--status", "cancelled"))
    assert (end.code, end.err, len(end.lines)) == (0, "", 1)
    assert run_id in end.out


def test_runs_are_shown_by_their_ids(realtime_server, command):
    """As a list does, and as JSON with all there is to know."""
    run_id = realtime_server.create_run("t", payload={"a": 1})
    realtime_server.complete_run(run_id, output=[1])
    again = ended(command("replay", run_id)).out.strip()
    lines = ended(command("runs", run_id, again)).lines
    assert [line.split()[1:4] for line in lines] == [
        [run_id, "t", "COMPLETED"],
        [again, "t", "QUEUED"],
    ]
    shown = json.loads(ended(command("runs", run_id, "--json")).out)
    assert (shown["payload"], shown["output"]) == ({"a": 1}, [1])
    assert {"version", "attempt_count", "parent", "root", "children"} <= shown.keys()
    assert ended(command("runs", "run_unknown")).code == 66


def test_a_delayed_run_is_rescheduled(realtime_server, command):
    """And the new time is printed."""
    run_id = ended(command("trigger", "t", "--delay", "5m")).out.strip()
    end = ended(command("reschedule", run_id, "2h"))
    told = datetime.strptime(end.out.strip(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    assert abs(told - datetime.now(timezone.utc) - timedelta(hours=2)) < timedelta(minutes=1)
    assert ended(command("reschedule", realtime_server.create_run("t"), "2h")).code == 69


def test_tags_are_added(realtime_server, command):
    """To those that are there; nothing is printed."""
    run_id = realtime_server.create_run("t", tags=["a"])
    end = ended(command("tag", run_id, "b", "c"))
    assert (end.code, end.out, end.err) == (0, "", "")
    assert json.loads(ended(command("runs", run_id, "--json")).out)["tags"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "--since", "yesterday"],
        ["runs", "--limit", "0"],
        ["runs", "--tag", "a,b"],
        ["runs", "run_1", "--tag", "a"],
        ["runs", ""],
        ["reschedule", "run_1", "tomorrow"],
        ["reschedule", "run_1", "0s"],
        ["reschedule", "run_1"],
        ["tag", "run_1", "a,b"],
        ["tag", "run_1"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_before_anything_is_sent(realtime_server, command, arguments):
    """With the exit code of a wrong usage."""
    end = ended(command(*arguments))
    assert (end.code, end.out) == (64, "")
    assert end.err
    assert realtime_server.requests == []


def test_what_servers_say_controls_no_terminal(realtime_server, command):
    """Neither in lines nor in JSON."""
    realtime_server.create_run("t\x1b[2J", tags=["\x1b]0;x\x07"])
    for end in (ended(command("runs")), ended(command("runs", "--json"))):
        assert end.lines
        assert "\x1b" not in end.out
        assert "\x07" not in end.out
