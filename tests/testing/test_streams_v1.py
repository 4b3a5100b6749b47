"""How the server reads the streams of v1 from Redis (docs/protocol.md, section 4)."""

from __future__ import annotations

import time

import pytest

from .conftest import serving

V1 = {"streams": "v1"}
SHORT = 0.05
# Stands for the 5 seconds of the world.
STEP = 0.4


def seconds_of(client, run_id, **headers):
    started = time.monotonic()
    got = client.stream(run_id, {name.replace("_", "-"): text for name, text in headers.items()})
    return got, time.monotonic() - started


@serving(V1, stream_idle=SHORT, stream_step=STEP)
def test_the_clock_is_looked_at_once_a_step(server, client):
    """Asked for less than a step, it closes after one."""
    _, seconds = seconds_of(client, server.create_run())
    assert STEP <= seconds < 2 * STEP


@serving(V1, stream_idle=2.5 * STEP, stream_step=STEP)
def test_an_entry_moves_the_steps(server, client, in_background):
    """The steps are counted from the last entry, and half a line is sent at the end."""
    run_id = server.create_run()
    reading = in_background(seconds_of, client, run_id)
    server.wait_until_held(match="stream")
    time.sleep(0.5 * STEP)
    server.append_raw(run_id, "s", "hal")
    got, seconds = reading.result(10)
    assert [event["data"] for event in got.events] == ["hal"]
    # Half a step, then three whole ones: two end too early.
    assert 3.4 * STEP <= seconds < 4.5 * STEP


@serving(V1, stream_idle=3.2 * STEP, ping_interval=2 * STEP, stream_step=STEP)
def test_pings_count_from_the_last_entry(server, client, in_background):
    """Half a line is no news for the client, but it puts off the ping."""
    run_id = server.create_run()
    reading = in_background(client.stream, run_id)
    server.wait_until_held(match="stream")
    time.sleep(1.5 * STEP)
    server.append_raw(run_id, "s", "hal")
    time.sleep(1.5 * STEP)
    server.append_raw(run_id, "s", "f\n")
    body = reading.result(10).body
    assert body.index(b"half") < body.index(b": ping")


@serving(V1, stream_idle=2 * STEP, ping_interval=2 * STEP, stream_step=STEP)
def test_no_ping_before_a_close_as_soon_as_pings_are_due(server, client):
    """As with a `Timeout-Seconds` of 10 or less."""
    assert client.stream(server.create_run()).body == b""


@serving(V1, stream_idle=0.3)
def test_the_reader_does_not_wait_for_the_client(server, held_socket):
    """Its clock runs from its own read: a slow client finds the flushed half at once."""
    run_id = server.create_run()
    for _ in range(10):
        server.append(run_id, "s", "x" * 1_000_000)
    server.append_raw(run_id, "s", "hal")
    sock = held_socket(f"/realtime/v1/streams/{run_id}/s")
    time.sleep(0.8)
    started = time.monotonic()
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        body += sock.recv(1 << 20)
    assert body.count(b"data: ") == 11
    assert b"data: hal\n\n" in body
    assert time.monotonic() - started < 0.3 + 5


@serving(V1, stream_idle=SHORT)
def test_entries_that_are_trimmed_meanwhile_were_read_already(server, held_socket):
    """A thousand entries are kept; a client that is slow gets those before them as well."""
    run_id = server.create_run()
    server.append(run_id, "s", *("x" * 20_000 for _ in range(900)))
    sock = held_socket(f"/realtime/v1/streams/{run_id}/s", {"Timeout-Seconds": "1"})
    server.wait_for_requests(1, match="stream")
    time.sleep(0.5)
    server.append(run_id, "s", *range(900))
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        body += sock.recv(1 << 20)
    assert body.count(b"data: ") == 1800


@serving(V1, stream_idle=SHORT)
def test_whole_nodes_are_trimmed(server, client):
    """`MAXLEN ~ 1000` keeps up to 99 entries more."""
    run_id = server.create_run()
    server.append(run_id, "s", *range(1550))
    got = client.stream(run_id)
    assert [event["data"] for event in got.events] == [str(n) for n in range(500, 1550)]


@serving(V1, stream_ids=False, ping_interval=0.05)
def test_servers_before_4_1_2_send_no_ids(server, client, in_background):
    """Each body starts at the oldest entry kept, without ids or pings, for as long as it takes."""
    run_id = server.create_run()
    server.append_raw(run_id, "s", "0\n1\n", "tw")
    headers = {"Last-Event-ID": "9999999999999-0", "Timeout-Seconds": "1"}
    reading = in_background(client.stream, run_id, headers)
    server.wait_until_held(match="stream")
    time.sleep(0.3)
    server.append_raw(run_id, "s", "o\nleft")
    server.end_stream(run_id, "s")
    assert reading.result(10).body == b"data: 0\n\ndata: 1\n\ndata: two\n\ndata: left\n\n"


@serving(V1, stream_idle=SHORT)
def test_later_servers_skip_what_used_to_end_a_stream(server, client):
    """It is neither a part nor the end."""
    run_id = server.create_run()
    server.append(run_id, "s", 1)
    server.end_stream(run_id, "s")
    server.append(run_id, "s", 2)
    assert [event["data"] for event in client.stream(run_id).events] == ["1", "2"]


@serving(V1, {"streams": "v2"}, stream_idle=SHORT)
def test_trouble_of_s2_is_of_v2_alone(server):
    """What only S2 can do is refused on the streams of Redis, and the other way round."""
    run_id = server.create_run()
    if "v1" in repr(server._stream_logs.version):
        with pytest.raises(ValueError, match="v1"):
            server.delete_stream(run_id, "s")
    else:
        with pytest.raises(ValueError, match="v2"):
            server.end_stream(run_id, "s")
