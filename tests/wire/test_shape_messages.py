"""The messages of the shape log, parsed as they arrive (docs/protocol.md, section 2)."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.shape import UP_TO_DATE
from trigger_realtime_sync._wire import message_reader as module
from trigger_realtime_sync._wire.json import stdlib_loads
from trigger_realtime_sync._wire.message_reader import BLOCK_BYTES, MessageReader
from trigger_realtime_sync._wire.shape_log import ShapeLog
from trigger_realtime_sync._wire.shape_messages_fast import Inserts
from trigger_realtime_sync.errors import ProtocolError

HEADERS = {"electric-handle": "h1", "electric-offset": "1_1"}


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def row(key: str, operation: str = "insert", **value: Any) -> dict[str, Any]:
    if operation == "insert":
        value["friendlyId"] = f"run_{key}"
    return {"key": key, "value": value, "headers": {"operation": operation}}


def read(body: bytes, sizes: Iterable[int] = ()) -> Any:
    """The body in chunks of these sizes, and what is left of it in one."""
    reader = MessageReader()
    for size in sizes:
        reader.feed(body[:size])
        body = body[size:]
    reader.feed(body)
    return reader.close()


def many(count: int, **value: Any) -> list[Any]:
    return [row(f"row {n}", **value) for n in range(count)]


@contextmanager
def parsed_sizes() -> Iterator[list[int]]:
    """Yield a list of the lengths of the texts that are parsed meanwhile."""
    sizes: list[int] = []
    with mock.patch.object(
        module, "stdlib_loads", lambda text: sizes.append(len(text)) or stdlib_loads(text)
    ):
        yield sizes


def test_a_snapshot_is_its_rows():
    """Whatever is said between them."""
    snapshot = [row("a"), {"headers": {"control": "snapshot-end"}}, row("b"), UP_TO_DATE]
    rows = {"a": {"friendlyId": "run_a"}, "b": {"friendlyId": "run_b"}}
    assert read(compact(snapshot)) == Inserts(rows, {"control": "up-to-date"})
    assert read(compact(snapshot[:3])) == Inserts(rows)


@pytest.mark.parametrize(
    "messages",
    [
        [UP_TO_DATE],
        [row("a"), row("a"), UP_TO_DATE],
        [row("a"), row("b", "update"), UP_TO_DATE],
        [row("a"), {"headers": {"control": "must-refetch"}}],
        [row("a"), {"key": "b", "value": None, "headers": {"operation": "insert"}}],
        [row("a"), {"key": "b", "value": [], "headers": {"operation": "insert"}}],
        [row("a"), {"key": 1, "value": {}, "headers": {"operation": "insert"}}],
        {"error": "an object"},
        None,
        [],
    ],
)
def test_all_other_bodies_are_their_json(messages):
    """Whether they are messages of a log is not said here."""
    assert read(compact(messages)) == messages


def test_a_large_snapshot_is_parsed_as_it_arrives():
    """What is left to parse at its end is no more than two blocks."""
    big = row("big", payload="p" * 3 * BLOCK_BYTES)
    body = compact([big, *many(2_000, payload="p" * 1_000), UP_TO_DATE])
    reader = MessageReader()
    with parsed_sizes() as parsed:
        for at in range(0, len(body), 10_000):
            reader.feed(body[at : at + 10_000])
        found = reader.close()
    assert list(found.rows) == ["big", *[f"row {n}" for n in range(2_000)]]
    assert found.up_to_date is not None
    assert max(parsed[1:]) < 2 * BLOCK_BYTES
    assert sum(parsed) < 1.01 * len(body)


def test_a_snapshot_takes_little_more_memory_than_its_rows():
    """Neither its text nor what is around the rows is ever there as a whole."""
    count, size = 2_000, 10_000

    def chunks() -> Iterator[bytes]:
        yield b"["
        for n in range(count):
            yield compact(row(f"row {n}", payload=f"{n:05}" * (size // 5))) + b","
        yield compact(UP_TO_DATE) + b"]"

    reader = MessageReader()
    tracemalloc.start()
    try:
        for chunk in chunks():
            reader.feed(chunk)
        found = reader.close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.rows) == count
    assert peak < 1.2 * count * size


@pytest.mark.parametrize("size", [4 * BLOCK_BYTES, 64 * BLOCK_BYTES])
def test_a_body_without_boundaries_is_parsed_three_times_at_most(size):
    """However long it is: what does not parse is tried again when it has doubled."""
    body = compact([row("a", payload=[{"at": 1}, {"key": "b"}] * (size // 20)), UP_TO_DATE])
    with parsed_sizes() as parsed:
        found = read(body, [65536] * (len(body) // 65536))
    assert list(found.rows) == ["a"]
    assert sum(parsed) < 3.1 * len(body)


@pytest.mark.parametrize("end", [b"", b"]]", b"x", b"\xff]"])
def test_a_large_body_that_is_no_json_is_refused(end):
    """Whole: nothing of it is handed out. The message holds none of it."""
    body = compact(many(20_000))
    with pytest.raises(ValueError, match=r"JSON|Expecting|Extra") as caught:
        read(body[:-1] + end, [65536] * 10)
    assert "row" not in str(caught.value)


def test_it_tells_whether_messages_may_have_begun():
    """So that a body that was cut can be told from one of something else."""
    for body, expected in ((b" [", True), (b"", False), (b"<html>", False)):
        reader = MessageReader()
        reader.feed(body)
        assert reader.begins_as_array is expected
    reader = MessageReader()
    reader.feed(compact(many(20_000)))
    assert reader.begins_as_array


def decode(columns: Any, last: Any) -> tuple[Any, ...]:
    if columns.get("status") == "broken":
        raise ProtocolError("it does not decode")
    return tuple(sorted(columns.items(), key=str))


BOUNDARY_AS_TEXT = '},{"key":"'

keys = st.sampled_from("abcd")
inserts = st.builds(
    row,
    keys,
    status=st.sampled_from(["1", "2", "broken", BOUNDARY_AS_TEXT]),
    updatedAt=st.sampled_from(["2026-11-23T06:00:01", "2026-11-23T06:00:02"]),
)
others = st.one_of(
    st.builds(row, keys, st.just("update"), note=st.just("n")),
    st.builds(lambda key: {"key": key, "headers": {"operation": "delete"}}, keys),
    st.builds(
        lambda one, control: {**one, "headers": {**one["headers"], "control": control}},
        inserts,
        st.sampled_from(["must-refetch", "up-to-date", None]),
    ),
    st.sampled_from(["snapshot-end", "must-refetch", "up-to-date"]).map(
        lambda name: {"headers": {"control": name}}
    ),
    st.sampled_from(
        [
            {
                "key": "n",
                "value": {"at": [{}, {"key": 1}, {"key": 2}]},
                "headers": {"operation": "insert"},
            },
            {"key": 1, "value": {}, "headers": {"operation": "insert"}},
            {"key": "a", "value": None, "headers": {"operation": "insert"}},
            {"key": "a", "value": [], "headers": {"operation": "insert"}},
            {"key": "a", "headers": {"operation": "insert"}},
            {"key": "a", "value": {}, "headers": {"operation": "truncate"}},
            {"key": "a", "value": {}, "headers": {"operation": []}},
            {"key": "a", "value": {}, "headers": ["operation"]},
            {"key": "a", "value": {}},
            {"headers": None},
            {},
            "key",
            ["key"],
            1,
        ]
    ),
)
answers = st.builds(
    lambda some, odd, more, end: [*some, *odd, *more, *end],
    st.lists(inserts, max_size=4, unique_by=lambda one: one["key"]),
    st.just([]) | st.lists(others, max_size=1),
    st.just([]) | st.lists(inserts, max_size=2),
    st.sampled_from([[UP_TO_DATE], []]),
)
# As servers send them; with blanks; as one message; cut off; with something in between.
bodies = st.one_of(
    answers.map(compact),
    answers.map(compact),
    answers.map(lambda answer: json.dumps(answer).encode() + b"\n"),
    answers.map(lambda answer: compact({"messages": answer})),
    st.builds(lambda answer, at: compact(answer)[:-at], answers, st.integers(1, 40)),
    st.builds(
        lambda answer, at, junk: compact(answer)[:at] + junk + compact(answer)[at:],
        answers,
        st.integers(0, 400),
        st.sampled_from(
            [b"]", b"[", b"{", b"}", b"\xff", b'"', b'},{"key":', b'[{"a":1},{"key":2}],']
        ),
    ),
)


@settings(max_examples=1_500)
@given(
    st.lists(st.tuples(bodies, st.lists(st.integers(1, 120), max_size=8)), min_size=1, max_size=4),
    st.sampled_from([1, 60, 200]),
)
@example([(b"[]" + compact([row("a"), row("b")]), [])], 1)
def test_what_is_parsed_as_it_arrives_is_what_is_parsed_whole(given_bodies, block):
    """The log does the same with either, whatever the bodies are and however they are cut."""

    def outcome(log: ShapeLog[Any], parse: Any) -> Any:
        try:
            changes = log.receive(HEADERS, parse(), "test")
        except ProtocolError as error:
            return str(error)
        except ValueError:
            return "no JSON"
        if changes is None:
            return "again"
        return list(changes.rows.items()), changes.gone, list(changes.failures)

    def state(log: ShapeLog[Any]) -> Any:
        query = {name: text for name, text in log.query().items() if name != "cache-buster"}
        known = (log._columns, log._rows, log._gone, log._deleted, log._unseen, log._touched)
        return query, list(log._columns), list(log._touched), copy.deepcopy(known)

    arriving, whole = ShapeLog(decode), ShapeLog(decode)
    for body, sizes in given_bodies:
        expected = outcome(whole, lambda body=body: stdlib_loads(body))
        with mock.patch.object(module, "BLOCK_BYTES", block):
            assert outcome(arriving, lambda body=body, sizes=sizes: read(body, sizes)) == expected
        assert state(arriving) == state(whole)
