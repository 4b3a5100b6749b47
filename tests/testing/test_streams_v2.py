"""What S2 does to the streams of v2, and the server's route before it (docs/protocol.md,
section 4)."""

from __future__ import annotations

import json
import time

import pytest

from .conftest import serving

V2 = {"streams": "v2"}
SHORT = 0.05
FAILED = (500, {"error": "Internal Server Error"})


def open_stream(server, client, in_background, run_id):
    """Read the stream in the background, once it waits for records."""
    reading = in_background(client.stream, run_id)
    server.wait_until_held(match="stream")
    return reading


def names(got):
    return [event.get("event", event["data"]) for event in got.events]


def data(event):
    return json.loads(event["data"])


@serving(V2)
def test_a_wait_of_zero_drains(server, client):
    """What follows the position, no ping, and `[DONE]`, at once; at the tail too."""
    run_id = server.create_run()
    server.append(run_id, "s", 0, 1)
    assert names(client.stream(run_id, {"Timeout-Seconds": "0"})) == ["batch", "[DONE]"]
    assert names(client.stream(run_id, {"Timeout-Seconds": "0", "Last-Event-ID": "1"})) == [
        "[DONE]"
    ]


@serving(V2, stream_idle=SHORT)
@pytest.mark.parametrize("last", ["2", "49", "999999999999999"])
def test_an_id_beyond_the_tail_is_clamped_to_it(server, client, in_background, last):
    """So it starts behind the latest record, and reads on from there."""
    run_id = server.create_run()
    server.append(run_id, "s", 0, 1, 2)
    headers = {"Last-Event-ID": last, "Timeout-Seconds": "1"}
    reading = in_background(client.stream, run_id, headers)
    server.wait_until_held(match="stream")
    server.append(run_id, "s", 3)
    got = reading.result(10)
    assert names(got) == ["ping", "batch", "[DONE]"]
    assert data(got.events[0])["tail"]["seq_num"] == 3
    assert [record["seq_num"] for record in got.batches[0]] == [3]


@serving(V2, stream_idle=SHORT)
@pytest.mark.parametrize(
    ("last", "first"),
    [("x", 0), ("0,1,99", 0), ("-5", 1), ("0x1", 0), ("1e0", 2), (" 0 ", 1), ("inf", 0)],
)
def test_an_id_is_read_as_a_number_of_javascript(server, client, last, first):
    """What stands before the first hyphen; what is no number begins at the beginning."""
    run_id = server.create_run()
    server.append(run_id, "s", 0, 1, 2)
    assert client.stream(run_id, {"Last-Event-ID": last}).batches[0][0]["seq_num"] == first


@serving(V2, stream_idle=SHORT)
@pytest.mark.parametrize("last", ["1.5", "1e30", "18446744073709551615"])
def test_an_id_that_s2_refuses_is_a_500(server, client, last):
    """S2 says 400; the server says what it says of every failure of S2."""
    got = client.stream(server.create_run(), {"Last-Event-ID": last})
    assert (got.status, got.json()) == FAILED
    assert "retry-after" not in got.headers


@serving(V2)
def test_a_follower_gets_each_append_with_its_own_end_as_tail(server, client, in_background):
    """A ping says where the backlog ends; then each append is a batch of its own."""
    run_id = server.create_run()
    server.append(run_id, "s", 0)
    reading = in_background(client.stream, run_id, {"Timeout-Seconds": "1"})
    server.wait_until_held(match="stream")
    server.append(run_id, "s", 1, 2)
    server.append(run_id, "s", 3)
    got = reading.result(10)
    assert names(got) == ["batch", "ping", "batch", "batch", "[DONE]"]
    assert [data(event).get("tail", {}).get("seq_num") for event in got.events[:4]] == [
        None,
        1,
        3,
        4,
    ]


@serving(V2)
def test_a_batch_starts_the_wait_anew_and_a_ping_does_not(server, client, in_background):
    """Two seconds after the last record, whatever pings came in between."""
    run_id = server.create_run()
    started = time.monotonic()
    reading = in_background(client.stream, run_id, {"Timeout-Seconds": "1"})
    server.wait_until_held(match="stream")
    time.sleep(0.5)
    server.append(run_id, "s", 1)
    reading.result(10)
    assert 1.5 <= time.monotonic() - started < 3


@serving(V2, stream_idle=SHORT, ping_tail=False)
def test_an_old_s2_names_no_tail_in_its_pings(server, client):
    """Before 0.39.3 only the end of the body says that the stream is drained."""
    run_id = server.create_run()
    server.append(run_id, "s", 1)
    _, ping, done = client.stream(run_id).events
    assert list(data(ping)) == ["timestamp"]
    assert done == {"data": "[DONE]"}


@serving(V2, stream_idle=SHORT)
def test_commands_have_numbers_and_are_sent(server, client):
    """After a trim the first number is not 0; the trim itself is a record like a fence."""
    run_id = server.create_run()
    server.append(run_id, "s", *range(5))
    server.append_records(run_id, "s", {"headers": [["", "fence"]], "body": "token"})
    assert server.trim_before(run_id, "s", 3) == 6
    server.append(run_id, "s", 5)
    (records,) = client.stream(run_id, {"Last-Event-ID": "0"}).batches
    assert [record["seq_num"] for record in records] == [3, 4, 5, 6, 7]
    assert records[3]["headers"] == [["", "trim"]]
    assert records[3]["body"] == "\0\0\0\0\0\0\0\3"


@serving(V2, stream_idle=SHORT)
def test_a_trim_of_everything_leaves_the_trim(server, client):
    """A number beyond the tail trims as far as there are records, and no later ones."""
    run_id = server.create_run()
    server.append(run_id, "s", 0, 1)
    server.trim_before(run_id, "s", 100)
    server.append(run_id, "s", 2)
    (records,) = client.stream(run_id).batches
    assert [record["seq_num"] for record in records] == [3]


@serving(V2, stream_idle=SHORT)
def test_what_is_empty_is_left_out_and_sizes_are_bytes(server, client):
    """A control record has no body, a usual one no headers; the id counts UTF-8."""
    run_id = server.create_run()
    server.append_records(
        run_id, "s", {"headers": [["trigger-control", "turn"]], "body": ""}, {"body": "é"}
    )
    got = client.stream(run_id)
    control, usual = got.batches[0]
    assert set(control) == {"seq_num", "timestamp", "headers"}
    assert set(usual) == {"seq_num", "timestamp", "body"}
    assert got.events[0]["id"] == f"1,2,{8 + 2 + len('trigger-control' + 'turn') + 8 + 2}"


@serving(V2)
def test_a_stream_that_is_deleted_while_it_is_read(server, client, in_background):
    """The trim of everything, an error, the body's proper end, and no `[DONE]`."""
    run_id = server.create_run()
    server.append(run_id, "s", 0)
    reading = open_stream(server, client, in_background, run_id)
    server.delete_stream(run_id, "s")
    got = reading.result(10)
    assert names(got) == ["batch", "ping", "batch", "error"]
    assert got.batches[1][0]["headers"] == [["", "trim"]]
    assert data(got.events[-1])["code"] == "unavailable"
    server.append(run_id, "s", "new")
    records = client.stream(run_id, {"Timeout-Seconds": "0"}).batches[0]
    assert [record["seq_num"] for record in records] == [0]


@serving(V2)
@pytest.mark.parametrize(("to", "next_number"), [(0, 0), (2, 2)])
def test_a_stream_that_was_lost_or_put_back(
    server, client, raw_request, in_background, to, next_number
):
    """Its bodies are cut, and it goes on in silence below the position of its readers."""
    run_id = server.create_run()
    server.append(run_id, "s", 0, 1)
    server.append(run_id, "s", 2, 3)
    reading = in_background(raw_request, f"/realtime/v1/streams/{run_id}/s")
    server.wait_until_held(match="stream")
    server.rewind_stream(run_id, "s", to)
    assert not reading.result(10).endswith(b"0\r\n\r\n")
    reading = in_background(client.stream, run_id, {"Last-Event-ID": "3", "Timeout-Seconds": "1"})
    server.wait_until_held(match="stream")
    server.append(run_id, "s", "other")
    got = reading.result(10)
    assert data(got.events[0])["tail"]["seq_num"] == next_number
    assert [record["seq_num"] for record in got.batches[0]] == [next_number]


@serving(V2)
def test_a_body_that_s2_gives_up(server, client, in_background):
    """An error is not the end of a stream: it is there as before."""
    run_id = server.create_run()
    server.append(run_id, "s", 0)
    reading = open_stream(server, client, in_background, run_id)
    server.interrupt_streams()
    assert names(reading.result(10)) == ["batch", "ping", "error"]
    assert names(client.stream(run_id, {"Timeout-Seconds": "0"})) == ["batch", "[DONE]"]


@serving(V2)
def test_an_s2_that_is_stopped_cuts_its_bodies(server, client, raw_request, in_background):
    """Until it is there again every stream is a 500."""
    run_id = server.create_run()
    server.append(run_id, "s", 0)
    reading = in_background(raw_request, f"/realtime/v1/streams/{run_id}/s")
    server.wait_until_held(match="stream")
    server.stop_storage()
    assert not reading.result(10).endswith(b"0\r\n\r\n")
    got = client.stream(run_id)
    assert (got.status, got.json()) == FAILED
    server.start_storage()
    assert names(client.stream(run_id, {"Timeout-Seconds": "0"})) == ["batch", "[DONE]"]


@serving(V2, creates_streams=False)
def test_an_absent_stream_where_reading_does_not_create_it(server, client):
    """S2's 404 arrives as a 500, until the stream is written to."""
    run_id = server.create_run()
    got = client.stream(run_id, {"Timeout-Seconds": "0"})
    assert (got.status, got.json()) == FAILED
    server.append(run_id, "s", 0)
    assert names(client.stream(run_id, {"Timeout-Seconds": "0"})) == ["batch", "[DONE]"]


@serving(V2, stream_idle=SHORT)
def test_an_absent_stream_that_reading_creates(server, client):
    """An empty 200 whose ping says that the first record will be number 0."""
    ping, done = client.stream(server.create_run()).events
    assert data(ping)["tail"] == {"seq_num": 0, "timestamp": 0}
    assert done == {"data": "[DONE]"}


@serving({"streams": "v1"}, V2, stream_idle=SHORT)
def test_a_body_that_falls_silent(server, client):
    """By order: nothing for a while after so many bytes, then the rest."""
    run_id = server.create_run()
    server.append(run_id, "s", "part")
    server.fail_next(match="stream", silence=(10, 0.3))
    started = time.monotonic()
    got = client.stream(run_id)
    assert b"part" in got.body
    assert time.monotonic() - started >= 0.3


@serving(V2, stream_idle=0.4, ping_interval=0.1)
def test_a_ping_names_the_tail_that_is_now(server, client, in_background):
    """After what was followed too."""
    run_id = server.create_run()
    reading = open_stream(server, client, in_background, run_id)
    server.append(run_id, "s", 0, 1)
    tails = [data(one)["tail"]["seq_num"] for one in reading.result(10).events[:-1]]
    assert tails[0] == 0
    assert tails[-2:] == [2, 2]


@serving(V2, stream_idle=SHORT)
def test_a_reader_that_falls_behind_is_taken_back_to_the_backlog(server, held_socket):
    """More than 25 appends behind: batches without a tail, and a ping when it follows again."""
    run_id = server.create_run()
    sock = held_socket(f"/realtime/v1/streams/{run_id}/s", {"Timeout-Seconds": "1"})
    server.wait_until_held(match="stream")
    for _ in range(40):
        server.append(run_id, "s", "x" * 700_000)
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        body += sock.recv(1 << 20)
    assert body.count(b"event: batch") == 40
    assert 40 > body.count(b'"tail":{') - body.count(b"event: ping") > 0
    assert body.count(b"event: ping") == 2
