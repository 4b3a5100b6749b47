"""v2 streams: S2 batches, retried writes, and the cursor over formats, versions and processes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wire.stream_bodies import (
    at_tail,
    batch,
    event,
    fed,
    frame,
    opened,
    record,
    reopened,
    values,
)
from trigger_realtime_sync._wire import joined, stream_v2, stream_v2_fast, told_records
from trigger_realtime_sync._wire.joined import MALFORMED, loads_all
from trigger_realtime_sync._wire.json import loads
from trigger_realtime_sync._wire.stream_cursor import StreamCursor
from trigger_realtime_sync._wire.stream_parts import BadPart, Part
from trigger_realtime_sync.errors import (
    ApiConnectionError,
    ProtocolError,
    StreamRewound,
    StreamTrimmed,
)

DONE = b"data: [DONE]\n\n"


def ping(tail: int) -> bytes:
    """A ping that says where the tail is."""
    return event("ping", {"timestamp": 1, "tail": {"seq_num": tail, "timestamp": 1}})


def test_parts_come_in_order_with_their_index_and_place():
    """A string that holds JSON stays one."""
    cursor = opened("v2")
    parts = fed(cursor, batch(record(0, {"a": 1}), record(1, '{"b": 2}')) + batch(record(2, None)))
    assert values(parts) == [{"a": 1}, '{"b": 2}', None]
    assert [part.index for part in parts] == [0, 1, 2]
    assert cursor.last_event_id == parts[-1].id
    assert cursor.request_headers() == {"Last-Event-ID": "2"}
    for n, part in enumerate(parts):
        restored = opened("v2", StreamCursor.restore(part.id))
        rest = fed(restored, batch(*(record(k, k) for k in range(4))))
        assert values(rest) == list(range(n + 1, 4))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just(1), st.integers(0, 40)),
            st.tuples(st.sampled_from([1, 1, 1, 2, 0]), st.sampled_from([None, 7, "odd", 1.5])),
        ),
        max_size=30,
    ),
    st.integers(0, 12),
)
def test_parts_that_come_together_are_as_those_that_come_apart(steps, start_index):
    """The same values, indices and positions, whether a batch holds all records or one each; with
    retried writes, gaps, records that come again, and ids that are none."""
    numbers = itertools.accumulate(step for step, _ in steps)
    records = [
        record(n, {"n": n}, f"id{ident}" if type(ident) is int else ident)
        for n, (_, ident) in zip(numbers, steps, strict=True)
    ]
    start = start_index or None
    apart, together = (opened("v2", StreamCursor(start_index=start)) for _ in range(2))
    first = batch(record(0, "first"))
    fed(apart, first)
    fed(together, first)
    alone = [part for one in records for part in fed(apart, batch(one))]
    at_once = fed(together, batch(*records))
    assert list(map(shown, at_once)) == list(map(shown, alone))
    assert together.last_event_id == apart.last_event_id
    assert together.request_headers() == apart.request_headers()


def shown(part: Any) -> Any:
    """Return what a part is, for comparing."""
    what = part.value if isinstance(part, Part) else (part.report, part.reason)
    return what, part.index, part.id


BODIES = st.one_of(
    st.builds(
        lambda data, ident: f'{{"data":{data},"id":"{ident}"}}',
        st.sampled_from(
            ["1", "{}", '"a"', '[1,{"id":"x"}]', '"\\",\\"id\\":\\"b"', "1,2", "", "NaN"]
        ),
        st.sampled_from(["a", "ö", "", "a b", "\\n", '\\"', "\n", "\ud800", 'x","id":"y', '"}{"']),
    ),
    st.lists(
        st.sampled_from(['{"data":', "1", ",", '"id":"', ',"id":"', "a", '"', "}", "{", " ", "\\"])
    ).map("".join),
    st.sampled_from([None, 7, {}, []]),
)


@given(st.lists(BODIES, max_size=4))
@example(['{"data":1,"id":"a","data":2,"id":"b"}'])
@example(['{"data":1,"id":"a","x":"b"}'])
@example(['{"data":1,"id":"\\n"}'])
@example(['{"data":[1,"id":"a"}', '{"data":2],"id":"b"}'])
@example(['{"data":[1', ',2],"id":"b"}'])
@example(['{"data":1,"id":"a"}\n{"data":[2', ',3],"id":"b"}'])
@example(['{"dato":1,"id":"a"}'])
@example(['{"data":1,"id":"axx'])
def test_envelopes_that_are_not_parsed_are_what_parsing_them_shows(bodies):
    """Where the data and the id are told apart without it, there is nothing else."""
    idents, texts = stream_v2_fast.split_envelopes(bodies)
    values = loads_all(texts)
    if not idents or MALFORMED in values:
        return
    for body, ident, value in zip(bodies, idents, values, strict=True):
        assert repr(loads(body)) == repr({"data": value, "id": ident})


@pytest.mark.parametrize("data", ["tru", "", "1,2", '1,"id":"a","data":2'])
def test_data_that_is_no_json_is_told_apart(data):
    """Though its envelope looks as usual, and stands among others that are well."""
    cursor = opened("v2")
    fed(cursor, batch(record(0, "first")))
    broken = {**record(2, None), "body": f'{{"data":{data},"id":"x"}}'}
    good, bad, last = fed(cursor, batch(record(1, 1), broken, record(3, 3)))
    assert (good.value, last.value) == (1, 3)
    if data == '1,"id":"a","data":2':
        assert bad.value == 2  # the last of two of the same name, as ever in JSON
    else:
        assert isinstance(bad, BadPart)


def test_envelopes_as_servers_write_them_are_not_parsed():
    """Which is what makes them quick."""
    bodies = [record(n, {"n": n}, f"id{n}")["body"] for n in range(3)]
    assert stream_v2_fast.split_envelopes(bodies) == (
        ["id0", "id1", "id2"],
        ['{"n":0}', '{"n":1}', '{"n":2}'],
    )


def test_every_split_of_a_body_gives_the_same_parts():
    """Cut into two at every byte."""
    body = ping(0) + batch(record(0, "ö"), record(1, 2), tail=2) + b": x\r\n\r\n" + ping(2) + DONE
    for at in range(len(body) + 1):
        cursor = opened("v2")
        assert values(fed(cursor, body[:at]) + fed(cursor, body[at:])) == ["ö", 2]
        assert (cursor.over, cursor.drained) == (True, True)


@given(st.data())
def test_any_chunks_and_cuts_give_every_part_once(data):
    """Over bodies that break off anywhere, with retried writes, commands and restarts."""
    idents = data.draw(st.lists(st.integers(0, 8), max_size=20))
    records = [record(n, n, f"id{ident}") for n, ident in enumerate(idents)]
    command = {"seq_num": 0, "headers": [["", "trim"]], "body": "AAAA"}
    for n in data.draw(st.sets(st.integers(0, 19))):
        if n < len(records):
            records[n] = {**command, "seq_num": n}
    wanted = {}
    for r in records:
        if r.get("headers") == []:
            envelope = json.loads(r["body"])
            wanted.setdefault(envelope["id"], envelope["data"])
    cursor = StreamCursor()
    got: list[Any] = []
    for _ in range(data.draw(st.integers(0, 4))):
        _read(cursor, records, data, got, cut=True)
        if data.draw(st.booleans()):
            cursor = StreamCursor.restore(cursor.last_event_id or "v2:0,0")
    _read(cursor, records, data, got, cut=False)
    assert values(got) == list(wanted.values())
    assert [part.index for part in got] == list(range(len(got)))


def _read(
    cursor: StreamCursor, records: list[Any], data: st.DataObject, got: list[Any], *, cut: bool
) -> None:
    first = int(cursor.request_headers().get("Last-Event-ID", "-1")) + 1
    opened("v2", cursor)
    body = b"".join(batch(*records[n : n + 3]) for n in range(first, len(records), 3))
    size = data.draw(st.integers(1, 400))
    end = data.draw(st.integers(0, len(body))) if cut else len(body)
    for at in range(0, end, size):
        got += fed(cursor, body[at : min(at + size, end)])
    cursor.end(clean=not cut)


def test_records_that_are_not_data_only_advance_the_cursor():
    """Commands and control records; headers, bodies and tails may be missing."""
    cursor = opened("v2")
    fence = {"seq_num": 0, "headers": [["", "fence"]], "body": "not json"}
    control = {"seq_num": 2, "headers": [["a", "b"], ["trigger-control", "turn-complete"]]}
    bare = {"seq_num": 1, "body": '{"data": 1}'}
    odd = {"seq_num": 3, "headers": [None, [], 5], "body": '{"data": 2, "id": 7}'}
    trim = {"seq_num": 4, "headers": [["", "trim"]], "body": '{"data": 3}'}
    assert values(fed(cursor, batch(fence, bare, control, odd, trim))) == [1, 2]
    assert cursor.request_headers() == {"Last-Event-ID": "4"}


def test_retries_of_one_write_come_once_even_over_a_restart():
    """A restored cursor reads a batch back for the ids; the memory for them is bounded."""
    cursor = opened("v2")
    records = [record(n, n) for n in range(1500)]
    again = [record(1500 + n, n, f"id{n}") for n in range(1490, 1500)]
    assert len(fed(cursor, batch(*records))) == 1500
    assert cursor.request_headers() == {"Last-Event-ID": "1499"}
    cursor = reopened("v2", cursor)
    assert cursor.request_headers() == {"Last-Event-ID": "499"}
    again = [{**one, "seq_num": 1500 + n} for n, one in enumerate(again)]
    new = record(1510, "new")
    assert values(fed(cursor, batch(*records[500:]) + batch(*again, new))) == ["new"]
    assert cursor.request_headers() == {"Last-Event-ID": "1510"}


def test_the_memory_of_ids_is_bounded():
    """Old ones are forgotten, the last thousands never."""
    cursor = opened("v2")
    limit = stream_v2.REMEMBERED_IDS
    for n in range(0, 3 * limit, 1000):
        assert len(fed(cursor, batch(*(record(k, k) for k in range(n, n + 1000))))) == 1000
    assert isinstance(cursor._format, stream_v2.StreamV2)
    assert len(cursor._format._ids) <= limit
    kept = 3 * limit - limit // 2 + 1
    assert fed(cursor, batch(record(3 * limit, 1, f"id{kept}"))) == []
    assert len(fed(cursor, batch(record(3 * limit + 1, 1, "id0")))) == 1


def test_a_read_back_is_over_once_its_end_was_seen():
    """Idle bodies do not each read a batch again."""
    for chunk in (batch(record(2000, "old")), ping(2001)):
        cursor = opened("v2", StreamCursor.restore("v2:2001,2001"))
        assert cursor.request_headers() == {"Last-Event-ID": "1000"}
        assert fed(cursor, chunk) == []
        assert cursor.request_headers() == {"Last-Event-ID": "2000"}


def test_drained_is_what_the_server_said_last():
    """By the tail of a ping, never of a batch; a new body knows nothing yet."""
    cursor = opened("v2")
    steps = [
        (ping(1), False),
        (batch(record(0, 0)), False),
        (batch(record(1, 1), tail=3), False),
        (batch(record(2, 2), tail=3), False),
        (ping(3), True),
        (ping(4), False),
        (batch(record(3, 3)), False),
        (ping(4), True),
    ]
    for chunk, drained in steps:
        fed(cursor, chunk)
        assert cursor.drained is drained, chunk
    opened("v2", cursor)
    assert not cursor.drained


def test_done_ends_the_body_and_not_the_stream():
    """What follows is not read; the next body goes on."""
    cursor = opened("v2")
    assert values(fed(cursor, batch(record(0, 0)) + DONE + batch(record(1, 1)))) == [0]
    assert cursor.over
    assert fed(cursor, batch(record(1, 1))) == []
    cursor.end(clean=True)
    assert values(fed(opened("v2", cursor), batch(record(1, 1)))) == [1]


def test_an_error_event_is_transient_and_loses_nothing():
    """The parts before it are handed out, then `end` raises, once."""
    cursor = opened("v2")
    assert values(fed(cursor, batch(record(0, 0)) + event("error", "read timed out"))) == [0]
    assert cursor.over
    with pytest.raises(ApiConnectionError, match="read timed out"):
        cursor.end(clean=True)
    cursor.end(clean=True)
    assert values(fed(opened("v2", cursor), batch(record(1, 1)))) == [1]


@pytest.mark.parametrize("data", ["{", "[]", "null", '{"records": 5}', "[" * 100_000])
def test_a_batch_that_is_none_breaks_the_body(data):
    """How many records it held is unknown: the cursor stays where it was."""
    cursor = opened("v2")
    assert values(fed(cursor, batch(record(0, 0)) + event("batch", data))) == [0]
    assert cursor.over
    assert cursor.request_headers() == {"Last-Event-ID": "0"}
    with pytest.raises(ProtocolError, match="batch of the stream"):
        cursor.end(clean=True)


def test_bad_parts_are_reported_in_their_place():
    """They lose nothing else, and count as parts where they have a number."""
    cursor = opened("v2")
    bodies = ["{", "[1]", None, "", '{"data": "ok"}', 5]
    records = [{"seq_num": n, "body": body} for n, body in enumerate(bodies)]
    got = fed(cursor, batch(*records, {"body": "{}"}, 7, record(6, "end")))
    assert [type(part) for part in got] == [BadPart] * 4 + [Part] + [BadPart] * 3 + [Part]
    assert [part.index for part in got] == [0, 1, 2, 3, 4, 5, 6, 6, 6]
    bad = got[0]
    assert isinstance(bad, BadPart)
    assert (bad.reason, bad.raw) == ("record 0 of the stream is not an envelope", "{")
    assert StreamCursor.restore(bad.id).last_event_id == "v2:1,1"


def test_start_index_is_the_number_of_a_record():
    """A batch before it is read too, for its ids alone, so that a retried write is known."""
    cursor = StreamCursor(start_index=2000)
    assert cursor.request_headers() == {"Last-Event-ID": "999"}
    opened("v2", cursor)
    records = [record(n, n) for n in range(1000, 2003)]
    records[1001] = record(2001, 1999, "id1999")
    parts = fed(cursor, batch(*records))
    assert [(part.value, part.index) for part in parts] == [(2000, 2000), (2002, 2001)]
    assert cursor.request_headers() == {"Last-Event-ID": "2002"}
    assert StreamCursor(start_index=1000).request_headers() == {}
    assert StreamCursor(start_index=1001).request_headers() == {"Last-Event-ID": "0"}


def test_start_index_across_a_trim():
    """Records that are gone are reported where they were asked for, and the rest keeps its
    numbers."""
    parts = fed(opened("v2", StreamCursor(start_index=100)), batch(*_records(80, 103)))
    assert values(parts) == [100, 101, 102]
    gone, *parts = fed(opened("v2", StreamCursor(start_index=100)), batch(*_records(130, 132)))
    assert isinstance(gone, BadPart)
    assert gone.report is StreamTrimmed
    assert "records 100 to 129" in gone.reason
    assert values(parts) == [130, 131]
    assert values(fed(opened("v2"), batch(*_records(130, 132)))) == [130, 131]
    gone, *_ = fed(opened("v2", StreamCursor(start_index=0)), batch(record(1, 1)))
    assert "record 0 was trimmed" in gone.reason


def test_start_index_beyond_the_tail():
    """The server starts at its tail: what comes before the number is not handed out, and the
    stream can't have fallen behind a wish."""
    cursor = opened("v2", StreamCursor(start_index=5))
    assert fed(cursor, ping(2)) == []
    assert cursor.drained
    assert cursor.last_event_id is None
    assert values(fed(cursor, batch(*_records(2, 7)))) == [5, 6]
    assert cursor.last_event_id == "v2:7,7"


def _records(start: int, end: int) -> list[Any]:
    return [record(n, n) for n in range(start, end)]


@pytest.mark.parametrize("kind", ["reader", "restored"])
def test_trimmed_records_are_reported(kind):
    """Numbers have no holes, commands have one too; a cursor beyond the report tells it once."""
    cursor = opened("v2")
    fed(cursor, batch(*_records(0, 3)))
    cursor.end(clean=False)
    opened("v2", cursor)
    cursor = reopened("v2", cursor) if kind == "restored" else cursor
    trim = {"seq_num": 6, "headers": [["", "trim"]], "body": "x"}
    gone, part = fed(cursor, batch(record(5, 5), trim))
    assert isinstance(gone, BadPart)
    assert gone.report is StreamTrimmed
    assert gone.reason == "records 3 to 4 were trimmed away unread"
    assert values([part]) == [5]
    assert values(fed(opened("v2", StreamCursor.restore(gone.id)), batch(record(5, 5)))) == [5]


LOSSES = {
    "a tail below": [ping(2)],
    "a record below": [batch(record(2, "other", "id2"))],
    "no tail": [batch(record(2, "new")), event("ping", {"timestamp": 1})],
}


@pytest.mark.parametrize("shown", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("back", ["empty", "yesterday"])
def test_a_stream_that_was_lost_is_read_from_its_beginning(shown, back):
    """But for what was handed out before, which is told by id and body: the ids are short."""
    cursor = opened("v2")
    fed(cursor, batch(*_records(0, 50)))
    opened("v2", cursor)
    told = [part for chunk in shown for part in fed(cursor, chunk)]
    assert [type(part) for part in told] == [BadPart]
    assert told[0].report is StreamRewound
    assert cursor.over
    assert cursor.request_headers() == {}
    opened("v2", cursor)
    new = [record(n, f"new {n}", f"id{n}") for n in range(60)]
    if back == "yesterday":
        new[:20] = _records(0, 20)
    got = values(fed(cursor, batch(*new[:30])) + fed(cursor, batch(*new[30:])))
    assert got == [f"new {n}" for n in range(20 if back == "yesterday" else 0, 60)]
    cursor.end(clean=False)
    assert cursor.request_headers() == {"Last-Event-ID": "59"}
    assert fed(opened("v2", cursor), ping(60)) == []
    # A second loss is told as well.
    assert [part.report for part in fed(opened("v2", cursor), ping(0))] == [StreamRewound]
    assert cursor.drained


def test_a_server_that_does_not_heed_the_id_has_lost_nothing():
    """What it sends again was handed out: it is dropped, and reading goes on."""
    cursor = opened("v2")
    fed(cursor, batch(*_records(0, 5)))
    assert values(fed(opened("v2", cursor), batch(*_records(0, 7)))) == [5, 6]


def test_a_restored_position_can_be_fallen_behind():
    """What another process read is not known here, and told again."""
    for last_event_id in ("v2:50,50", "v2:2000,2000", "49"):
        cursor = opened("v2", StreamCursor.restore(last_event_id))
        [lost] = fed(cursor, ping(3))
        assert lost.report is StreamRewound
        assert values(fed(opened("v2", cursor), batch(*_records(0, 3)))) == [0, 1, 2]


@pytest.mark.parametrize("end", [event("ping", {"timestamp": 1}), DONE])
def test_a_loss_shows_in_what_is_read_back(end):
    """A body that ends without the record before the position, of a server that names no tail."""
    cursor = opened("v2", StreamCursor.restore("v2:50,50"))
    assert fed(cursor, batch(*_records(0, 3))) == []
    [lost] = fed(cursor, end)
    assert lost.report is StreamRewound
    assert not cursor.drained
    cursor = opened("v2", StreamCursor.restore("v2:50,50"))
    assert fed(cursor, batch(*_records(0, 50)) + end) == []


@pytest.mark.parametrize("end", [event("ping", {"timestamp": 1}), ping(6), DONE])
def test_the_end_of_what_was_read_is_no_loss(end):
    """However the records came: one by one, together, of this body or of the ones before."""
    cursor = opened("v2")
    for start, stop in ((0, 1), (1, 2), (2, 6)):
        assert len(fed(cursor, batch(*_records(start, stop)))) == stop - start
    assert fed(cursor, end) == []
    assert fed(opened("v2", cursor), end) == []
    assert fed(reopened("v2", cursor), batch(*_records(0, 6)) + end) == []


def test_how_many_records_are_remembered():
    """The newest 100,000; of older ones what comes again after a loss is told again."""
    most = told_records.MOST_REMEMBERED
    cursor = opened("v2")
    total = most + most // 2
    for start in range(0, total, 1000):
        fed(cursor, batch(*_records(start, start + 1000)))
    [lost] = fed(opened("v2", cursor), ping(5))
    assert lost.report is StreamRewound
    opened("v2", cursor)
    again = []
    for start in range(0, total, 1000):
        again += values(fed(cursor, batch(*_records(start, start + 1000))))
    assert again == list(range(len(again)))
    assert most - most // 4 <= total - len(again) - most // 4
    assert total - len(again) >= most


def test_ids_that_are_none_and_ids_that_are_numbers():
    """Two parts with an empty id are two; numbers are compared like texts."""
    for first in ([], [record(0, "first")]):
        cursor = opened("v2")
        fed(cursor, batch(*first))
        bodies = ['{"data":1,"id":""}', '{"data":2,"id":""}', '{"data":3,"id":7}']
        bodies += ['{"data":4,"id":"7"}', '{"data":5,"id":7.0}', '{"data":6,"id":true}']
        records = [{"seq_num": len(first) + n, "body": body} for n, body in enumerate(bodies)]
        parts = [part for one in records for part in fed(cursor, batch(one))]
        assert values(parts) == [1, 2, 3, 6]
        again = [{**one, "seq_num": one["seq_num"] + 6} for one in records]
        assert values(fed(cursor, batch(*again))) == [1, 2, 6]


@pytest.mark.parametrize(
    ("data", "said"), [("[" * 100_000 + "]" * 100_000, "deep"), ("9" * 5000, "digits")]
)
def test_what_is_beyond_our_limits_is_said_to_be_that(data, said):
    """It may be a proper envelope."""
    cursor = opened("v2")
    fed(cursor, batch(record(0, 0)))
    body = f'{{"data":{data},"id":"a"}}'
    [bad] = fed(cursor, batch({"seq_num": 1, "body": body}))
    assert said in bad.reason
    assert "not an envelope" not in bad.reason


def test_a_start_at_the_tail_resumes_from_where_the_tail_was():
    """Also when nothing was there to be read. An id beyond any tail asks for it."""
    cursor = StreamCursor(from_latest=True)
    assert cursor.seeks_tail
    assert cursor.request_headers() == {"Last-Event-ID": "999999999999999"}
    opened("v2", cursor)
    assert not cursor.seeks_tail
    assert cursor.request_headers() == {"Last-Event-ID": "999999999999999"}
    fed(cursor, ping(7))
    assert cursor.request_headers() == {"Last-Event-ID": "6"}
    assert values(fed(reopened("v2", cursor), batch(record(7, 7)))) == [7]
    cursor = opened("v2", StreamCursor(from_latest=True))
    [part] = fed(cursor, batch(record(7, 7)))
    assert (part.index, cursor.request_headers()) == (0, {"Last-Event-ID": "7"})


def test_a_start_at_the_tail_where_no_answer_comes():
    """On v1 such an id waits for ever: it is asked for by the header. If that brings v2, which does
    not know the header, the id is used after all."""
    cursor = StreamCursor(from_latest=True)
    cursor.give_up_tail_id()
    assert not cursor.seeks_tail
    assert cursor.request_headers() == {"X-Trigger-Stream-Start": "latest"}
    assert not cursor.open("v2")
    assert cursor.request_headers() == {"Last-Event-ID": "999999999999999"}
    cursor = StreamCursor(from_latest=True)
    cursor.give_up_tail_id()
    assert cursor.open("v1")


def test_a_plain_sequence_number_is_sent_as_it_is():
    """So that a number from another client works here."""
    cursor = opened("v2", StreamCursor.restore("42"))
    assert cursor.last_event_id == "42"
    assert cursor.request_headers() == {"Last-Event-ID": "42"}
    assert values(fed(cursor, batch(record(43, 43)))) == [43]
    assert cursor.last_event_id == "v2:44,1"


def test_a_server_that_changes_the_format_makes_the_stream_start_over():
    """The old id means nothing in the new format; the parts handed out are skipped by number."""
    v1 = b"".join(b"id: %d-0\ndata: %d\n\n" % (n, n) for n in range(1, 6))
    v2 = batch(*(record(n, n + 1) for n in range(7)))
    cursor = StreamCursor()
    cursor.open(None)
    assert values(fed(cursor, v1)) == [1, 2, 3, 4, 5]
    assert cursor.request_headers() == {"Last-Event-ID": "2-0"}
    restored = StreamCursor.restore(cursor.last_event_id or "")
    for one in (cursor, restored):
        assert not one.open("V2")
        assert one.request_headers() == {}
        assert one.open("v2")
        assert values(fed(one, v2)) == [6, 7]
        assert not one.open("v1")
        assert one.open("v1")
        assert values(
            fed(one, v1 + b"id: 6-0\ndata: 6\n\nid: 7-0\ndata: 7\n\nid: 8-0\ndata: 8\n\n")
        ) == [8]


def test_a_change_of_format_needs_no_second_request_when_no_id_was_sent():
    """The body is the whole stream then."""
    cursor = StreamCursor()
    cursor.open("v1")
    assert values(fed(cursor, b"id: 1-0\ndata: 1\n\n")) == [1]
    assert cursor.open("v2")
    assert values(fed(cursor, batch(record(0, 1), record(1, 2)))) == [2]
    with pytest.raises(ProtocolError, match="unknown format 'v3'"):
        cursor.open("v3")


json_ish = st.lists(
    st.sampled_from(
        [
            "{", "}", "[", "]", ",", ":", '"', '"a"', "1", "null", " ", "{}", "[1", "2]",
            '{"data":', "\\",
        ]
    ),
    max_size=6,
).map("".join)  # fmt: skip


@given(st.lists(json_ish | st.just('{"data": 1}'), max_size=6))
def test_texts_decoded_together_are_what_they_are_alone(texts):
    """A malformed one can't lean on its neighbours, nor hide between them."""
    wanted = []
    for text in texts:
        try:
            wanted.append(loads(text))
        except ValueError:
            wanted.append(MALFORMED)
    assert loads_all(texts) == wanted


def test_texts_that_only_make_sense_together_are_malformed():
    """Three pieces that make three values when joined by commas."""
    assert loads_all(["[1", "2]", "3,4"]) == [MALFORMED] * 3
    assert loads_all(["1,2", " ", ""]) == [MALFORMED] * 3
    assert loads_all(["0", "1,2"]) == [0, MALFORMED]
    assert loads_all([]) == []


def test_good_texts_are_decoded_by_one_call(monkeypatch):
    """That is the gain: the parser's fixed cost per call is more than that of a small text."""
    calls: list[Any] = []
    monkeypatch.setattr(joined, "loads", lambda text: calls.append(text) or loads(text))
    assert loads_all(['{"a": 1}'] * 100) == [{"a": 1}] * 100
    assert len(calls) == 1


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["records", "tail", "seq_num", "headers", "body", "data", "id"]), inner
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(["batch", "ping", "error", "other", ""]),
    any_json | st.fixed_dictionaries({"records": st.lists(any_json)}) | st.text(max_size=20),
)
def test_garbage_is_never_a_crash(name, data):
    """It makes bad parts, or breaks the body with a documented error, and a part has a position."""
    for version in ("v1", "v2"):
        cursor = StreamCursor()
        cursor.open(version)
        for part in fed(cursor, event(name, data)):
            assert StreamCursor.restore(part.id).last_event_id == part.id
        try:
            cursor.end(clean=True)
        except (ProtocolError, ApiConnectionError):
            assert cursor.over
        if cursor.last_event_id is not None:
            StreamCursor.restore(cursor.last_event_id)


def test_a_cursor_before_its_first_body():
    """It has nothing to hand out, and no position but the one it was asked to start at."""
    cursor = StreamCursor()
    assert list(cursor.feed(frame("1-0", "1"))) == []
    assert list(cursor.finish()) == []
    cursor.idle()
    cursor.end(clean=True)
    assert (cursor.over, cursor.drained, cursor.last_event_id) == (False, False, None)
    assert cursor.request_headers() == {}


@pytest.mark.parametrize("version", [None, "", "v1", " V2 "])
def test_the_format_is_v1_unless_the_server_says_otherwise(version):
    """In any case, with blanks around it."""
    assert StreamCursor().open(version)


def test_an_unknown_format_is_named_in_short():
    """At most twenty characters of it go into the error."""
    with pytest.raises(ProtocolError, match=r"unknown format 'xxxxxxxxxxxxxxxxxxxx'$"):
        StreamCursor().open("x" * 21)


def test_a_format_that_changes_before_any_part_starts_at_the_tail_still():
    """Nothing was read: the new body is of use, and its position is not known yet."""
    cursor = at_tail("v1")
    cursor.end(clean=True)
    assert cursor.open("v2")
    assert cursor.request_headers() == {"Last-Event-ID": "999999999999999"}
    [part] = cursor.feed(batch(record(7, "first")))
    assert part.index == 0


def test_a_format_that_changes_keeps_what_was_asked_to_be_skipped():
    """What the user skips is skipped in the new format."""
    cursor = opened("v2", StreamCursor(start_index=3))
    assert values(fed(cursor, batch(record(0, "a")))) == []
    assert cursor.open("v1")
    body = b"".join(frame(f"{n}-0", f'"{n}"') for n in range(1, 6))
    parts = [(part.value, part.index) for part in cursor.feed(body) if isinstance(part, Part)]
    assert parts == [("4", 3), ("5", 4)]


def test_an_empty_stream_is_drained():
    """A tail of 0 says that no record was ever written; a malformed tail says nothing."""
    cursor = opened("v2")
    for tail, drained in ((-1, False), (1.0, False), ("0", False), (0, True)):
        cursor.feed(event("ping", {"tail": {"seq_num": tail}}))
        assert cursor.drained is drained, tail


def test_sequence_numbers_are_within_bounds():
    """Of 15 digits at most, so that a position can be read back."""
    cursor = opened("v2")
    largest = 10**15 - 1
    bad, part = cursor.feed(batch(record(-1, "x"), record(largest, "y")))
    assert isinstance(bad, BadPart)
    assert isinstance(part, Part)
    [bad] = opened("v2").feed(batch(record(largest + 1, "x")))
    assert isinstance(bad, BadPart)
    assert "no sequence number" in bad.reason
