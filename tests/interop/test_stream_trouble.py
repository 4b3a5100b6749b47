"""What servers and networks do to streams: where theirs gets every part, ours does too."""

from __future__ import annotations

import functools
import threading
import time
from urllib.request import Request, urlopen

import pytest

from tests.chaos.faults import Buffering
from tests.chaos.proxy import Proxy
from trigger_realtime_sync import Timeouts

# Seconds: longer than ours waits for a byte, shorter than a test may take.
READ, SILENCE = 1.0, 2.5
buffering = functools.partial(Proxy, plan=Buffering())


@pytest.fixture(params=["v1", "v2"])
def version(request):
    return request.param


@pytest.mark.parametrize("where", ["after the head", "between two events"])
def test_a_finished_run_whose_last_body_falls_silent(make_pair, version, where):
    """A server under load, a network that stalls: the body goes on later, and nothing is lost."""
    pair = make_pair(streams=version, timeouts=Timeouts(read=READ))
    server = pair.server
    run = server.create_run(status="EXECUTING")
    # As many as Redis keeps; three batches of S2.
    count = 1000 if version == "v1" else 3000
    server.append(run, "s", *range(count))
    server.complete_run(run)
    before = 0 if where == "after the head" else place_between_events(server, run)
    server.fail_next(match="stream", silence=(before, SILENCE), times=2)
    both = pair.stream(run, "s")
    both.new_parts(lambda: None, count)
    both.subscription.wait_for_completion(20)


def place_between_events(server, run):
    """Return after how many bytes of the stream's body an event ends, somewhere in its middle."""
    headers = {"Authorization": "Bearer tr_x", "Timeout-Seconds": "1"}
    with urlopen(Request(f"{server.url}/realtime/v1/streams/{run}/s", headers=headers)) as answer:
        body = answer.read()
    return body.index(b"\n\n", len(body) // 2) + 2


def test_a_cancelled_run_whose_task_writes_on(make_pair, version):
    """CANCELED is no end: the worker stops later, and `completedAt` says when."""
    pair = make_pair(streams=version)
    server = pair.server
    run = server.create_run(status="EXECUTING", realtime_streams=["s"])
    both = pair.run_with_streams(run)
    both.is_compared = False
    both.new_parts(lambda: server.append(run, "s", *range(5)), 5)
    server.update_run(run, status="CANCELED")
    for part in range(5, 8):
        time.sleep(1.5)
        both.new_parts(lambda part=part: server.append(run, "s", part), 1)
    server.append(run, "s", 8)
    server.update_run(run, completedAt="2030-01-01T00:00:00.000")
    both.new_parts(lambda: None, 1)
    both.subscription.wait_for_completion(10)


def test_a_v2_stream_that_was_lost(make_pair):
    """What is written after the loss, below the position, is delivered. Ours says so as well."""
    pair = make_pair(streams="v2")
    server = pair.server
    run = server.create_run(status="EXECUTING")
    both = pair.stream(run, "s")
    both.is_compared = False
    both.new_parts(lambda: server.append(run, "s", *range(20)), 20)
    server.wait_until_held(2, match="stream")
    requests = len(server.requests)
    server.rewind_stream(run, "s")
    server.wait_for_requests(requests + 2)
    server.wait_until_held(2, match="stream")
    both.new_parts(lambda: server.append(run, "s", "new", "newer"), 2)
    assert [error.terminal for error in both.ours.errors] == [False]


def test_a_proxy_that_buffers(make_pair, version):
    """Bodies arrive whole, once the server has ended them: while the run runs, though."""
    pair = make_pair(streams=version, through=buffering, timeouts=Timeouts(read=2.0))
    run = pair.server.create_run(status="EXECUTING")
    both = pair.stream(run, "s", timeout_in_seconds=3)
    both.new_parts(lambda: pair.server.append(run, "s", "a", "b"), 2)


def test_a_proxy_that_buffers_a_busy_stream(make_pair):
    """On purpose: no body of it ever ends, and theirs gets nothing; ours drains it, on v2."""
    pair = make_pair(streams="v2", through=buffering, timeouts=Timeouts(read=2.0))
    server = pair.server
    run = server.create_run(status="EXECUTING")
    both = pair.stream(run, "s", timeout_in_seconds=3)
    both.is_compared = False
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.wait(0.3):
            server.append(run, "s", number)
            number += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        both.ours.wait_for(parts=20)
    finally:
        done.set()
        writing.join()
    assert [value for _, value in both.ours.parts[:20]] == list(range(20))
    assert both.theirs.parts == []
