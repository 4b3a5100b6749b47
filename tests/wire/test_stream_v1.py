"""v1 streams: every part once, in order, never torn, whatever happens to bodies and processes."""

from __future__ import annotations

import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.stream_bodies import at_tail, fed, frame, opened, reopened, values
from tests.wire.v1_server_model import PING, Reader, V1Server, run_trial
from trigger_realtime_sync._wire.stream_cursor import StreamCursor
from trigger_realtime_sync._wire.stream_parts import BadPart, Part
from trigger_realtime_sync.errors import ProtocolError, StreamTrimmed

# More are run by setting this; 40,000 take about 15 s.
TRIALS = int(os.environ.get("STREAM_V1_TRIALS", "6000"))
WIRE = Path(__file__).parents[1] / "recordings"


def test_random_streams_are_read_exactly():
    """Texts of all kinds in entries cut anywhere, bodies cut anywhere, idle closes that flush half
    a line, restarts from the cursor's text and from a single part's."""
    for seed in range(TRIALS):
        got, wanted, trace = run_trial(random.Random(seed))
        assert repr(got) == repr(wanted), f"seed {seed}\n" + "\n".join(trace)


@settings(suppress_health_check=[HealthCheck.large_base_example])
@given(st.randoms(use_true_random=False))
def test_random_streams_that_hypothesis_can_shrink(rng):
    """The same trial; a failure comes with the smallest stream that shows it."""
    got, wanted, trace = run_trial(rng)
    assert repr(got) == repr(wanted), "\n".join(trace)


def test_every_part_names_the_place_after_it():
    """The id of each part of a stream resumes with the next one, also where parts are torn over
    entries and entries start with a newline."""
    server = V1Server()
    entries = [
        '{"i":0}\n{"i"', ":1}\n", '{"i":2', '}\n{"i":3}', '\n{"i":4}\n\n', '\n{"i":5}\n', "6\n",
    ]  # fmt: skip
    for entry in entries:
        server.write(entry)
    reader = Reader(server, random.Random(1))
    reader.read()
    parts = list(reader.parts)
    assert values(parts) == [*({"i": n} for n in range(6)), 6]
    assert [part.index for part in parts if isinstance(part, Part)] == list(range(7))
    for n, part in enumerate(parts):
        cursor = StreamCursor.restore(part.id)
        body = server.body(cursor.request_headers())
        opened("v1", cursor)
        assert values(fed(cursor, body.news())) == values(parts)[n + 1 :]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["1", "text", "NaN", "{}"])), max_size=30
    ),
    st.integers(0, 30),
)
def test_parts_that_come_together_are_as_those_that_come_apart(steps, start_index):
    """The same values, indices and positions, whether a thousand arrive at once or each alone."""
    numbers = list(itertools.accumulate(step for step, _ in steps))
    frames = [frame(f"{n}-1", data) for n, (_, data) in zip(numbers, steps, strict=True)]
    apart, together = (opened("v1", StreamCursor(start_index=start_index)) for _ in range(2))
    alone = [part for one in frames for part in fed(apart, one)]
    at_once = fed(together, b"".join(frames))
    assert [(p.value, p.index, p.id) for p in at_once] == [(p.value, p.index, p.id) for p in alone]
    assert together.last_event_id == apart.last_event_id
    assert together.request_headers() == apart.request_headers()


def test_every_split_of_a_body_gives_the_same_parts():
    """Cut into two at every byte, of a first body and of one that resumes."""
    body = (
        frame("1-0", "half")
        + PING
        + frame("1-0", '{"a":"ö"}')
        + frame("2-0", "3")
        + frame("4-1", "x")
    )
    for at in range(len(body) + 1):
        cursor = opened("v1")
        got = fed(cursor, body[:at]) + fed(cursor, body[at:])
        assert values(got) == ["half", {"a": "ö"}, 3, "x"]
        cursor = reopened("v1", cursor)
        rest = body + frame("4-1", '"new"')
        assert values(fed(cursor, rest[:at]) + fed(cursor, rest[at:])) == ["new"]


@pytest.mark.parametrize("name", ["stream_v1", "stream_v1_resume"])
def test_recorded_bodies(name):
    """What a real server sent, against what the official client made of it (parsing alone:
    resuming is where it is wrong)."""
    emitted = json.loads((WIRE / f"{name}.emitted.json").read_text())
    runs = [emitted] if name == "stream_v1" else [run.popitem()[1] for run in emitted]
    for exchange, run in zip(json.loads((WIRE / f"{name}.json").read_text()), runs, strict=True):
        cursor = opened("v1")
        got = []
        for chunk in exchange["response"]["body_chunks"]:
            got += fed(cursor, chunk["text"].encode())
        assert values(got) == [part["chunk"] for part in run]


def test_the_recorded_stream_resumed_at_every_part():
    """Where the official client loses `{"i":1}` or hands out `:3}`, all four parts come once."""
    server = V1Server()
    for entry in ['{"i":0}\n{"i":1}\n', '{"i":2}\n{"i"', ":3}\n"]:
        server.write(entry, later=4)
    for count in range(1, 5):
        cursor = opened("v1")
        whole = server.body({}).news().split(b"\n\n")
        got = [part for one in whole[:count] for part in fed(cursor, one + b"\n\n")]
        cursor.end(clean=False)
        body = server.body(cursor.request_headers())
        cursor = reopened("v1", cursor)
        assert values(got + fed(cursor, body.news())) == [{"i": n} for n in range(4)]


@pytest.mark.parametrize("data", ['{"a": 1}', "[1]", '"text"'])
def test_whole_json_is_handed_out_at_once_even_after_a_silence(data):
    """Tokens of a language model are not late."""
    cursor = opened("v1")
    cursor.idle()
    assert values(fed(cursor, frame("1-0", data))) == [json.loads(data)]


@pytest.mark.parametrize("data", ["12", "-", "some text", "tru", "null", '{"a":'])
def test_what_may_be_half_a_line_waits_for_more_bytes_after_a_silence(data):
    """It is handed out when any byte follows, and not when the body ends instead."""
    cursor = opened("v1")
    assert len(fed(cursor, frame("1-0", data))) == 1  # no silence yet
    cursor.idle()
    assert fed(cursor, frame("2-0", data)) == []
    assert fed(cursor, b"") == []
    assert len(fed(cursor, b":")) == 1
    assert fed(cursor, b" ping\n\n") == []
    assert fed(cursor, frame("3-0", data)) == []  # the ping told of a silence
    cursor.end(clean=True)
    cursor = reopened("v1", cursor)
    replay = frame("1-0", data) + frame("2-0", data)
    assert values(fed(cursor, replay + frame("4-0", "all of it"))) == ["all of it"]


def test_finish_hands_out_the_last_line_that_never_ended():
    """When the run is over, what looked like half a line is the whole of it, once."""
    cursor = opened("v1")
    fed(cursor, frame("1-0", "a"))
    cursor.idle()
    assert fed(cursor, frame("2-0", "the end")) == []
    cursor.end(clean=True)
    assert cursor.drained
    opened("v1", cursor)
    assert not cursor.drained
    assert values(cursor.finish()) == ["the end"]
    assert not cursor.finish()


def test_a_flushed_line_that_was_whole_comes_once():
    """Its newline comes in a later entry, so that it comes again under another id."""
    cursor = opened("v1")
    cursor.idle()
    assert values(fed(cursor, frame("1-0", '{"a":1}'))) == [{"a": 1}]
    cursor.end(clean=True)
    cursor = reopened("v1", cursor)
    assert values(fed(cursor, frame("2-0", '{"a":1}') + frame("2-0", '{"a":2}'))) == [{"a": 2}]


def test_start_index_counts_parts_across_bodies_and_processes():
    """Those before it are read and not handed out."""
    cursor = opened("v1", StreamCursor(start_index=3))
    body = b"".join(frame(f"{n // 2}-0", str(n)) for n in range(6))
    assert fed(cursor, body[: 2 * len(frame("0-0", "0"))]) == []
    cursor = reopened("v1", cursor)
    parts = fed(cursor, body)
    assert values(parts) == [3, 4, 5]
    assert parts[0].index == 3
    with pytest.raises(ValueError, match="start_index"):
        StreamCursor(start_index=-1)


def test_a_start_at_the_tail_is_asked_for_until_something_was_read():
    """Then the position is known, and nothing from before the tail comes any more."""
    server = V1Server()
    server.write("0\n1\n", later=1)
    cursor = StreamCursor(from_latest=True)
    assert not cursor.open("v1")  # it was asked for in the way of v2
    assert cursor.request_headers() == {"X-Trigger-Stream-Start": "latest"}
    assert cursor.last_event_id is None
    body = server.body(cursor.request_headers())
    opened("v1", cursor)
    assert cursor.request_headers() == {"X-Trigger-Stream-Start": "latest"}
    ident = server.write("2\n3\n", later=1)
    assert values(fed(cursor, body.news())) == [2, 3]
    cursor.end(clean=False)
    server.write("4\n")
    headers = cursor.request_headers()
    ms = int(ident.partition("-")[0])
    assert headers == {"Last-Event-ID": f"{ms - 1}-{2**64 - 1}"}
    assert values(fed(reopened("v1", cursor), server.body(headers).news())) == [4]


def test_parts_the_server_no_longer_has_are_reported():
    """It keeps the newest entries only. What is there is read, and the loss is told of."""
    server = V1Server(cap=5)
    cursor = opened("v1")
    body = server.body({})
    got: list[Any] = []
    for n in range(4):
        server.write(f"{n}\n", later=1)
        got += fed(cursor, body.news())
    cursor.end(clean=False)
    for n in range(4, 20):
        server.write(f"{n}\n", later=1)
    cursor_ = reopened("v1", cursor)
    lost, *rest = fed(cursor_, server.body(cursor_.request_headers()).news())
    assert values(got) == [0, 1, 2, 3]
    assert isinstance(lost, BadPart)
    assert "no longer has the parts between" in lost.reason
    assert lost.raw is None
    assert values(rest) == [15, 16, 17, 18, 19]
    assert values(fed(reopened("v1", cursor_), server.body(cursor_.request_headers()).news())) == []


@pytest.mark.parametrize("left", range(1, 6))
def test_a_loss_is_reported_once_and_what_is_left_told_once(left):
    """Also when the body that shows it is cut after any of its parts, and the next one too."""
    server = V1Server(cap=6)
    cursor = opened("v1")
    body = server.body({})
    for n in range(4):
        server.write(f"{n}\n", later=1)
        fed(cursor, body.news())
    for n in range(4, 20):
        server.write(f"{n}\n", later=1)
    told: list[Any] = []
    for _ in range(3):
        cursor.end(clean=False)
        cursor = reopened("v1", cursor)
        events = server.body(cursor.request_headers()).news().split(b"\n\n")[:left]
        told += fed(cursor, b"".join(event + b"\n\n" for event in events if event))
    lost = [one for one in told if isinstance(one, BadPart)]
    parts = values([one for one in told if not isinstance(one, BadPart)])
    assert len(lost) == 1
    assert parts == list(range(14, 14 + len(parts)))


def test_a_capped_stream_that_is_kept_up_with_is_read_exactly():
    """Entries older than the two ids before the current one are not needed."""
    for seed in range(200):
        rng = random.Random(seed)
        server = V1Server(cap=4)
        reader = Reader(server, rng)
        for n in range(30):
            server.write(f'{{"i":{n}}}\n', later=1)
            rng.choice([reader.read, reader.ping, reader.idle_close])()
            reader.read()
        assert reader.drain() == [{"i": n} for n in range(30)], seed


def test_a_plain_server_id_resumes_after_its_entry():
    """Inexact by nature, but usable; and from there on resuming is exact."""
    cursor = StreamCursor.restore("1795414755739-0")
    assert cursor.request_headers() == {"Last-Event-ID": "1795414755739-0"}
    opened("v1", cursor)
    body = frame("1795414755740-0", "1") + frame("1795414755740-0", "2")
    assert values(fed(cursor, body)) == [1, 2]
    cursor = reopened("v1", cursor)
    assert cursor.request_headers() == {"Last-Event-ID": "1795414755739-0"}
    assert values(fed(cursor, body + frame("1795414755740-0", "3"))) == [3]


def test_a_broken_body_is_no_sign_that_the_stream_is_drained(monkeypatch):
    """An event that is too long ends the body, and the position stays what it was."""
    monkeypatch.setattr("trigger_realtime_sync._wire.sse.MAX_EVENT_BYTES", 100)
    cursor = opened("v1")
    assert values(fed(cursor, frame("1-0", "1"))) == [1]
    assert fed(cursor, b"x" * 200) == []
    assert cursor.over
    with pytest.raises(ProtocolError, match="longer than 100 bytes"):
        cursor.end(clean=True)
    assert not cursor.drained
    assert cursor.last_event_id == "v1:,,,0,1,1"


def test_events_without_a_usable_id_are_counted():
    """They can only be resumed from the beginning; a malformed id is never sent back."""
    cursor = opened("v1")
    body = b"data: 1\n\nid: \ndata: 2\n\nid: x\ndata: 3\n\nid: 99999999999999999999-0\ndata: 4\n\n"
    assert values(fed(cursor, body)) == [1, 2, 3, 4]
    assert cursor.request_headers() == {}
    assert values(fed(reopened("v1", cursor), body + b"data: 5\n\n")) == [5]


def test_what_is_not_json_is_text():
    """JavaScript's JSON has no NaN; depth and digits without limit are not crashes."""
    deep, long = "[" * 100_000, "9" * 10_000
    cursor = opened("v1")
    data = ["NaN", "-Infinity", "1e5", '{"a"', deep, long, "", '"\\ud800"']
    got = values(fed(cursor, b"".join(frame("1-0", one) for one in data)))
    assert got == ["NaN", "-Infinity", 1e5, '{"a"', deep, long, "", "\ud800"]


@given(st.text() | st.from_regex(r"v1:[0-9,-]*", fullmatch=True))
def test_garbage_is_no_last_event_id(text):
    """It is refused, or names a position that is written in the same way."""
    try:
        cursor = StreamCursor.restore(text)
    except ValueError:
        return
    last = cursor.last_event_id
    assert last is not None
    assert StreamCursor.restore(last).last_event_id == last


@pytest.mark.parametrize(
    "text",
    [
        "", "v1:", "v1:,,,0,0", "v1:,,,0,2,3", "v1:1-0,2-0,,1,0,3,", "v1:,,1-0,0,0,0",
        "v1:,1-0,,0,0,5", "v1:,,1-0,3,0,2", "v1:99999999999999999999-0,,,0,0,0", "1-", "-1",
        "v1:,,1-0,1,0,1\n", "v1:,,\u0661-0,1,0,1", "1.5", "v3:1", "v1:,,1-0,1,0,9999999999999999",
    ],
)  # fmt: skip
def test_contradictions_are_no_last_event_id(text):
    """A position that no stream can have is refused when it is given, not later."""
    with pytest.raises(ValueError, match="last_event_id"):
        StreamCursor.restore(text)


@pytest.mark.parametrize(
    ("first", "before"),
    [("5-3", "5-2"), ("5-1", "5-0"), ("5-0", f"4-{2**64 - 1}"), ("1-0", f"0-{2**64 - 1}")],
)
def test_a_start_at_the_tail_resumes_before_its_first_entry(first, before):
    """At the id right before it: the entry's own parts are sent again, and dropped."""
    cursor = at_tail("v1")
    assert values(fed(cursor, frame(first, "1"))) == [1]
    assert cursor.request_headers() == {"Last-Event-ID": before}
    again = reopened("v1", cursor)
    assert values(fed(again, frame(first, "1") + frame(first, "2"))) == [2]


def bare(*parts: str) -> bytes:
    """Return parts as servers before 4.1.2 send them: without ids."""
    return b"".join(f"data: {part}\n\n".encode() for part in parts)


def test_parts_without_ids_are_dropped_by_count_while_they_are_the_same():
    """Each body begins at the oldest entry; a last part that was returned comes again, too."""
    cursor = opened("v1")
    assert values(fed(cursor, bare("1", "2", "3"))) == [1, 2, 3]
    for _ in range(2):
        cursor.end(clean=True)
        assert cursor.request_headers() == {}
        assert values(fed(opened("v1", cursor), bare("1", "2", "3"))) == []
    assert values(fed(opened("v1", cursor), bare("1", "2", "3", "4", "5"))) == [4, 5]
    assert values(fed(opened("v1", cursor), bare("1", "2", "3", "4", "5", "6"))) == [6]


def test_parts_without_ids_after_a_trim_are_reported():
    """Nothing tells how many are gone: what is left is returned, none is dropped by a guess."""
    cursor = opened("v1")
    fed(cursor, bare("1", "2", "3", "4"))
    cursor.end(clean=True)
    gone, *parts = fed(opened("v1", cursor), bare("3", "4", "5"))
    assert isinstance(gone, BadPart)
    assert gone.report is StreamTrimmed
    assert "4.1.2" in gone.reason
    assert values(parts) == [3, 4, 5]
    assert values(fed(opened("v1", cursor), bare("3", "4", "5", "6"))) == [6]


@pytest.mark.parametrize("has_ids", [True, False], ids=["ids", "no ids"])
def test_a_trim_after_the_first_part_is_reported(has_ids):
    """The one part that was read does not come again: what comes in its place is none of it."""

    def sent(*numbers: int) -> bytes:
        if not has_ids:
            return bare(*map(str, numbers))
        return b"".join(frame(f"{number}-0", str(number)) for number in numbers)

    cursor = opened("v1")
    assert values(fed(cursor, sent(1))) == [1]
    cursor.end(clean=False)
    gone, *parts = fed(opened("v1", cursor), sent(3, 4))
    assert isinstance(gone, BadPart)
    assert gone.report is StreamTrimmed
    assert values(parts) == [3, 4]
    assert values(fed(opened("v1", cursor), sent(3, 4, 5))) == [5]
