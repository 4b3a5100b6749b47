"""`batch`: a run for each line of JSON."""

from __future__ import annotations

import json

import pytest

from .conftest import ended

ITEMS = """\
{"task": "double", "payload": 1, "options": {"tags": ["n:1"], "delay": "5m"}}

{"task": "other"}
"""


@pytest.fixture
def file(tmp_path):
    """Write a file, and return its path."""

    def write(text):
        path = tmp_path / "items.ndjson"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_the_id_stands_alone_on_stdout(realtime_server, command, file):
    """Each line is an item with options of its own; the key finds the batch again."""
    path = file(ITEMS)
    end = ended(command("batch", path, "--key", "k"))
    assert (end.code, end.err) == (0, "")
    assert end.out.startswith("batch_")
    double, other = realtime_server.triggered()
    assert (double.task, double.payload, double.options["tags"]) == ("double", 1, ["n:1"])
    assert double.options["delay"] == "5m"
    assert (other.task, other.payload) == ("other", None)
    again = ended(command("batch", path, "--key", "k", "--json"))
    found = {"id": end.out.strip(), "run_count": 2, "is_cached": True}
    assert json.loads(again.out) == found
    assert "triggered before" in again.err


def test_with_a_task_each_line_is_a_payload(realtime_server, command, file):
    """Also from stdin, where no file is named; a text may hold what ends lines elsewhere."""
    path = file('{"task": "no"}\r\n"a\u2028b"\n')
    with open(path, encoding="utf-8") as stdin:
        end = ended(command("batch", "--task", "t", stdin=stdin))
    assert (end.code, end.err) == (0, "")
    assert [one.payload for one in realtime_server.triggered("t")] == [{"task": "no"}, "a\u2028b"]


def test_waiting_prints_the_runs(realtime_server, command, file):
    """The exit code is that of `wait`, and the id is on stderr."""

    @realtime_server.task("double")
    def double(n):
        if n < 0:
            raise ValueError("too few")
        return 2 * n

    path = file("1\n2\n")
    arguments = ("batch", path, "--task", "double", "--wait", "--timeout", "30s")
    end = ended(command(*arguments, "--json"))
    assert end.code == 0
    assert sorted(json.loads(line)["output"] for line in end.lines) == [2, 4]
    assert end.err.startswith("batch_")
    end = ended(command("batch", file("1\n-1\n"), "--task", "double", "--wait"))
    assert end.code == 1
    assert {line.split()[3] for line in end.lines} == {"COMPLETED", "FAILED"}
    end = ended(command("batch", path, "--task", "never", "--wait", "--timeout", "0.3"))
    assert end.code == 124
    assert "0 of 2 known runs finished" in end.err


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("", [], "empty"),
        ("\n\n", ["--task", "t"], "empty"),
        ('{"task": "t"}\nno json\n', [], "line 2"),
        ("[1]\n", [], "--task"),
        ('{"task": "t", "tags": ["a"]}\n', [], "options"),
        ('{"task": "t", "options": {"delay": "tomorrow"}}\n', [], "line 1: delay"),
        ('{"task": "t", "options": {"idempotencyKey": "k"}}\n', [], "idempotencyKey"),
        ('{"task": "t", "options": {"debounce": {"key": "k"}}}\n', [], "line 1"),
        ('{"task": "t", "options": []}\n{"task": "t", "options": [1]}\n', [], "line 2"),
        ("1\n", ["--task", "t", "--timeout", "5"], "--wait"),
    ],
)
def test_a_mistake_is_told_before_anything_is_sent(
    realtime_server, command, file, text, arguments, said
):
    """With its line, and the exit code of a wrong usage."""
    end = ended(command("batch", file(text), *arguments))
    assert (end.code, end.out) == (64, "")
    assert said in end.err
    assert realtime_server.requests == []


def test_a_file_that_is_not_there_is_told(command):
    """By its name."""
    end = ended(command("batch", "/no/such/file"))
    assert end.code == 64
    assert "/no/such/file" in end.err


def test_a_doubt_is_told(realtime_server, command, file):
    """Whether something was begun; and how to try again."""
    never = {"status": 500, "headers": {"x-should-retry": "false"}}
    realtime_server.fail_next(match="batch_items", **never)
    end = ended(command("batch", file('{"task": "t"}\n')))
    assert (end.code, end.out) == (69, "")
    assert "--key" in end.err
    realtime_server.fail_next(match="batch_create", status=422)
    end = ended(command("batch", file('{"task": "t"}\n')))
    assert "--key" not in end.err


def test_a_debounce_is_an_object(realtime_server, command, file):
    """As its Python class, by its arguments."""
    line = '{"task": "t", "options": {"debounce": {"key": "k", "delay": "5s"}}}\n'
    assert ended(command("batch", file(line))).code == 0
    (asked,) = realtime_server.triggered("t")
    assert asked.options["debounce"] == {"key": "k", "delay": "5s"}
