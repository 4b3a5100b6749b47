"""The framing of Server-Sent Events: whole events out of bytes in any pieces."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trigger_realtime_sync._wire import sse
from trigger_realtime_sync._wire.sse import MAX_EVENT_LINES, EventFramer
from trigger_realtime_sync._wire.sse_fast import Event, usual_events
from trigger_realtime_sync.errors import ProtocolError

TOKENS = [
    b"\n", b"\n\n", b"\r", b"\r\n", b"id: ", b"id:7", b"data: ", b"data:", b"data", b"event: ping",
    b": ping", b":", b" ", b"a", b"1-0", b"\xef\xbb\xbf", b"\xff", "ö✓".encode(), b"\xe2\x80\xa8",
    b"id: 1-0\ndata: x\n\n", b"\x0b", b"\x00", b"retry: 5",
]  # fmt: skip
bodies = st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)


def framed(*chunks: bytes) -> list[Event]:
    """The events of a body that comes in these chunks."""
    framer = EventFramer()
    return [event for chunk in chunks for event in framer.feed(chunk)]


def by_the_book(body: bytes) -> list[Event]:
    """The events of a body, by a plain reading of the standard, one line at a time."""
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    *lines, _ = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    events: list[Event] = []
    ident, name, data = None, "", []
    for line in lines:
        if not line:
            if data:
                events.append((ident, "\n".join(data), name or "message"))
            ident, name, data = None, "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "id":
            ident = value
        elif field == "event":
            name = value
    return events


@given(bodies, st.lists(st.integers(0, 200), max_size=8))
@example(b"\xef\xbb\xbfdata: 1\r\n\r\ndata: 2\r\rdata: 3\n\n", [1, 2, 12])
def test_any_body_in_any_chunks_gives_what_the_standard_says(body, cuts):
    """Line ends of all kinds, comments, a BOM and bad UTF-8, cut anywhere."""
    ends = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    assert framed(*(body[a:b] for a, b in itertools.pairwise(ends))) == by_the_book(body)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_split_and_every_cut_of_a_body(end):
    """Cut into two at each byte nothing changes; of a body that is cut off only whole events
    come, each as soon as its blank line is there."""
    lines = [b"id: 1-0", b"data: \xc3\xb6", b"", b": ping", b"", b"event: x", b"data: 2", b"", b""]
    body = end.join(lines)
    whole = [("1-0", "ö", "message"), (None, "2", "x")]
    first_ends = len(end.join(lines[:3])) + 1
    for at in range(len(body) + 1):
        assert framed(body[:at], body[at:]) == whole
        count = (at >= first_ends) + (at >= len(body) - len(end) + 1)
        assert framed(body[:at]) == whole[:count]
    assert framed(*(body[n : n + 1] for n in range(len(body)))) == whole


@given(st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join), st.booleans())
def test_the_fast_path_agrees_with_the_library(body, framed_alone):
    """Whatever the fast reading of v1 frames takes, sseclient-py reads in the same way."""
    text = body.replace(b"\r", b"").decode("utf-8", "replace") + "\n\n"
    if framed_alone:
        text = "id: 1-0\ndata: " + text.replace("\n", "") + "\n\n"
    fast = usual_events(text)
    if framed_alone:
        assert fast is not None
    if fast is not None:
        *blocks, last = text.split("\n\n")
        assert not last
        assert fast == sse._any_events(blocks)


@given(
    st.lists(
        st.lists(
            st.sampled_from(["event: ", "id: ", "data: ", "x", ":", "", " ", "data:", "batch"]),
            max_size=3,
        ).map("".join),
        max_size=9,
    )
)
@example(["event: batch", "id: 1", "data: {}", "", "event: ", "id: 1", "data: {}", ""])
@example(["event: batch", "id: 1", "data: {}", "", "event: batch", "id: 2", "data: ", "", ""])
@example(["event: batch", "data: {}", "id: 1", ""])
def test_the_fast_path_of_batches_agrees_with_the_library(lines):
    """Whatever the fast reading of v2 frames takes, sseclient-py reads in the same way."""
    lines = ["event: batch", "id: 0,1,2", "data: {}", "", *lines]
    text = "\n".join(lines if lines[-1] == "" else [*lines, ""]) + "\n"
    fast = usual_events(text)
    if len(lines) == 4:
        assert fast == [("0,1,2", "{}", "batch")]
    if fast is not None:
        *blocks, last = text.split("\n\n")
        assert not last
        assert fast == sse._any_events(blocks)


def test_it_knows_whether_an_event_was_last_and_came_after_a_comment():
    """A reader of v1 streams holds parts back by this."""
    framer = EventFramer()
    seen = []
    for chunk in (
        b"data: 1\n\n",
        b": p",
        b"ing\n\n",
        b"data: 1\r\n\r",
        b"\n",
        b"data: 1\n\n",
        b"\n",
    ):
        framer.feed(chunk)
        seen.append((framer.ends_with_event, framer.ends_with_event and framer.after_comment))
    no = (False, False)
    assert seen == [(True, False), no, no, (True, True), (True, True), (True, False), no]
    for body, after in ((b":\n\ndata: 1\n\n", True), (b":\n\ndata: 1\n\ndata: 2\n\n", False)):
        framer = EventFramer()
        framer.feed(body)
        assert (framer.ends_with_event, framer.after_comment) == (True, after)


def test_a_large_event_in_small_chunks_takes_linear_time():
    """8 MB in 64-byte pieces: minutes, if each piece were added to one growing text."""
    framer = EventFramer()
    started = time.monotonic()
    framer.feed(b"data: ")
    for _ in range(131_072):
        framer.feed(b"x" * 64)
    [(_, data, _)] = framer.feed(b"\n\n")
    assert len(data) == 8 * 1024 * 1024
    assert time.monotonic() - started < 20


def test_an_event_without_an_end_is_refused(monkeypatch):
    """Memory stays bounded, whether the event would have ended or not."""
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    framer = EventFramer()
    assert framer.feed(b"data: " + b"x" * 900) == []
    with pytest.raises(ProtocolError, match="longer than 1000 bytes"):
        framer.feed(b"x" * 100)
    with pytest.raises(ProtocolError, match="longer than 1000 bytes"):
        EventFramer().feed(b"data: " + b"x" * 1000 + b"\n\n")
    many = b"data: " + b"x" * 900 + b"\n\n"
    assert len(EventFramer().feed(many * 3)) == 3


def test_an_event_of_many_lines_is_refused_unless_they_are_comments():
    """sseclient-py takes quadratic time for them."""
    with pytest.raises(ProtocolError, match="lines"):
        framed(b"data: x\n" * 100_000 + b"\n")
    assert framed(b":\n" * 100_000 + b"data: x\n\n") == [(None, "x", "message")]
    assert framed(b"data: x\n" * 60 + b"\n") == [(None, "\n".join(["x"] * 60), "message")]


def test_an_event_may_be_exactly_as_long_as_is_allowed(monkeypatch):
    """One byte more is too long, in one chunk or in two, with its end or without."""
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 20)
    allowed, too_long = b"data: " + b"x" * 14, b"data: " + b"x" * 15
    for chunks in ((allowed + b"\n\n",), (allowed, b"\n\n")):
        assert framed(*chunks) == [(None, "x" * 14, "message")]
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
