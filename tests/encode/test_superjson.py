"""Payloads: what is sent for each kind of value, and what no payload can hold."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections import OrderedDict, deque
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync._decode import packets, superjson
from trigger_realtime_sync._encode.payload import NONE, encode_payload
from trigger_realtime_sync._encode.superjson import encode, encode_plain

WHEN = datetime(2026, 11, 25, 12, 0, 0, 123000, timezone.utc)


class Color(enum.Enum):
    RED = "red"
    BLUE = 2


class Point(NamedTuple):
    x: int
    y: int


@attrs.frozen
class Video:
    name: str
    made: datetime


@dataclasses.dataclass
class Clip:
    video: Video
    length: float


def sent(value: Any) -> Any:
    """Return what a task gets for a payload."""
    payload = encode_payload(value)
    return packets.decode(payload.data, payload.content_type)


@pytest.mark.parametrize(
    ("value", "data", "content_type"),
    [
        ("hello", "hello", "text/plain"),
        ("", '{"json":""}', "application/super+json"),
        (None, '{"json":null}', "application/super+json"),
        (NONE, None, "application/json"),
        (
            {"when": WHEN, "n": 12345678901234567890, "s": {1}, "f": math.nan, "b": b"\1\2\xff"},
            '{"json":{"when":"2026-11-25T12:00:00.123Z","n":"12345678901234567890","s":[1],'
            '"f":"NaN","b":[1,2,255]},"meta":{"values":{"when":["Date"],"n":["bigint"],'
            '"s":["set"],"f":["number"],"b":[["typed-array","Uint8Array"]]}}}',
            "application/super+json",
        ),
    ],
)
def test_a_payload_is_what_the_official_decoder_reads(value, data, content_type):
    """Those of the vectors, which say what the task gets."""
    payload = encode_payload(value)
    assert (payload.data, payload.content_type) == (data, content_type)
    assert payload.size == len((data or "").encode())


def test_the_sizes_are_bytes():
    """Not characters."""
    assert encode_payload("é").size == 2
    assert encode_payload(["é"]).size == len('{"json":["é"]}'.encode())


def test_a_nul_is_escaped():
    """No text column holds one as it is."""
    assert encode_payload("a\0b").data == '{"json":"a\\u0000b"}'


@pytest.mark.parametrize(
    ("value", "gets"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (Point(1, 2), [1, 2]),
        (deque([1]), [1]),
        (range(3), [0, 1, 2]),
        (frozenset({1}), {1}),
        ({1: "a"}.keys(), {1}),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Decimal("1.50"), "1.50"),
        (Color.RED, "red"),
        (Color.BLUE, 2),
        (date(2026, 1, 2), "2026-01-02"),
        (OrderedDict(a=1), {"a": 1}),
        ({1: "a", 2.5: "b", Color.RED: "d"}, {"1": "a", "2.5": "b", "red": "d"}),
        (2**53 - 1, 2**53 - 1),
        (2**53, 2**53),
        (-(2**70), -(2**70)),
        (math.inf, math.inf),
        ([-math.inf], [-math.inf]),
        (True, True),
        (-0.0, -0.0),
        (Video("v", WHEN), {"name": "v", "made": WHEN}),
        (
            Clip(Video("v", WHEN), 1.5),
            {"video": {"name": "v", "made": WHEN}, "length": 1.5},
        ),
    ],
)
def test_values_of_python_arrive(value, gets):
    """Each as the nearest thing that JavaScript has."""
    got = sent(value)
    assert (got, type(got)) == (gets, type(gets))


def test_a_bool_key_is_written_as_json_writes_it():
    """As its own, where no integer equals it."""
    assert sent({True: 1, 7: 2}) == {"true": 1, "7": 2}


def test_a_named_tuple_is_an_object_where_the_task_says_so():
    """Otherwise a list, as any tuple."""
    assert encode_payload(Point(1, 2), dict[str, int]).data == '{"json":{"x":1,"y":2}}'
    assert encode_payload(Point(1, 2), Video).data == '{"json":{"x":1,"y":2}}'
    assert encode_payload(Point(1, 2), Point).data == '{"json":[1,2]}'


def test_a_date_is_utc_in_milliseconds():
    """Whatever zone it was given in."""
    ahead = datetime(2026, 1, 1, 1, 30, 0, 999999, timezone(timedelta(hours=2)))
    assert encode(ahead)["json"] == "2025-12-31T23:30:00.999Z"
    assert encode(datetime(26, 1, 1, tzinfo=timezone.utc))["json"] == "0026-01-01T00:00:00.000Z"


def iterator() -> Any:
    yield 1


def cyclic() -> Any:
    inner: list[Any] = []
    inner.append({"a": inner})
    return {"b": inner}


@pytest.mark.parametrize(
    ("value", "error", "path"),
    [
        ({"a": [0, 1, 2, datetime(2026, 1, 1)]}, ValueError, 'payload["a"][3]'),
        ([time(1, 2)], TypeError, "payload[0]"),
        (timedelta(1), TypeError, "payload is a timedelta"),
        ({"p": Path("x")}, TypeError, 'payload["p"]'),
        ([iterator()], TypeError, "payload[0]"),
        ({"a": {None: 1}}, TypeError, 'payload["a"]'),
        ({(1, 2): 1}, TypeError, "payload has a key"),
        (object(), TypeError, "payload is a object"),
        (cyclic(), ValueError, 'payload["b"][0]["a"]'),
        ({1: "a", "1": "b"}, ValueError, "two keys"),
        (["\ud800"], ValueError, "payload[0]"),
        ({"a": {"\ud800": 1}}, ValueError, 'payload["a"]'),
        ("\ud800", ValueError, "payload holds"),
        ([10**5000], ValueError, "payload[0]"),
        ({"__proto__": {"a": WHEN}}, ValueError, "__proto__"),
        (Video, TypeError, "payload is a type"),
        ([datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))], ValueError, "payload[0]"),
    ],
)
def test_what_no_payload_can_hold_is_named(value, error, path):
    """By its path, before anything is sent."""
    with pytest.raises(error) as caught:
        encode_payload(value)
    assert path in str(caught.value)


def test_a_payload_that_is_too_deep_is_an_error():
    """Not a crash."""
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        encode_payload(value)


def test_an_object_in_two_places_is_no_cycle():
    """It is written twice."""
    shared = {"when": WHEN}
    assert sent([shared, shared, {"a": shared}]) == [shared, shared, {"a": shared}]


keys = st.text("ab.\\0", max_size=4) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=3)
    | st.datetimes(timezones=st.just(timezone.utc)).map(
        lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000)
    )
    | st.frozensets(st.integers(0, 3) | st.just("x"), max_size=2)
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)


@given(values)
def test_every_value_comes_back(value):
    """Keys with dots and backslashes, and types at any depth, included."""
    document = json.loads(json.dumps(encode(value)))
    assert superjson.decode(document) == value


def test_a_memoryview_that_was_released_is_named():
    """By its path, as anything that can't be encoded."""
    view = memoryview(b"abc")
    assert encode({"a": view}) == encode({"a": b"abc"})
    view.release()
    with pytest.raises(ValueError, match=r'payload\["a"\]\[0\] is a memoryview that was released'):
        encode({"a": [view]})


def test_what_is_plain_has_no_types():
    """Times become text; what has no text in JSON is refused, by its path."""
    assert encode_plain({"at": WHEN, "id": UUID(int=1)}, "data") == {
        "at": "2026-11-25T12:00:00.123Z",
        "id": "00000000-0000-0000-0000-000000000001",
    }
    for value in ({"a": [{1}]}, {"a": [2**60]}, {"a": [math.nan]}, {"a": [b""]}):
        with pytest.raises(ValueError, match=r"data \(at a\.0\)"):
            encode_plain(value, "data")
