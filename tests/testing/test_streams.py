"""The two stream formats (docs/protocol.md, section 4)."""

from __future__ import annotations

import json

import pytest

from trigger_realtime_sync.testing import RealtimeServer

from .conftest import serving

V1, V2 = {"streams": "v1"}, {"streams": "v2"}
# Closed at once when idle, so that a test reads a stream to its end.
SHORT = 0.05


@serving(V1, stream_idle=SHORT)
@pytest.mark.parametrize(
    ("entries", "events"),
    [
        # A part over two entries has the second's id; blank lines are dropped.
        (['{"i":0}\n{"i"', ":1}\n\n42\n"], [(0, '{"i":0}'), (1, '{"i":1}'), (1, "42")]),
        # Half a line is sent as a part when the server closes.
        (["whole\nhal"], [(0, "whole"), (0, "hal")]),
    ],
)
def test_v1_parts_have_the_id_of_the_entry_that_ended_them(server, client, entries, events):
    """Entries may hold any piece of text; each newline ends a part."""
    run_id = server.create_run()
    ids = server.append_raw(run_id, "s", *entries)
    got = client.stream(run_id)
    assert "x-stream-version" not in got.headers
    assert got.events == [{"id": ids[entry], "data": data} for entry, data in events]


@serving(V1, stream_idle=SHORT)
def test_v1_resume_after_a_torn_entry_yields_the_tail(server, client):
    """`Last-Event-ID` names an entry, not a part: what follows starts in the middle."""
    run_id = server.create_run()
    ids = server.append_raw(run_id, "s", '{"i"', ":1}\n")
    got = client.stream(run_id, {"Last-Event-ID": ids[0]})
    assert got.events == [{"id": ids[1], "data": ":1}"}]


@serving(V1, stream_idle=SHORT)
def test_v1_keeps_the_last_entries_only(server, client):
    """A long stream has lost its first parts."""
    run_id = server.create_run()
    server.append(run_id, "s", *range(1500))
    got = client.stream(run_id)
    assert [event["data"] for event in got.events] == [str(n) for n in range(500, 1500)]


@serving(V1, stream_idle=SHORT)
def test_v1_malformed_id_is_a_200_with_a_cut_body(server, raw_request, monkeypatch):
    """The head promises chunks; the connection ends without the last one."""
    monkeypatch.setattr("trigger_realtime_sync.testing._stream_v1._CUT_AFTER", 0.0)
    run_id = server.create_run()
    server.append(run_id, "s", 1)
    got = raw_request(f"/realtime/v1/streams/{run_id}/s", {"Last-Event-ID": "bogus"})
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.endswith(b"\r\n\r\n")
    assert b"data" not in got


@serving(V2, stream_idle=SHORT)
def test_v2_batches_pings_and_done(server, client):
    """Records in a batch, a ping with the tail once drained, `[DONE]` at the end."""
    run_id = server.create_run()
    server.append(run_id, "s", {"a": 1}, "text")

    got = client.stream(run_id)

    batch, ping, done = got.events
    (records,) = got.batches
    envelopes = [json.loads(record["body"]) for record in records]
    assert got.headers["x-stream-version"] == "v2"
    assert batch["id"].startswith("1,2,")
    assert [record["seq_num"] for record in records] == [0, 1]
    assert [envelope["data"] for envelope in envelopes] == [{"a": 1}, "text"]
    assert envelopes[0]["id"] != envelopes[1]["id"]
    assert ping["event"] == "ping"
    # A batch of the backlog names no tail.
    assert "tail" not in json.loads(batch["data"])
    assert json.loads(ping["data"])["tail"]["seq_num"] == 2
    assert done == {"data": "[DONE]"}


@serving(V2, stream_idle=SHORT)
def test_v2_raw_records_go_out_as_they_are(server, client):
    """Commands, control records and repeated envelopes are the test's to write."""
    run_id = server.create_run()
    twice = {"body": {"data": 1, "id": "x"}}
    numbers = server.append_records(
        run_id, "s", twice, twice, {"headers": [["", "trim"]]}, {"headers": [["k", "v"]]}
    )
    (records,) = client.stream(run_id).batches
    assert numbers == [0, 1, 2, 3]
    assert records[0]["body"] == records[1]["body"]
    assert records[2]["headers"] == [["", "trim"]]
    assert "body" not in records[2]


@serving(V2, stream_idle=SHORT)
@pytest.mark.parametrize(("last", "expected"), [("1", [2]), ("1795414762693-0", [])])
def test_v2_resumes_after_the_number(server, client, last, expected):
    """The id is a record's number; one of v1 silently skips everything."""
    run_id = server.create_run()
    server.append(run_id, "s", 0, 1, 2)
    batches = client.stream(run_id, {"Last-Event-ID": last}).batches
    assert [record["seq_num"] for batch in batches for record in batch] == expected


@serving(V2, stream_idle=SHORT)
def test_v2_splits_batches_by_count_and_size(server, client):
    """At most 1,000 records, and no second record beyond 1 MiB."""
    run_id = server.create_run()
    server.append(run_id, "s", *range(1500))
    server.append(run_id, "s", "x" * 700_000, "y" * 700_000)
    got = client.stream(run_id)
    ids = [event["id"].split(",")[:2] for event in got.events if event.get("event") == "batch"]
    assert [len(records) for records in got.batches] == [1000, 501, 1]
    assert ids == [["999", "1000"], ["1500", "1501"], ["1501", "1502"]]


@serving(V2, stream_idle=SHORT)
def test_trim_loses_the_oldest(server, client):
    """Trimmed records are not sent; the numbers go on."""
    run_id = server.create_run()
    server.append(run_id, "s", 0, 1, 2)
    server.trim(run_id, "s", keep=1)
    assert [record["seq_num"] for record in client.stream(run_id).batches[0]] == [2]


@serving(V1, V2, stream_idle=SHORT)
def test_a_stream_over_http_1_0_ends_with_its_connection(server, raw_request):
    """There are no chunks, so nothing else could say where the body ends."""
    run_id = server.create_run()
    got = raw_request(f"/realtime/v1/streams/{run_id}/s", {"Connection": "keep-alive"}, "1.0")
    assert b"connection: close\r\n" in got
    assert b"chunked" not in got


@serving(V1, V2, stream_idle=0.2, ping_interval=0.02)
def test_pings_keep_a_silent_stream_alive(server, client):
    """Without parts there are keep-alives at the configured interval."""
    assert client.stream(server.create_run()).body.count(b": ping") >= 3


@serving(V1, V2, stream_idle=SHORT, stream_start=True)
def test_latest_skips_the_parts_so_far(server, client):
    """By option: a client that asks for the tail is not sent what was written before."""
    assert _sends_old_parts(server, client) is False


@serving(V1, V2, stream_idle=SHORT)
def test_no_server_reads_the_header_for_the_latest(server, client):
    """They send everything, whatever the header says."""
    assert _sends_old_parts(server, client) is True


def _sends_old_parts(server, client) -> bool:
    run_id = server.create_run()
    server.append(run_id, "s", "old")
    return b"old" in client.stream(run_id, {"X-Trigger-Stream-Start": "latest"}).body


@serving(V1, V2, stream_idle=SHORT)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("-1", "Timeout seconds must be greater than 0"),
        (" -0x10 ", "Timeout seconds must be greater than 0"),
        ("601", "Timeout seconds must be less than 600"),
        ("1000 or so", "Timeout seconds must be less than 600"),
    ],
)
def test_a_timeout_out_of_bounds_is_a_plain_400(server, client, value, text):
    """The text is read as JavaScript's `parseInt` does."""
    got = client.stream(server.create_run(), {"Timeout-Seconds": value})
    assert (got.status, got.body.decode()) == (400, text)
    assert got.headers["content-type"].startswith("text/plain")


@serving(V1, V2, stream_idle=SHORT)
@pytest.mark.parametrize(
    ("value", "v1", "v2"), [("0", 200, 200), ("soon", 200, 500), ("", 200, 200)]
)
def test_a_timeout_of_nothing(server, client, value, v1, v2):
    """v1 takes its default for 0 and for no number; v2 a drain, and a failure of S2."""
    got = client.stream(server.create_run(), {"Timeout-Seconds": value})
    is_v2 = got.headers.get("x-stream-version") == "v2" or got.status == 500
    assert got.status == (v2 if is_v2 else v1)


def test_first_write_names_the_stream_in_the_row(server, client):
    """`realtimeStreams` grows with the first part of a key, and only then."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.append(run_id, "a", 1)
    server.append(run_id, "b", 1)
    assert feed.live().values[0]["realtimeStreams"] == '{"a","b"}'
    (before,) = feed.ask().values
    server.append(run_id, "b", 2)
    assert feed.ask().values == [before]


def test_streams_of_unknown_runs(client):
    """A run that is not there: 404, and no use in trying again."""
    got = client.stream("run_missing")
    assert (got.status, got.headers["x-should-retry"]) == (404, "false")


def test_writing_in_the_other_format_is_an_error():
    """Entries are of v1 and records of v2."""
    v1, v2 = RealtimeServer(**V1), RealtimeServer(**V2)
    with pytest.raises(ValueError, match="v2"):
        v2.append_raw(v2.create_run(), "s", "x")
    with pytest.raises(ValueError, match="v1"):
        v1.append_records(v1.create_run(), "s", {})
