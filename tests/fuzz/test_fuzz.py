"""Whatever bytes come from the network: only documented errors, in bounded time and memory.

TRIGGER_FUZZ_EXAMPLES=20000 python -m pytest tests/fuzz
"""

from __future__ import annotations

import json
import os
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import HEADERS, PIECE, TARGETS, run_feed
from tests.support.shape import UP_TO_DATE

EXAMPLES = int(os.environ.get("TRIGGER_FUZZ_EXAMPLES", "40"))
BOUNDED = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

# Text that means something to one parser or another.
WORDS = [
    *("key", "value", "headers", "operation", "insert", "update", "delete", "control"),
    *("up-to-date", "must-refetch", "friendlyId", "status", "updatedAt", "runTags", "payload"),
    *("payloadType", "metadata", "error", "records", "seq_num", "body", "tail", "data", "id"),
    *("json", "meta", "values", "referentialEqualities", "v", "map", "set", "Date", "bigint"),
    *("application/json", "application/super+json", "runs", "processing", "completedAt"),
    *("2026-11-23T06:15:09.979", "EXECUTING", "run_1", "{a,b}", "a.b", "a\\.b", "0", "Error"),
]
SCALARS = (
    st.sampled_from(WORDS)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=30,
)


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target):
    """What real servers sent passes, and is what the fuzzers start from."""
    assert seeds(target)
    for seed in seeds(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
@BOUNDED
@given(data=st.data())
def test_damaged_seeds(target, data):
    """Real answers with bytes lost, doubled, changed and put elsewhere."""
    seed = data.draw(st.sampled_from(seeds(target)))
    rng = random.Random(data.draw(st.integers(0, 1 << 32)))
    TARGETS[target](damaged(seed, rng))


def damaged(seed: bytes, rng: random.Random) -> bytes:
    out = bytearray(seed)
    for _ in range(rng.randint(1, 8)):
        start = rng.randrange(len(out) + 1)
        end = min(len(out), start + rng.choice([1, 1, 2, 10, 100]))
        piece = rng.choice(
            [b"", bytes(out[start:end]) * 2, bytes([rng.randrange(256)]), PIECE, b'"', b"[", b"{}"]
        )
        out[start:end] = piece
    return bytes(out)


@pytest.mark.parametrize("target", TARGETS)
@BOUNDED
@given(value=JSON, first=st.binary(max_size=1))
def test_any_json(target, value, first):
    """JSON of any form, made of the words that the parsers look for."""
    TARGETS[target](first + json.dumps(value).encode())


@pytest.mark.parametrize("target", TARGETS)
@BOUNDED
@given(noise=st.binary(max_size=300))
def test_any_bytes(target, noise):
    """Noise."""
    TARGETS[target](noise)


MESSAGES = st.fixed_dictionaries(
    {"headers": st.dictionaries(st.sampled_from(["operation", "control"]), SCALARS, max_size=2)},
    optional={
        "key": st.sampled_from(["a", "b"]) | SCALARS,
        "value": st.dictionaries(st.sampled_from(WORDS), SCALARS | JSON, max_size=8),
    },
)


@pytest.mark.parametrize("single", [True, False])
@BOUNDED
@given(bodies=st.lists(st.lists(MESSAGES, max_size=5), max_size=6))
@example(bodies=[[{"headers": {"operation": "update"}}]])
def test_messages_of_any_kind(single, bodies):
    """Messages that are nearly right, answer after answer, through a whole feed."""
    run_feed(PIECE.join(json.dumps(body).encode() for body in bodies), single=single)


def test_a_partial_row_after_its_deletion():
    """A row that was deleted is unknown: what changes in it is no row, and asks for a snapshot."""
    whole = {"friendlyId": "run_1", "status": "EXECUTING"}
    bodies = [
        [_message("insert", whole), UP_TO_DATE],
        [_message("delete", {}), _message("update", {"status": "PENDING"}), UP_TO_DATE],
        [_message("insert", {**whole, "status": "PENDING"}), UP_TO_DATE],
    ]
    told = run_feed(PIECE.join(json.dumps(body).encode() for body in bodies))
    assert [list(changes.failures) for changes in told] == [[], []]
    assert [run.status for changes in told for run in changes.rows.values()] == [
        "EXECUTING",
        "QUEUED",
    ]


@pytest.mark.parametrize("name", HEADERS)
@BOUNDED
@given(text=st.text(st.characters(codec="latin-1", exclude_characters="\x1e"), max_size=50))
def test_headers_of_any_kind(name, text):
    """Handles, offsets and cursors are opaque: whatever they are, they go back as they came."""
    bodies = [b'[{"headers": {"control": "up-to-date"}}]'] * 2
    told = run_feed(PIECE.join([f"#{name}:{text}".encode("latin-1"), *bodies]))
    assert bool(told) == bool(text or name == "electric-cursor")


def _message(operation: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"key": "k", "value": value, "headers": {"operation": operation}}


def row(**columns: str) -> bytes:
    value = {"friendlyId": "run_1", "status": "EXECUTING", **columns}
    return json.dumps([_message("insert", value), UP_TO_DATE]).encode()


DEEP, LONG = 100_000, 1_000_000
NESTED = "[" * DEEP + "]" * DEEP
HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a body nested deeply": ("run_feed", lambda: NESTED.encode()),
    "a body nested deeply, cut": ("run_feed", lambda: b'[{"a":' * DEEP),
    "a number without end": ("run_feed", lambda: b"[" + b"9" * LONG + b"]"),
    "a number in a column": ("run_feed", lambda: row(number="9" * LONG, usageDurationMs="1")),
    "a fraction in a column": ("run_feed", lambda: row(costInCents="0." + "1" * LONG)),
    "a moment without end": ("run_feed", lambda: row(createdAt="2026-" * (LONG // 5))),
    "tags nested": ("run_feed", lambda: row(runTags="{" * LONG)),
    "tags that are not closed": ("run_feed", lambda: row(runTags='{"' + "a\\" * (LONG // 2))),
    "many tags": ("run_feed", lambda: row(runTags="{" + "a," * (LONG // 2) + "a}")),
    "many quoted tags": ("run_feed", lambda: row(runTags="{" + '"\\"",' * (LONG // 5) + "a}")),
    "metadata nested": ("run_feed", lambda: row(metadata=NESTED, metadataType="application/json")),
    "an error nested": ("run_feed", lambda: row(error='{"a":' * DEEP)),
    "many unknown columns": (
        "run_feed",
        lambda: row(**{f"column{n}": "x" for n in range(LONG // 20)}),
    ),
    "many rows of one key": ("run_feed", lambda: json.dumps(_rows(20_000)).encode()),
    "many answers": ("run_feed", lambda: PIECE.join([b"[]"] * 5_000)),
    "many rotations": (
        "run_feed",
        lambda: PIECE.join([b'[{"headers":{"control":"must-refetch"}}]'] * 5_000),
    ),
    "an event without end": ("stream_v2", lambda: b"data: " + b"x" * LONG),
    "an event in tiny chunks": ("stream_v1", lambda: PIECE.join([b"data: x"] * 50_000)),
    "an event of many lines": ("stream_v1", lambda: b"id: 1-1\n" + b"data: x\n" * 100_000),
    "events of nothing": ("stream_v1", lambda: b"\n" * (LONG // 4)),
    "comments without end": ("stream_v1", lambda: b":\n\n" * (LONG // 3)),
    "parts nested": ("stream_v1", lambda: b"id: 1-1\ndata: " + NESTED.encode() + b"\n\n"),
    "an id without end": ("stream_v1", lambda: b"id: " + b"9" * LONG + b"\ndata: 1\n\n"),
    "carriage returns": ("stream_v1", lambda: b"data: x\r\r" * (LONG // 36)),
    "records that count up to the sky": (
        "stream_v2",
        lambda: (
            b'event: batch\ndata: {"records":[{"seq_num":1e400},{"seq_num":'
            + b"9" * 4000
            + b"}]}\n\n"
        ),
    ),
    "a batch nested": (
        "stream_v2",
        lambda: b"event: batch\ndata: " + b'{"records":' * DEEP + b"\n\n",
    ),
    "bodies that join": ("stream_v2", lambda: _batch(['{"data":1},"', '",{"data":2}'] * 20_000)),
    "superjson nested": (
        "packet",
        lambda: _superjson(
            NESTED, '{"values":' + '[["set"],{"0":' * 20_000 + "1" + "}]" * 20_000 + "}"
        ),
    ),
    "superjson paths without end": (
        "packet",
        lambda: _superjson('{"a":1}', json.dumps({"values": {"a." * 200_000: ["Date"]}})),
    ),
    "superjson references, crossed": (
        "packet",
        lambda: _superjson(
            json.dumps([[None] * 20 for _ in range(500)]),
            json.dumps(
                {
                    "referentialEqualities": {
                        str(n): [f"{m}.{n % 20}" for m in range(0, 500, 5)] for n in range(500)
                    }
                }
            ),
        ),
    ),
    "a bigint without end": (
        "packet",
        lambda: _superjson(f'"{"9" * LONG}"', '{"values":["bigint"]}'),
    ),
    "regexps that compile slowly": (
        "packet",
        lambda: _superjson(
            json.dumps(["/" + "(a?){99}" * 500 + "/i"] * 200),
            json.dumps({"values": {str(n): ["regexp"] for n in range(200)}}),
        ),
    ),
    "a set of one hash": (
        "packet",
        lambda: _superjson(
            json.dumps([n * (2**61 - 1) for n in range(30_000)]), '{"values":["set"]}'
        ),
    ),
    "an error page without end": ("error_answer", lambda: b"\x01" + PIECE + b"<" * LONG),
    "an error nested deeply": ("error_answer", lambda: b"\x01" + PIECE + b'{"error":' * DEEP),
    "a wait without end": ("error_answer", lambda: b"\x1d" + b"9" * LONG + PIECE),
    "a date without end": ("error_answer", lambda: b"\x1dMon, " + b"1 " * (LONG // 10) + PIECE),
    "an id to resume from without end": ("last_event_id", lambda: b"v1:" + b"1-1," * 100_000),
}


def _rows(count: int) -> list[Any]:
    value = {"friendlyId": "run_1", "status": "EXECUTING", "updatedAt": "2026-11-23T06:15:09"}
    return [*([_message("update", value)] * count), UP_TO_DATE]


def _batch(bodies: list[str]) -> bytes:
    records = [{"seq_num": n, "body": body} for n, body in enumerate(bodies)]
    return f"event: batch\ndata: {json.dumps({'records': records})}\n\n".encode()


def _superjson(value: str, meta: str) -> bytes:
    return b"\x01" + f'{{"json": {value}, "meta": {meta}}}'.encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name):
    """Made to be slow or large: a megabyte takes seconds at the most, and not hundreds of them in
    memory. What is quadratic takes minutes."""
    target, make = HOSTILE[name]
    data = make()
    started = time.process_time()
    TARGETS[target](data)
    seconds = time.process_time() - started
    assert seconds < 5


@pytest.mark.skipif(EXAMPLES < 1000, reason="slow: TRIGGER_FUZZ_EXAMPLES=1000 or more runs it")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_memory(name):
    """No input takes more than a fixed multiple of its own size."""
    target, make = HOSTILE[name]
    data = make()
    tracemalloc.start()
    try:
        TARGETS[target](data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000 + 60 * len(data)
