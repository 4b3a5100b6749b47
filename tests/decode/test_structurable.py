"""Types that nothing can be read into are refused where they are given; NamedTuples are read."""

from __future__ import annotations

import enum
import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import attrs
import pydantic
import pydantic.v1
import pytest

from trigger_realtime_sync import RealtimeClient, Task
from trigger_realtime_sync._decode.superjson import SuperJSONError
from trigger_realtime_sync._decode.typed import structure
from trigger_realtime_sync._decode.typed_scalars import SCALARS
from trigger_realtime_sync._types.kinds import SCALAR_TYPES

if TYPE_CHECKING:
    from nowhere import Unknown

T = TypeVar("T")
Name = NewType("Name", str)


class Color(enum.Enum):
    RED = "red"


class Place(NamedTuple):
    name: str
    point: Point | None = None


@dataclass
class Point:
    x: int


@dataclass
class Node:
    children: list[Node]
    parent: Node | None = None


@attrs.frozen
class Wait:
    took: timedelta


@dataclass
class Deep:
    waits: dict[str, list[Wait | None]]


class Options(TypedDict, total=False):
    size: int


class BadOptions(TypedDict):
    pause: timedelta


class BadPlace(NamedTuple):
    pause: timedelta


@attrs.frozen
class Converted:
    took: timedelta = attrs.field(converter=lambda seconds: timedelta(seconds=seconds))


@dataclass
class Made:
    n: int
    took: timedelta = field(init=False, default=timedelta(0))


@dataclass
class Later:
    what: Unknown


@attrs.frozen
class Box(Generic[T]):
    inside: T


class Plain:
    """Any class of a user's."""


class Model(pydantic.BaseModel):
    pause: timedelta


class OldModel(pydantic.v1.BaseModel):
    pass


class Incomplete(pydantic.BaseModel):
    what: Unknown


class Size(Decimal):
    """A number of a user's."""


@pytest.mark.parametrize(
    "type_",
    [
        None, Any, object, type(None), str, int, float, bool, bytes, datetime, date, Decimal, UUID,
        Color, Size, Literal["a"], re.Pattern, re.Pattern[str], SuperJSONError, list, dict, tuple,
        list[Any], dict[str, int], Mapping[str, Point], tuple[int, ...], tuple[int, str],
        frozenset[str], Optional[Point], Union[int, str, None], int | None, Point, Node, Place,  # noqa: UP007, UP045
        list[Place], namedtuple("Old", "a b"), Options, Converted, Made, Later, Box[int], Box, Name,
        list[Name], Annotated[int, "a remark"], OrderedDict[str, int], Model, list[Model],
        dict[str, Model | None], Incomplete, pydantic.HttpUrl, pydantic.RootModel[list[int]],
        Annotated[int, pydantic.Field(gt=0)],
    ],
)  # fmt: skip
def test_what_can_be_read_is_taken(type_):
    """Also what can't be known before all of its module was read."""
    task = Task("t", payload=type_, output=type_)
    assert (task.payload, task.output) == (type_, type_)


@pytest.mark.parametrize(
    ("type_", "told"),
    [
        (timedelta, "no value can be read as timedelta. Types"),
        (Plain, "no value can be read as Plain. Types"),
        (list[timedelta], "as timedelta. "),
        (dict[str, Plain], "as Plain. "),
        (Optional[timedelta], "as timedelta. "),  # noqa: UP045 (both spellings are users')
        (int | list[Plain], "as Plain. "),
        (tuple[int, Plain], "as Plain. "),
        (Wait, "as timedelta, which is the type of Wait.took. "),
        (Deep, "as timedelta, which is the type of Wait.took. "),
        (BadOptions, "as timedelta, which is the type of BadOptions.pause. "),
        (BadPlace, "as timedelta, which is the type of BadPlace.pause. "),
        (Annotated[list[Plain], "a remark"], "as Plain. "),
        (Callable[[], int], "no value can be read as "),
        (Iterator[int], "no value can be read as "),
        (Exception, "no value can be read as Exception. "),
        (OldModel, "no value can be read as OldModel. "),
        (5, "no value can be read as 5. "),
        (lambda: 0, "no value can be read as <function"),
        ("Point", "'Point' is the name of a type: pass the type itself"),
        (list["Point"], "is the name of a type: pass the type itself"),
    ],
)
def test_what_cant_be_read_is_refused(type_, told):
    """At the call, by the argument and the part of the type; wherever types are given."""
    for name, give in (
        ("payload", lambda: Task("t", payload=type_)),
        ("output", lambda: Task("t", output=type_)),
    ):
        with pytest.raises(ValueError, match=re.escape(told)) as caught:
            give()
        assert str(caught.value).startswith(f"{name}: ")


def test_types_of_parts_are_checked_as_well():
    """Before anything is sent: there is no server."""
    with RealtimeClient("tr_x", base_url="http://127.0.0.1:9") as client:
        with pytest.raises(ValueError, match="part_type: no value can be read as timedelta"):
            client.subscribe_to_stream("run_1", part_type=timedelta)
        for subscribe in (
            client.subscribe_to_run_with_streams,
            client.subscribe_to_runs_with_streams,
        ):
            with pytest.raises(ValueError, match="streams: no value can be read as timedelta"):
                subscribe("run_1", streams={"a": str, "b": list[timedelta]})


@pytest.mark.parametrize(
    ("value", "type_", "made"),
    [
        ({"name": "a", "point": {"x": 1}, "more": 1}, Place, Place("a", Point(1))),
        ({"name": "a"}, Place, Place("a")),
        (["a", {"x": 1}], Place, Place("a", Point(1))),
        (["a"], Place, Place("a")),
        ([{"name": "a"}], list[Place], [Place("a")]),
        ({"a": [1], "b": 2}, namedtuple("Old", "a b"), ([1], 2)),
        ({"name": "a"}, Place | None, Place("a")),
    ],
)
def test_a_named_tuple_is_read_of_an_object_or_a_list(value, type_, made):
    """By names or by order; each field is of its type."""
    structured = structure(value, type_)
    assert structured == made
    assert type(structured) in (type(made), type_)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"name": 1}, "expected a string, got an integer @ $.name"),
        ({}, "required field missing @ $.name"),
        ([], "expected an object, or a list of 2, got a list @ $"),
        (["a", None, 1], "expected an object, or a list of 2, got a list @ $"),
        ("ab", "expected an object, or a list of 2, got a string @ $"),
        ({"name": "a", "point": {"x": "s3cret"}}, "expected an integer, got a string @ $.point.x"),
    ],
)
def test_what_is_no_named_tuple_is_refused(value, told):
    """With the path, and without the value."""
    with pytest.raises(ValueError) as caught:
        structure(value, Place)
    assert str(caught.value) == told


def test_all_scalars_are_known_to_both():
    """What is checked is what is read."""
    assert set(SCALARS) == set(SCALAR_TYPES)
