"""Packets: decoding by content type, structuring to a user's types, and reading lazily."""

from __future__ import annotations

import copy
import dataclasses
import enum
import json
import pickle
import subprocess
import sys
import threading
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, Literal, Optional, Union
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync._decode.packets import Packet, PacketValue, decode, media_type
from trigger_realtime_sync._decode.typed import structure
from trigger_realtime_sync._wire.json import loads
from trigger_realtime_sync.errors import ApiConnectionError, PayloadError

WHEN = datetime(2026, 11, 23, 6, 15, 9, 979000, timezone.utc)
DEEP = "[" * 200_000 + "]" * 200_000


class Color(str, enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


@attrs.frozen
class Circle:
    kind: Literal["circle"]
    radius: float


@attrs.frozen
class Square:
    kind: Literal["square"]
    side: float
    color: Color = Color.RED


@attrs.define
class Node:
    name: str
    children: list[Node] = attrs.Factory(list)


@attrs.define
class Pair:
    left: Optional[Pair] = None  # noqa: UP045 (both spellings are users')
    right: Pair | None = None


@attrs.define
class Everything:
    text: str
    number: int
    fraction: float
    flag: bool
    when: datetime
    day: date
    raw: bytes
    price: Decimal
    key: UUID
    color: Color
    size: Literal["s", "m"]
    tags: set[str]
    shape: Union[Circle, Square]  # noqa: UP007
    either: int | str
    maybe: str | None
    any_: Any
    points: dict[str, Point]
    pair: tuple[int, str]
    many: tuple[int, ...]


EVERYTHING = {
    "text": "a",
    "number": 1,
    "fraction": 2,
    "flag": True,
    "when": "2026-11-23T06:15:09.979Z",
    "day": "2026-11-23",
    "raw": b"x",
    "price": "1.10",
    "key": "12345678-1234-5678-1234-567812345678",
    "color": "red",
    "size": "m",
    "tags": ["a", "b", "a"],
    "shape": {"kind": "square", "side": 1},
    "either": "5",
    "maybe": None,
    "any_": {"x": [1]},
    "points": {"p": {"x": 1}},
    "pair": [1, "x"],
    "many": [1, 2],
    "unknownKey": 1,
}


def test_every_kind_of_field_is_structured():
    """attrs classes, dataclasses, times, enums, unions and containers are made of JSON values."""
    made = structure(EVERYTHING, Everything)
    assert made == Everything(
        text="a",
        number=1,
        fraction=2.0,
        flag=True,
        when=WHEN,
        day=date(2026, 11, 23),
        raw=b"x",
        price=Decimal("1.10"),
        key=UUID("12345678-1234-5678-1234-567812345678"),
        color=Color.RED,
        size="m",
        tags={"a", "b"},
        shape=Square("square", 1.0),
        either="5",
        maybe=None,
        any_={"x": [1]},
        points={"p": Point(1)},
        pair=(1, "x"),
        many=(1, 2),
    )
    assert type(made.fraction) is float
    assert type(made.color) is Color


def test_what_superjson_made_already_is_kept():
    """A datetime, bytes, a set or a UUID passes; so does a finished instance."""
    made = structure({**EVERYTHING, "when": WHEN, "day": WHEN, "tags": {"a"}}, Everything)
    assert (made.when, made.day, made.tags) == (WHEN, WHEN.date(), {"a"})
    assert structure(made, Everything) is made
    assert structure([made], list[Everything])[0] is made


@pytest.mark.parametrize("type_", [None, Any])
def test_without_a_type_the_value_is_itself(type_):
    """None and Any leave a value alone."""
    value = {"a": [1]}
    assert structure(value, type_) is value


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (5, str), ("5", int), (True, int), (1, bool), (1.5, int), ("1.5", float), (True, float),
        (10**400, float), (5, bytes), ("text", bytes), (5, datetime), ("soon", datetime),
        (5, date), ("soon", date), ("x", Decimal), (True, Decimal), ("x", UUID), (5, UUID),
        ("blue", Color), (["red"], Color), ("xl", Literal["s", "m"]), (True, Literal[1]),
        ("abc", list[str]), ({"a": 1}, list[str]), ("abc", set[str]), ([[1]], set[Any]),
        ("ab", tuple[str, str]), ([1], tuple[int, int]), ([1, "x"], tuple[int, ...]),
        ([["a", 1]], dict[str, int]), ({"a": "1"}, dict[str, int]), ([], dict), ({}, list),
        (None, str), ([], Point), ("x", Point), ({"y": 1}, Point), (1.5, int | str),
        ({"kind": "oval"}, Circle | Square), ({}, lambda: 0), (5, "no type at all"),
        ({"a": 1}, Exception),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(value, type_):
    """Nothing is silently turned into something else, at the top or inside."""
    for wrapped, of in ((value, type_), ([value], list[type_])):
        with pytest.raises(ValueError) as caught:
            structure(wrapped, of)
        assert str(caught.value)


def test_the_message_says_where_and_not_what():
    """One line per problem with its path; never the value, which may be private."""
    value = {"kind": "circle", "radius": "s3cret"}
    with pytest.raises(ValueError) as caught:
        structure({"a": [value, {"radius": 1}]}, dict[str, list[Circle]])
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "radius" in lines[0]
    assert "[0]" in lines[0]
    assert "required field missing" in lines[1]
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^expected a string, got an integer @ \$$"):
        structure(5, str)


def test_many_problems_are_cut_short():
    """A list of a million wrong elements does not give a million lines."""
    with pytest.raises(ValueError) as caught:
        structure(["x"] * 1_000_000, list[int])
    assert len(str(caught.value).splitlines()) <= 21


def test_a_value_that_refers_to_itself_is_refused():
    """Following every way through a cycle would take for ever."""
    cyclic: dict[str, Any] = {}
    cyclic["left"] = cyclic["right"] = cyclic
    with pytest.raises(ValueError, match="refers to itself"):
        structure(cyclic, Pair)


def test_deep_values_do_not_exhaust_the_stack():
    """A value nested deeper than the stack is a ValueError."""
    value: Any = {"name": "leaf"}
    pair: Any = {}
    for _ in range(20_000):
        value = {"name": "x", "children": [value]}
        pair = {"left": pair, "right": {}}
    with pytest.raises(ValueError):
        structure(value, Node)
    with pytest.raises(ValueError):
        structure(pair, Pair)


def test_recursive_classes():
    """A class may hold itself."""
    made = structure({"name": "a", "children": [{"name": "b"}]}, Node)
    assert made == Node("a", [Node("b")])
    assert structure({"left": {"right": {}}}, Pair) == Pair(Pair(None, Pair()))


def test_cattrs_is_imported_when_a_type_is_first_used():
    """Importing the package stays cheap for those who use no types."""
    code = (
        "import sys; from trigger_realtime_sync._decode import packets as p\n"
        "p.PacketValue('r', 'output', '[1]', 'application/json').read()\n"
        "assert 'cattrs' not in sys.modules\n"
        "p.PacketValue('r', 'output', '[1]', 'application/json', list[int]).read()\n"
        "assert 'cattrs' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("data", "content_type", "value"),
    [
        (None, "application/json", None),
        ("", "text/plain", None),
        ("", "application/store", None),
        ('{"a": [1]}', "application/json", {"a": [1]}),
        ("[Infinity]", "Application/JSON; charset=utf-8", [float("inf")]),
        ('{"json":["1"],"meta":{"values":{"0":["bigint"]}}}', "application/super+json", [1]),
        ("{", "text/plain", "{"),
        ("{", "application/octet-stream", "{"),
        ("{", "", "{"),
    ],
)
def test_a_packet_is_decoded_by_its_type(data, content_type, value):
    """JSON and superjson are parsed, anything else is text, and nothing is None."""
    assert decode(data, media_type(content_type)) == value


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        ("{", "application/json"),
        (DEEP, "application/json"),
        (DEEP, "application/super+json"),
        ("[]", "application/super+json"),
        ("path", "application/store"),
        ("9" * 10_000, "application/json"),
    ],
)
def test_a_broken_packet_is_a_value_error(data, content_type):
    """Whatever is wrong with a packet, it is a ValueError."""
    with pytest.raises(ValueError):
        decode(data, media_type(content_type))


def test_bytes_that_are_no_utf_8():
    """JSON in bytes is UTF-8, and an error holds none of it."""
    assert loads(b'"\xc3\xa9"') == "é"
    with pytest.raises(ValueError) as caught:
        loads(b'"\xff"')
    assert not hasattr(caught.value, "object")


def value_of(data: str | None, content_type: str = "application/json", **more: Any) -> PacketValue:
    return PacketValue("run_1", "output", data, content_type, **more)


def test_a_value_is_decoded_once():
    """The second read returns the object of the first."""
    value = value_of('{"a": 1}')
    assert value.read() is value.read()


def test_a_value_of_a_type_is_structured_but_none_is_not():
    """No value stays None, whatever type is asked for."""
    assert value_of('{"x": 1}', type_=Point).read() == Point(1)
    assert value_of(None, type_=Point).read() is None
    assert value_of("null", type_=Point).read() is None


@pytest.mark.parametrize(("data", "type_"), [("{s3cret", None), ('{"x": "s3cret"}', Point)])
def test_a_failure_says_which_run_and_field(data, type_):
    """PayloadError has the packet as attributes, and its message does not show it."""
    with pytest.raises(PayloadError, match="output of run run_1: ") as caught:
        value_of(data, type_=type_).read()
    error = caught.value
    assert (error.run_id, error.field, error.raw) == ("run_1", "output", data)
    assert error.content_type == "application/json"
    assert "s3cret" not in str(error)


def test_a_stored_packet_is_fetched_and_decoded_by_its_own_type():
    """The fetch gets run, field and path, and is made once."""
    calls: list[Any] = []

    def fetch(*args: str) -> Packet:
        calls.append(args)
        return Packet('{"x": 2}', "application/json")

    value = value_of("s3://a/b", "application/store", type_=Point, fetch=fetch)
    assert not calls
    assert value.read() is value.read()
    assert value.read() == Point(2)
    assert calls == [("run_1", "output", "s3://a/b")]


def test_a_failed_fetch_is_tried_again_at_the_next_read():
    """Failures are not kept, and have their cause; a foreign one's text is not shown."""
    answers: list[Any] = [
        ApiConnectionError("no route"),
        OSError("https://bucket/?X-Amz-Signature=1"),
        Packet("s3://other", "application/store"),
        Packet("{", "application/json"),
        Packet("1", "application/json"),
    ]

    def fetch(*_: str) -> Packet:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    value = value_of("s3://a", "application/store", fetch=fetch)
    with pytest.raises(PayloadError, match="could not be fetched: no route") as caught:
        value.read()
    assert isinstance(caught.value.__cause__, ApiConnectionError)
    assert caught.value.raw == "s3://a"
    with pytest.raises(PayloadError, match=r"could not be fetched: OSError$"):
        value.read()
    with pytest.raises(PayloadError, match="stored elsewhere"):
        value.read()
    with pytest.raises(PayloadError) as caught:
        value.read()
    assert (caught.value.raw, caught.value.content_type) == ("{", "application/json")
    assert value.read() == 1


def test_a_stored_packet_without_a_client_says_so():
    """As after pickling: the fetch is gone."""
    value = value_of("s3://a", "application/store", fetch=lambda *_: Packet("1", "text/plain"))
    with pytest.raises(PayloadError, match="no client to fetch it"):
        pickle.loads(pickle.dumps(value)).read()


def test_threads_that_read_at_once_get_one_object():
    """Both threads are inside the fetch before either value is kept."""
    both = threading.Barrier(2)

    def fetch(*_: str) -> Packet:
        both.wait(10)
        return Packet("[1]", "application/json")

    value = value_of("s3://a", "application/store", fetch=fetch)
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(value.read())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert got[0] is got[1]


def test_equality_is_of_text_and_types():
    """Two values are equal when their packets and types are: rows are compared so."""
    assert value_of("[1]") == value_of("[1]")
    assert hash(value_of("[1]")) == hash(value_of("[1]"))
    assert value_of("[1]") != value_of("[ 1]")
    assert value_of("[1]") != value_of("[1]", "text/plain")
    assert value_of("[1]") != value_of("[1]", type_=list)
    assert value_of("[1]") != "[1]"


def test_a_pickle_of_a_stored_packet_holds_the_value_that_was_read():
    """Nobody can fetch it in another process."""
    value = value_of(
        "s3://a", "application/store", fetch=lambda *_: Packet("[1]", "application/json")
    )
    with pytest.raises(PayloadError):
        pickle.loads(pickle.dumps(value)).read()
    value.read()
    pickled = pickle.loads(pickle.dumps(value))
    assert pickled.read() == [1]
    assert pickle.loads(pickle.dumps(pickled)).read() == [1]


def test_copies_hold_no_decoded_value():
    """A copy decodes for itself; only a copy keeps the fetch."""

    def fetch(*_: str) -> Packet:
        return Packet("[1]", "application/json")

    value = value_of("s3://a", "application/store", fetch=fetch)
    first = value.read()
    for copied in (copy.copy(value), copy.deepcopy(value)):
        assert copied == value
        assert copied.read() == first
        assert copied.read() is not first
    pickled = pickle.loads(pickle.dumps(value))
    assert pickled == value
    assert pickled.fetch is None
    assert "s3://a" not in repr(value)
    assert not hasattr(value, "__dict__")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda v: (
        st.lists(v, max_size=4)
        | st.dictionaries(st.sampled_from(["json", "meta", "values", "x", "kind", "a"]), v)
    ),
    max_leaves=10,
)
types_ = st.sampled_from(
    [None, Point, Everything, Node, list[Point], dict[str, int], set[Any], Circle | Square, object]
)


@given(
    json_values.map(json.dumps) | st.text(),
    st.sampled_from(["application/json", "application/super+json", "text/plain", "", "x/y"]),
    types_,
)
def test_any_packet_is_a_value_or_a_payload_error(data, kind, type_):
    """Nothing but PayloadError ever comes out of a read."""
    try:
        value_of(data, kind, type_=type_).read()
    except PayloadError:
        pass


def test_hashes_tell_packets_apart():
    """By text and content type: a set of many values is no list in disguise."""
    hashes = {hash(value_of(str(n), kind)) for n in range(10) for kind in ("text/plain", "a/b")}
    assert len(hashes) == 20


def test_a_failure_shows_what_came_from_the_store():
    """The packet that was fetched, not the path that led to it."""
    stored = Packet("{", "application/json; charset=utf-8")
    value = value_of("path", "application/store", fetch=lambda *_: stored)
    with pytest.raises(PayloadError) as caught:
        value.read()
    error = caught.value
    assert (error.run_id, error.field) == ("run_1", "output")
    assert (error.raw, error.content_type) == stored


def test_a_stored_packet_that_is_stored_again_is_refused():
    """One fetch, not a chain of them."""
    again = Packet("elsewhere", "application/store")
    value = value_of("path", "application/store", fetch=lambda *_: again)
    with pytest.raises(PayloadError, match=r"must be fetched"):
        value.read()


def test_an_empty_path_is_no_value():
    """Nothing is fetched for it."""
    assert value_of("", "application/store").read() is None
    assert value_of(None, "application/store").read() is None


def test_media_types_are_compared_in_lower_case_without_parameters():
    """As HTTP has them."""
    assert media_type("Application/JSON; charset=utf-8") == "application/json"
    assert media_type(" text/plain ;a=b;c=d") == "text/plain"
