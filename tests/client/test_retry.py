"""Waiting between attempts: how long, and what it starts from."""

from __future__ import annotations

import time

import pytest

from tests.support.raw import reply
from tests.support.shape import answer, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import ProtocolError, RetryPolicy, State, Timeouts
from trigger_realtime_sync._feeds import run_feed as feed
from trigger_realtime_sync._http import retry as retries
from trigger_realtime_sync.testing import RealtimeServer

POLICY = RetryPolicy(initial_delay=0.5, max_delay=30.0, multiplier=2.0)


def finished(server: RealtimeServer) -> str:
    run_id = server.create_run()
    server.complete_run(run_id)
    return run_id


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 502, "html": True}, {"status": 524}, {"reset": True}],
)
def test_backs_off_exponentially(server, connect, waits, fault, monkeypatch):
    """Full jitter below a bound that doubles, and that has a highest value."""
    monkeypatch.setattr(retries, "SNAPSHOT_SECONDS", 0.0)
    server.fail_next(times=12, **fault)
    connect(server, retry=POLICY).wait_for_completion(finished(server), timeout=10)
    assert len(waits) == 12
    for attempt, seconds in enumerate(waits):
        assert 0 <= seconds <= min(30.0, 0.5 * 2**attempt)
    assert max(waits) > 1
    assert len(set(waits)) > 6


@pytest.mark.parametrize("fault", [{"status": 500}, {"reset": True}])
def test_a_snapshot_that_failed_is_not_asked_for_at_once(server, connect, waits, fault):
    """Each try of a tag's makes a new shape at the server, and a query."""
    server.create_run(tags=["a"])
    server.fail_next(times=4, **fault)
    connect(server, retry=POLICY).subscribe_to_runs_with_tag("a")
    server.wait_until_held(1)
    assert len(waits) == 4
    assert min(waits) >= 2


@pytest.mark.parametrize(("status", "header"), [(503, "7"), (429, "7"), (500, "7"), (408, "7")])
def test_retry_after_is_a_floor(server, connect, waits, status, header):
    """The wait is what the server asks for, plus jitter."""
    server.fail_next(times=3, status=status, headers={"Retry-After": header})
    connect(server, retry=POLICY).wait_for_completion(finished(server), timeout=10)
    assert len(waits) == 3
    assert all(7 <= seconds <= 7 + 0.5 * 2**2 for seconds in waits)


def test_rate_limits_without_a_header(server, connect, waits):
    """At least a second, and longer each time."""
    server.fail_next(times=4, status=429, body={"error": "Too many concurrent requests"})
    connect(server, retry=POLICY).wait_for_completion(finished(server), timeout=10)
    assert len(waits) == 4
    assert all(1 <= seconds <= 1 + 2**attempt for attempt, seconds in enumerate(waits))


def test_rate_limits_with_a_reset_time(server, connect, waits):
    """`x-ratelimit-reset`, in milliseconds since the epoch, is waited for."""
    reset = (time.time() + 20) * 1000
    server.fail_next(status=429, headers={"x-ratelimit-reset": str(reset)})
    connect(server, retry=POLICY).wait_for_completion(finished(server), timeout=10)
    assert 15 < waits[0] < 22


@pytest.mark.parametrize("header", ["soon", "-5", "nan", "inf", "1e999", "", "9" * 400])
def test_a_senseless_header_is_no_obstacle(server, connect, waits, header):
    """Neither an error nor an endless wait comes of it."""
    server.fail_next(status=503, headers={"Retry-After": header, "x-ratelimit-reset": header})
    connect(server, retry=POLICY).wait_for_completion(finished(server), timeout=10)
    assert 0 <= waits[0] <= 3600.5


@pytest.mark.parametrize(("where", "times"), [(None, 4), (True, 12)], ids=["any", "live"])
def test_an_error_page_instead_of_json(server, connect, waits, where, times):
    """Some in a row are a proxy's; the subscription goes on. Live polls have others in between."""
    server.fail_next(times=times, html=True, live=where)
    run_id = server.create_run()
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
    server.wait_until_held(1)
    server.complete_run(run_id)
    assert subscription.wait_for_completion(5).is_success
    # After a live poll also that until the next request which is not live.
    assert len(waits) >= times
    assert recorder.errors == []


@pytest.mark.parametrize(
    "body", ["<html>", "{}", "[1]", "null", "[" * 100_000, '[{"key":1,"headers":{}}]', b"\xff\xfe"]
)
def test_an_error_page_for_ever(server, connect, waits, body):
    """An answer that is never JSON of the protocol ends the subscription with an error."""
    headers = {"electric-handle": "h", "electric-offset": "1_0"}
    server.fail_next(times=100, status=200, body=body, headers=headers)
    with pytest.raises(ProtocolError):
        connect(server).wait_for_completion(server.create_run(), timeout=5)
    assert len(server.requests) == 5


@pytest.mark.parametrize("keep_handle", [False, True])
@pytest.mark.parametrize("send_handle", [False, True])
def test_a_rotated_shape_is_no_news(connect, keep_handle, send_handle):
    """After a 409 with a new handle, the same or none, what comes back is compared."""
    with RealtimeServer("electric") as server:
        run_id = server.create_run()
        recorder = Recorder()
        subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
        server.wait_until_held(1)
        before = len(server.requests)
        server.rotate(keep_handle=keep_handle, send_handle=send_handle)
        again = server.wait_for_requests(before + 3)[before:]
        assert again[0].query["offset"] == "-1"
        assert "handle" not in again[0].query
        assert again[0].query["cache-buster"]
        server.wait_until_held(1)
        assert recorder.statuses == ["QUEUED"]
        server.complete_run(run_id)
        subscription.wait_for_completion(5)
        assert recorder.statuses == ["QUEUED", "COMPLETED"]
        assert recorder.errors == []


def test_rotating_for_ever_is_backed_off_from(raw, connect, waits):
    """Each attempt carries another cache-buster, and they come slower and slower."""
    server = raw(reply(409, {"electric-handle": "h"}, [1]))
    subscription = connect(server, retry=POLICY).subscribe_to_run("run_1")
    eventually(lambda: len(waits) >= 8)
    subscription.cancel()
    assert max(waits) > 1
    busters = [one.query.get("cache-buster") for one in server.exchanges]
    assert len(set(busters)) == len(busters)


def test_runs_that_left_while_the_shape_rotated(connect):
    """A row that does not come back is gone from `.runs`; the others stay."""
    with RealtimeServer("electric") as server:
        kept, dropped = server.create_run(tags=["t"]), server.create_run(tags=["t"])
        recorder = Recorder()
        subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
        server.wait_until_held(1)
        assert len(subscription.runs) == 2
        server.rotate()
        server.wait_until_held(1)
        server.delete_run(dropped)
        eventually(lambda: [run.id for run in subscription.runs] == [kept])
        assert len(recorder.updates) == 2


def test_an_offset_from_before_a_restore(connect):
    """400 with `errors.offset` is a rotation, not an error."""
    with RealtimeServer("electric") as server:
        run_id = server.create_run()
        recorder = Recorder()
        subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
        recorder.wait("update", 1)
        server.wait_until_held(1)
        server.update_run(run_id, status="EXECUTING")
        recorder.wait("update", 2)
        server.wait_until_held(1)
        server.restore()
        server.complete_run(run_id)
        assert subscription.wait_for_completion(5).is_success
        assert recorder.statuses == ["QUEUED", "EXECUTING", "COMPLETED"]
        assert recorder.errors == []


@pytest.mark.parametrize("backend", ["native", "electric"])
def test_old_servers_say_nothing_with_204(backend, connect):
    """No content is no news: the poll is repeated, and no callback is called."""
    with RealtimeServer(backend, use_204=True, hold=0.2) as server:
        run_id = server.create_run()
        recorder = Recorder()
        subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
        server.wait_for_requests(4, live=True)
        server.complete_run(run_id)
        assert subscription.wait_for_completion(5).is_success
        assert recorder.statuses == ["QUEUED", "COMPLETED"]


def test_a_hot_server_is_backed_off_from(raw, connect, waits, monkeypatch):
    """A server that answers its live polls at once, for ever, is no failure: the polls come slower,
    down to one every `LONGEST_PAUSE`."""
    # However busy the machine is, no answer looks as if it had been held.
    monkeypatch.setattr(feed, "HELD_SECONDS", 60.0)
    server = raw(answer(row()), answer())
    retry = RetryPolicy(max_retries=0)
    subscription = connect(server, retry=retry).subscribe_to_run("run_1")
    eventually(lambda: len(waits) >= 8)
    assert subscription.state is State.LIVE
    assert subscription.error is None
    subscription.cancel()
    assert 1 < max(waits) <= feed.LONGEST_PAUSE
    live = sum(exchange.live for exchange in server.exchanges)
    assert live <= len(waits) + feed.HOT_ANSWERS


def test_a_stale_replica_is_not_believed(server, connect):
    """A state older than the last one is dropped."""
    run_id = server.create_run()
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
    server.wait_until_held(1)
    for step in range(5):
        server.fail_next(stale=True, live=True, after_hold=True)
        server.update_run(run_id, metadata={"step": step})
        eventually(lambda s=step: recorder.updates[-1].metadata == {"step": s})  # type: ignore[misc]
        server.clear_faults()
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    times = [run.updated_at for run in recorder.updates]
    assert times == sorted(set(times))


def test_a_late_row_is_waited_for(server, connect):
    """A single run's first answer may be empty: the row follows."""
    run_id = server.create_run(lag=True)
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
    server.wait_until_held(1)
    assert subscription.run is None
    server.catch_up(run_id)
    recorder.wait("update")
    server.complete_run(run_id)
    assert subscription.wait_for_completion(5).is_success


def test_silence_is_bounded(server, connect):
    """`Timeouts.read` without a byte: the connection is given up, and another one made."""
    run_id = finished(server)
    server.fail_next(stall=20)
    client = connect(server, timeouts=Timeouts(read=0.2))
    assert client.wait_for_completion(run_id, timeout=5).is_success


def test_a_server_that_is_down_is_waited_for(connect):
    """Connection refused is transient: `.state` says so, and `on_error` does not."""
    with RealtimeServer() as server:
        port = int(server.url.rsplit(":", 1)[1])
    recorder = Recorder()
    subscription = connect(f"http://127.0.0.1:{port}").subscribe_to_run("run_1", **recorder.options)
    eventually(lambda: subscription.state is State.RETRYING)
    server = RealtimeServer(port=port)
    # Before it listens: a run that is not found would end the subscription.
    server.create_run(id="run_1")
    with server:
        eventually(lambda: subscription.state is State.LIVE)
        server.complete_run("run_1")
        assert subscription.wait_for_completion(5).is_success
    assert recorder.errors == []


def test_a_dropped_connection_is_replaced(server, connect):
    """Proxies cut idle connections: `on_error` is not called."""
    run_id = server.create_run()
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
    for reset in (False, True):
        server.wait_until_held(1)
        before = len(server.requests)
        server.drop_connections(reset=reset)
        server.wait_for_requests(before + 1)
    server.wait_until_held(1)
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert recorder.statuses == ["QUEUED", "COMPLETED"]
    assert recorder.errors == []
