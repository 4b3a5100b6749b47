"""The two stream formats (PROTOCOL, section 4)."""

from __future__ import annotations

import json

import pytest

from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture
def v1():
    with RealtimeServer(streams="v1", stream_idle=0.05) as server:
        yield server


@pytest.fixture
def v2():
    with RealtimeServer(streams="v2", stream_idle=0.05) as server:
        yield server


def _events(body: bytes) -> list[dict[str, str]]:
    blocks = body.decode().split("\n\n")[:-1]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


def test_v1_joins_torn_parts_under_the_id_that_ended_them(v1, client_of):
    """A part over two entries has the second's id; blank lines are dropped; `\\n` ends a part."""
    run_id = v1.create_run()
    ids = v1.append_raw(run_id, "s", '{"i":0}\n{"i"', ":1}\n\n42\n")

    got = client_of(v1).get(f"/realtime/v1/streams/{run_id}/s")

    assert "x-stream-version" not in got.headers
    assert _events(got.body) == [
        {"id": ids[0], "data": '{"i":0}'},
        {"id": ids[1], "data": '{"i":1}'},
        {"id": ids[1], "data": "42"},
    ]


def test_v1_resume_after_a_torn_entry_yields_the_tail(v1, client_of):
    """`Last-Event-ID` names an entry, not a part: what follows starts in the middle."""
    run_id = v1.create_run()
    ids = v1.append_raw(run_id, "s", '{"i"', ":1}\n")
    got = client_of(v1).get(f"/realtime/v1/streams/{run_id}/s", {"Last-Event-ID": ids[0]})
    assert _events(got.body) == [{"id": ids[1], "data": ":1}"}]


def test_v1_idle_close_flushes_half_a_line(v1, client_of):
    """What was written without its newline is sent as a part when the server closes."""
    run_id = v1.create_run()
    (entry,) = v1.append_raw(run_id, "s", "whole\nhal")
    got = client_of(v1).get(f"/realtime/v1/streams/{run_id}/s")
    assert _events(got.body)[1] == {"id": entry, "data": "hal"}


def test_v1_keeps_the_last_entries_only(v1, client_of):
    """Of a long stream the first parts are gone."""
    run_id = v1.create_run()
    v1.append(run_id, "s", *range(1500))
    got = client_of(v1).get(f"/realtime/v1/streams/{run_id}/s")
    assert [event["data"] for event in _events(got.body)] == [str(n) for n in range(500, 1500)]


def test_v1_malformed_id_is_a_200_with_a_cut_body(v1, raw_request, monkeypatch):
    """The head promises chunks; the connection ends without the last one."""
    monkeypatch.setattr("trigger_realtime_sync.testing._stream_events._CUT_AFTER", 0.0)
    run_id = v1.create_run()
    v1.append(run_id, "s", 1)
    got = raw_request(v1, f"/realtime/v1/streams/{run_id}/s", {"Last-Event-ID": "bogus"})
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.endswith(b"\r\n\r\n")
    assert b"data" not in got


def test_v2_batches_pings_and_done(v2, client_of):
    """Records in a batch, a ping with the tail once drained, `[DONE]` at the end."""
    run_id = v2.create_run()
    v2.append(run_id, "s", {"a": 1}, "text")

    got = client_of(v2).get(f"/realtime/v1/streams/{run_id}/s")

    batch, ping, done = _events(got.body)
    assert got.headers["x-stream-version"] == "v2"
    assert batch["event"] == "batch"
    assert batch["id"].startswith("1,2,")
    records = json.loads(batch["data"])["records"]
    assert [record["seq_num"] for record in records] == [0, 1]
    envelopes = [json.loads(record["body"]) for record in records]
    assert [envelope["data"] for envelope in envelopes] == [{"a": 1}, "text"]
    assert envelopes[0]["id"] != envelopes[1]["id"]
    assert ping["event"] == "ping"
    assert json.loads(ping["data"])["tail"]["seq_num"] == 2
    assert done == {"data": "[DONE]"}


def test_v2_raw_records_go_out_as_they_are(v2, client_of):
    """Commands, control records and repeated envelopes are the test's to write."""
    run_id = v2.create_run()
    twice = {"body": {"data": 1, "id": "x"}}
    numbers = v2.append_records(
        run_id, "s", twice, twice, {"headers": [["", "trim"]]}, {"headers": [["k", "v"]]}
    )
    got = client_of(v2).get(f"/realtime/v1/streams/{run_id}/s")
    records = json.loads(_events(got.body)[0]["data"])["records"]
    assert numbers == [0, 1, 2, 3]
    assert records[0]["body"] == records[1]["body"]
    assert records[2]["headers"] == [["", "trim"]]
    assert "body" not in records[2]


@pytest.mark.parametrize(("last", "expected"), [("1", [2]), ("1795414762693-0", [])])
def test_v2_resumes_after_the_number(v2, client_of, last, expected):
    """The id is a record's number; one of v1 silently skips everything."""
    run_id = v2.create_run()
    v2.append(run_id, "s", 0, 1, 2)
    got = client_of(v2).get(f"/realtime/v1/streams/{run_id}/s", {"Last-Event-ID": last})
    batches = [event for event in _events(got.body) if event.get("event") == "batch"]
    numbers = [r["seq_num"] for one in batches for r in json.loads(one["data"])["records"]]
    assert numbers == expected


def test_v2_splits_batches_by_count_and_size(v2, client_of):
    """At most 1,000 records, and no second record beyond 1 MiB."""
    run_id = v2.create_run()
    v2.append(run_id, "s", *range(1500))
    v2.append(run_id, "s", "x" * 700_000, "y" * 700_000)
    got = client_of(v2).get(f"/realtime/v1/streams/{run_id}/s")
    batches = [event for event in _events(got.body) if event.get("event") == "batch"]
    assert [len(json.loads(one["data"])["records"]) for one in batches] == [1000, 501, 1]
    assert [one["id"].split(",")[:2] for one in batches] == [
        ["999", "1000"],
        ["1500", "1501"],
        ["1501", "1502"],
    ]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_parts_arrive_as_they_are_written(version, held_socket):
    """An open stream sends each part at once, in a chunk of its own."""
    with RealtimeServer(streams=version, ping_interval=600) as server:
        run_id = server.create_run()
        sock = held_socket(server, f"/realtime/v1/streams/{run_id}/s")
        for part in ("first", "second"):
            server.wait_until_held(match="stream")
            server.append(run_id, "s", part)
            seen = b""
            while part.encode() not in seen:
                seen += sock.recv(65536)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_pings_keep_a_silent_stream_alive(version, client_of):
    """Without parts there are keep-alives at the interval that was asked for."""
    with RealtimeServer(streams=version, stream_idle=0.2, ping_interval=0.02) as server:
        run_id = server.create_run()
        body = client_of(server).get(f"/realtime/v1/streams/{run_id}/s").body
    assert body.count(b": ping") >= 3


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_start_at_the_tail(version, client_of):
    """`latest` skips what is there, unless the server is of the kind that ignores it."""
    for start, skipped in ((True, True), (False, False)):
        with RealtimeServer(streams=version, stream_idle=0.02, stream_start=start) as server:
            run_id = server.create_run()
            server.append(run_id, "s", "old")
            got = client_of(server).get(
                f"/realtime/v1/streams/{run_id}/s", {"X-Trigger-Stream-Start": "latest"}
            )
        assert (b"old" not in got.body) is skipped


@pytest.mark.parametrize(("value", "status"), [("-1", 400), ("601", 400), ("0", 200), ("x", 200)])
def test_timeout_seconds_is_checked(v2, client_of, value, status):
    """Zero and nonsense mean the default; out of bounds is a plain-text 400."""
    run_id = v2.create_run()
    got = client_of(v2).get(f"/realtime/v1/streams/{run_id}/s", {"Timeout-Seconds": value})
    assert got.status == status
    if status == 400:
        assert got.headers["content-type"].startswith("text/plain")


def test_first_write_names_the_stream_in_the_row(v2, client_of):
    """`realtimeStreams` grows with the first part of a key, and only then."""
    run_id = v2.create_run()
    feed = client_of(v2).follow(f"/realtime/v1/runs/{run_id}").start()
    v2.append(run_id, "a", 1)
    v2.append(run_id, "b", 1)
    assert feed.live().rows[0]["value"]["realtimeStreams"] == '{"a","b"}'
    before = feed.offset
    v2.append(run_id, "b", 2)
    assert feed.ask().rows == []
    assert feed.offset == before


def test_trim_loses_the_oldest(v2, client_of):
    """What was trimmed is not sent; numbers go on where they were."""
    run_id = v2.create_run()
    v2.append(run_id, "s", 0, 1, 2)
    v2.trim(run_id, "s", keep=1)
    records = json.loads(
        _events(client_of(v2).get(f"/realtime/v1/streams/{run_id}/s").body)[0]["data"]
    )["records"]
    assert [record["seq_num"] for record in records] == [2]


def test_streams_of_unknown_runs(v2, client_of):
    """A run that is not there: 404, and no use in trying again."""
    got = client_of(v2).get("/realtime/v1/streams/run_missing/s")
    assert got.status == 404
    assert got.headers["x-should-retry"] == "false"


def test_writing_in_the_other_format_is_an_error(v1, v2):
    """Entries are of v1 and records of v2."""
    with pytest.raises(ValueError, match="v2"):
        v2.append_raw(v2.create_run(), "s", "x")
    with pytest.raises(ValueError, match="v1"):
        v1.append_records(v1.create_run(), "s", {})
