"""Channels of sessions: parts, and control records in their place among them."""

from __future__ import annotations

import json

import pytest

from tests.wire.stream_bodies import batch, event, fed, record
from trigger_realtime_sync._wire.session_stream import SessionCursor
from trigger_realtime_sync._wire.stream_parts import BadPart, Control
from trigger_realtime_sync.errors import StreamRewound


def control(seq_num, name, timestamp=1700000000000, **headers):
    """A control record."""
    pairs = [[key.replace("_", "-"), text] for key, text in headers.items()]
    return {
        "seq_num": seq_num,
        "timestamp": timestamp,
        "headers": [["trigger-control", name], *pairs],
    }


def opened(cursor=None, version="v2"):
    cursor = cursor or SessionCursor()
    assert cursor.open(version)
    return cursor


def restored(cursor):
    return opened(SessionCursor.restore(cursor.last_event_id))


def told(items):
    """The values of parts, and the names of control records that were not told before."""
    shown = []
    for item in items:
        if isinstance(item, Control):
            shown += [] if item.is_past else [item.name]
        else:
            shown.append(item.report if isinstance(item, BadPart) else item.value)
    return shown


def ping(tail):
    return event("ping", {"timestamp": 1, "tail": {"seq_num": tail, "timestamp": 1}})


def test_control_records_stand_among_the_parts():
    """With the rest of their headers, and a place to resume from."""
    cursor = opened()
    end = control(1, "turn-complete", session_in_event_id="0", public_access_token="t")
    items = fed(cursor, batch(record(0, "a"), end, record(2, "b")))
    assert told(items) == ["a", "turn-complete", "b"]
    assert items[1].headers == {"session-in-event-id": "0", "public-access-token": "t"}
    after = opened(SessionCursor.restore(str(items[1].position)))
    assert told(fed(after, batch(record(0, "a"), end, record(2, "b")))) == ["b"]


def test_a_control_record_that_was_told_before_is_marked():
    """A restored cursor reads a batch back, and so learns which turns were over."""
    cursor = opened()
    records = [record(0, "a"), control(1, "turn-complete", session_in_event_id="4")]
    fed(cursor, batch(*records))
    (past,) = fed(restored(cursor), batch(*records))
    assert (past.is_past, past.headers) == (True, {"session-in-event-id": "4"})


def test_a_header_that_is_given_twice_counts_once():
    """The first one, as in the official client; what is no text is skipped."""
    one = control(0, "turn-complete")
    one["headers"] += [["x", "first"], ["x", "second"], ["y"], [1, 2], ["z", None], "w"]
    (item,) = fed(opened(), batch(one))
    assert item.headers == {"x": "first"}


@pytest.mark.parametrize("headers", [[["trigger-control", ""]], [["trigger-control"]]], ids=str)
def test_a_control_record_without_a_name_is_nothing(headers):
    """It takes a number all the same."""
    items = fed(opened(), batch({"seq_num": 0, "headers": headers}, record(1, "a")))
    assert told(items) == ["a"]


def test_control_records_of_older_agents_are_data():
    """Their fields become headers: no part is made of them, alone or among others."""
    cursor = opened()
    fed(cursor, batch(record(0, "a")))
    old = {"type": "trigger:turn-complete", "publicAccessToken": "t", "n": 1, "none": None}
    items = fed(cursor, batch(record(1, "b"), record(2, old), record(3, {"type": "text"})))
    assert told(items) == ["b", "turn-complete", {"type": "text"}]
    assert items[1].headers == {"public-access-token": "t", "n": "1"}
    assert items[1].seq_num == 2
    retried = fed(cursor, batch(record(4, old, "id2"), record(5, json.dumps(old))))
    assert told(retried) == [json.dumps(old)]


def test_commands_are_nothing():
    """A trim takes a number."""
    trim = {"seq_num": 1, "headers": [["", "trim"]], "body": "0"}
    assert told(fed(opened(), batch(record(0, "a"), trim, record(2, "b")))) == ["a", "b"]


def test_what_was_trimmed_after_a_turn_is_no_loss():
    """At the beginning, behind an old cursor, and while it is read."""
    cursor = opened()
    assert told(fed(cursor, batch(control(7, "turn-complete"), record(8, "a")))) == [
        "turn-complete",
        "a",
    ]
    assert told(fed(restored(cursor), batch(record(20, "b")))) == ["b"]
    assert told(fed(cursor, batch(record(30, "c")))) == ["c"]


def test_a_lost_stream_is_told_again_but_for_what_was_told():
    """Control records too: the time of their write tells them apart."""
    cursor = opened()
    records = [record(0, "a"), control(1, "turn-complete"), record(2, "b")]
    fed(cursor, batch(*records))
    items = fed(cursor, ping(1))
    assert told(items) == [StreamRewound]
    opened(cursor)
    again = [*records[:2], record(2, "new"), control(3, "turn-complete", 1700000000001)]
    assert told(fed(cursor, batch(*again))) == ["new", "turn-complete"]


def test_a_session_has_one_format():
    """An answer that does not name it is taken for it, and no other one's position is."""
    assert told(fed(opened(version=None), batch(record(0, "a")))) == ["a"]
    for ident in ("v1:1-0,0,0", "1795414755739-0", "nonsense"):
        with pytest.raises(ValueError, match="last_event_id"):
            SessionCursor.restore(ident)
    assert SessionCursor.restore("41").request_headers() == {"Last-Event-ID": "41"}


def test_a_body_that_is_cut_anywhere():
    """Each part and each control record once, in order, wherever the next body begins; in the same
    process, and in another one."""
    old = {"type": "trigger:upgrade-required"}
    records = [
        record(0, "a"),
        control(1, "turn-complete", session_in_event_id="0"),
        record(2, "b"),
        record(3, old),
        record(4, "c"),
        control(5, "turn-complete", session_in_event_id="1"),
    ]

    def body(cursor):
        last = cursor.request_headers().get("Last-Event-ID", "-1")
        left = records[int(last) + 1 :]
        return b"".join(batch(*left[n : n + 2]) for n in range(0, len(left), 2)) + ping(6)

    expected = ["a", "turn-complete", "b", "upgrade-required", "c", "turn-complete"]
    whole = body(SessionCursor())
    for cut in range(len(whole)):
        for another_process in (False, True):
            cursor = opened()
            seen = told(fed(cursor, whole[:cut]))
            cursor.end(clean=False)
            if another_process and cursor.last_event_id is not None:
                cursor = SessionCursor.restore(cursor.last_event_id)
            data = body(cursor)
            seen += told(fed(opened(cursor), data))
            assert seen == expected, cut
            assert cursor.drained
