"""`stream`, `wait`, `demo` and `serve` in a pipe."""

from __future__ import annotations

import json
import re
import signal

import pytest
import requests

from .conftest import ended


def test_text_comes_raw_and_at_once(realtime_server, command):
    """Tokens join up as they were written, with nothing added, not even at the end."""
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.append(run_id, "openai", "Hel", "lo,\n")
    process = command("stream", run_id, "openai")
    assert process.stdout.read(7) == "Hello,\n"
    realtime_server.append(run_id, "openai", " wörld\x1b[0m")
    realtime_server.complete_run(run_id)
    end = ended(process)
    assert (end.code, end.out, end.err) == (0, " wörld\x1b[0m", "")


def test_objects_are_json_lines(realtime_server, command):
    """A part that is no text is a line of JSON; the stream's name is optional."""
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.append(run_id, "default", {"a": "é"}, 1, None, [True])
    realtime_server.complete_run(run_id)
    end = ended(command("stream", run_id))
    assert (end.code, end.lines) == (0, ['{"a": "é"}', "1", "null", "[true]"])


def test_json_makes_lines_of_texts_too(realtime_server, command):
    """With --json each line is one part."""
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.append(run_id, "default", "a\nb", {"c": 1})
    realtime_server.complete_run(run_id)
    end = ended(command("stream", run_id, "--json"))
    assert [json.loads(line) for line in end.lines] == ["a\nb", {"c": 1}]


def test_an_output_without_utf8_is_still_json(realtime_server, command, environment):
    """Characters that the terminal can't encode are escaped as in JSON."""
    environment["PYTHONIOENCODING"] = "ascii"
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.append(run_id, "default", {"a": "é\ud800"})
    realtime_server.complete_run(run_id)
    assert json.loads(ended(command("stream", run_id)).out) == {"a": "é\ud800"}


@pytest.mark.parametrize("keys", [[], ["answer", "other"]], ids=str)
def test_a_stream_that_never_existed_is_told(realtime_server, command, keys):
    """66, and the streams that the run has; one that is there and empty is no mistake."""
    run_id = realtime_server.create_run(status="EXECUTING")
    for key in keys:
        realtime_server.append(run_id, key, "text")
    realtime_server.complete_run(run_id)
    end = ended(command("stream", run_id, "anwser"))
    assert (end.code, end.out) == (66, "")
    assert "never had a stream 'anwser'" in end.err
    assert ", ".join(keys) in end.err
    for key in keys:
        assert ended(command("stream", run_id, key, "--start-index", "1")).code == 0


def test_an_interrupted_stream_goes_on_where_it_was(realtime_server, command):
    """What it says on stderr is the place behind what was printed."""
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.append(run_id, "default", "one", "two")
    process = command("stream", run_id)
    assert process.stdout.read(6) == "onetwo"
    process.send_signal(signal.SIGINT)
    end = ended(process)
    assert (end.code, end.out) == (130, "")
    option, place = end.err.split()[-2:]
    realtime_server.append(run_id, "default", "three")
    realtime_server.complete_run(run_id)
    again = ended(command("stream", run_id, option, place.strip("'")))
    assert (again.code, again.out, again.err) == (0, "three", "")


def test_a_stream_begins_where_it_is_told_to(realtime_server, command):
    """At the number of a part, or at what is written next."""
    run_id = realtime_server.create_run(status="EXECUTING")
    realtime_server.append(run_id, "default", "a", "b", "c")
    latest = command("stream", run_id, "--from-latest")
    realtime_server.wait_until_held(timeout=30)
    realtime_server.wait_for_requests(1, match="stream", timeout=30)
    realtime_server.append(run_id, "default", "d")
    assert latest.stdout.read(1) == "d"
    realtime_server.complete_run(run_id)
    assert ended(latest).out == ""
    assert ended(command("stream", run_id, "--start-index", "2")).out == "cd"


def test_wait_prints_the_run_as_json(realtime_server, command):
    """One object, when the run has finished."""
    run_id = realtime_server.create_run()
    process = command("wait", run_id, "--timeout", "30", "--json")
    realtime_server.wait_until_held(timeout=30)
    realtime_server.complete_run(run_id, output={"pages": 3})
    end = ended(process)
    assert end.code == 0
    assert json.loads(end.out)["output"] == {"pages": 3}


def test_wait_is_interrupted_quietly(realtime_server, command):
    """Ctrl-C: 130, without a traceback."""
    process = command("wait", realtime_server.create_run())
    realtime_server.wait_until_held(timeout=30)
    process.send_signal(signal.SIGINT)
    end = ended(process)
    assert (end.code, end.out, end.err) == (130, "", "")


def test_the_demo_plays_to_its_end(command, environment):
    """It needs no token or server, shows all ways that runs end, and prints a next step."""
    del environment["TRIGGER_ACCESS_TOKEN"], environment["TRIGGER_API_URL"]
    end = ended(command("demo", "--speed", "30"))
    assert (end.code, end.err) == (0, "")
    for text in ("QUEUED", "WAITING", "EXECUTING", "COMPLETED", "CANCELED", "FAILED", "100%"):
        assert text in end.out
    assert "answer: A queue holds work that is still to be done.\n" in end.out
    assert "7 runs finished: 5 completed, 1 failed, 1 cancelled." in end.out
    assert "from trigger_realtime_sync import RealtimeClient" in end.out


@pytest.mark.parametrize("backend", ["native", "electric"])
def test_serve_plays_the_runs_of_the_demo(command, backend):
    """Its first line has a URL that serves runs with the tag."""
    process = command("serve", "--port", "0", "--backend", backend, "--speed", "50")
    url = re.search(r"http://[^\s,]+", process.stdout.readline())
    assert url is not None
    while "new runs" not in process.stdout.readline():
        pass
    answer = requests.get(
        f"{url[0]}/realtime/v1/runs?tags=demo&offset=-1",
        headers={"Authorization": "Bearer tr_demo"},
        timeout=30,
    )
    assert answer.status_code == 200
    assert "answer-question" in answer.text
    while "new runs" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    end = ended(process)
    assert (end.code, end.err) == (130, "")
