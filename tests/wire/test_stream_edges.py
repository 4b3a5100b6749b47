"""Streams at their edges: empty ones, exact limits, and formats that change before any part."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trigger_realtime_sync._wire import sse
from trigger_realtime_sync._wire.sse import MAX_EVENT_LINES, EventFramer
from trigger_realtime_sync._wire.stream_cursor import StreamCursor
from trigger_realtime_sync._wire.stream_parts import BadPart, Part
from trigger_realtime_sync.errors import ProtocolError

LATEST = {"X-Trigger-Stream-Start": "latest"}


def opened(version: str, cursor: StreamCursor | None = None) -> StreamCursor:
    cursor = cursor or StreamCursor()
    assert cursor.open(version)
    return cursor


def event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def batch(*records: Any) -> bytes:
    return event("batch", {"records": list(records)})


def record(seq_num: int, part: Any) -> dict[str, Any]:
    body = json.dumps({"data": part, "id": f"id{seq_num}"}, separators=(",", ":"))
    return {"seq_num": seq_num, "headers": [], "body": body}


def frame(ident: str, data: str) -> bytes:
    return f"id: {ident}\ndata: {data}\n\n".encode()


def values(cursor: StreamCursor, data: bytes) -> list[Any]:
    return [part.value for part in cursor.feed(data) if isinstance(part, Part)]


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
    cursor = opened("v1", StreamCursor(from_latest=True))
    cursor.end(clean=True)
    assert cursor.open("v2")
    assert cursor.request_headers() == LATEST
    [part] = cursor.feed(batch(record(7, "first")))
    assert part.index == 0


def test_a_format_that_changes_keeps_what_was_asked_to_be_skipped():
    """Both what was handed out and what the user skips is skipped in the new format."""
    cursor = opened("v2", StreamCursor(start_index=3))
    assert values(cursor, batch(record(0, "a"))) == []
    assert not cursor.open("v1")
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


@pytest.mark.parametrize(
    ("first", "before"),
    [("5-3", "5-2"), ("5-1", "5-0"), ("5-0", f"4-{2**64 - 1}"), ("1-0", f"0-{2**64 - 1}")],
)
def test_a_start_at_the_tail_resumes_before_its_first_entry(first, before):
    """At the id right before it: the entry's own parts are sent again, and dropped."""
    cursor = opened("v1", StreamCursor(from_latest=True))
    assert values(cursor, frame(first, "1")) == [1]
    assert cursor.request_headers() == {"Last-Event-ID": before}
    again = opened("v1", StreamCursor.restore(cursor.last_event_id or ""))
    assert values(again, frame(first, "1") + frame(first, "2")) == [2]


def test_an_event_may_be_exactly_as_long_as_is_allowed(monkeypatch):
    """One byte more is too long, in one chunk or in two, with its end or without."""
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 20)
    allowed, too_long = b"data: " + b"x" * 14, b"data: " + b"x" * 15
    for chunks in ((allowed + b"\n\n",), (allowed, b"\n\n")):
        framer = EventFramer()
        assert [one for chunk in chunks for one in framer.feed(chunk)] == [
            (None, "x" * 14, "message")
        ]
    for chunk in (too_long + b"\n\n", too_long):
        with pytest.raises(ProtocolError, match="longer than 20 bytes"):
            EventFramer().feed(chunk)


def test_an_event_may_have_exactly_as_many_lines_as_is_allowed():
    """Comments are not counted."""
    lines = b"data: x\n" * MAX_EVENT_LINES
    [(_, data, _)] = EventFramer().feed(b": comment\n" * 9 + lines + b"\n")
    assert data.count("x") == MAX_EVENT_LINES
    with pytest.raises(ProtocolError, match=f"more than {MAX_EVENT_LINES} lines"):
        EventFramer().feed(lines + b"data: x\n\n")


def test_within_an_event_is_after_its_first_byte_and_before_its_end():
    """A reader that closes then would lose the event."""
    framer = EventFramer()
    for chunk, within in ((b"", False), (b"data: 1", True), (b"\n", True), (b"\n", False)):
        framer.feed(chunk)
        assert framer.is_within_event is within, chunk
    framer.feed(b"data: 2\n\ndata")
    assert framer.is_within_event
    assert not framer.ends_with_event


@pytest.mark.parametrize("lead", [b"", b"id: 1-0\n", b": comment\n"])
def test_bytes_that_are_not_utf_8_are_replaced(lead):
    """They spoil their own characters, and neither the event nor the body."""
    [(_, data, _)] = EventFramer().feed(lead + b"data: a\xffb\n\n")
    assert data == "a\ufffdb"
