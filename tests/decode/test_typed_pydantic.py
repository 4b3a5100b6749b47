"""Structuring to pydantic's types: by pydantic's own rules, with the errors of all other types."""

from __future__ import annotations

import subprocess
import sys
import traceback
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Any, Generic, Literal, TypeVar, Union
from uuid import UUID

import attrs
import pydantic
import pydantic.dataclasses
import pytest

from trigger_realtime_sync._decode.packets import PacketValue
from trigger_realtime_sync._decode.typed import structure
from trigger_realtime_sync.errors import PayloadError

WHEN = datetime(2026, 11, 25, 12, 0, 0, 123000, timezone.utc)
KEY = "12345678-1234-5678-1234-567812345678"
T = TypeVar("T")


class Point(pydantic.BaseModel):
    x: int
    label: str = pydantic.Field(default="", alias="theLabel")


class Line(pydantic.BaseModel):
    points: list[Point]
    size: Annotated[int, pydantic.Field(gt=0)] = 1


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    legs: int


class Box(pydantic.BaseModel, Generic[T]):
    inside: T


class Exact(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    number: int = 1
    key: UUID | None = None
    when: datetime | None = None
    pair: tuple[int, int] | None = None
    text: str = ""


@pydantic.dataclasses.dataclass
class Clip:
    frame_count: int = pydantic.Field(alias="frameCount")


@attrs.frozen
class AttrsHolder:
    point: Point


@dataclass
class DataHolder:
    points: dict[str, Point | None]


@attrs.frozen
class Other:
    z: int


class Node(pydantic.BaseModel):
    children: list[Node] = []


@pytest.mark.parametrize(
    ("value", "type_", "made"),
    [
        ({"x": 1, "theLabel": "a", "more": 1}, Point, Point(x=1, theLabel="a")),
        ({"x": "1"}, Point, Point(x=1)),
        ([{"x": 1}], list[Point], [Point(x=1)]),
        ({"a": {"x": 1}}, dict[str, Point], {"a": Point(x=1)}),
        (None, Point | None, None),
        ({"x": 1}, Point | None, Point(x=1)),
        ({"kind": "dog", "legs": 4}, Cat | Dog, Dog(kind="dog", legs=4)),
        (
            {"kind": "dog", "legs": 4},
            Annotated[Union[Cat, Dog], pydantic.Field(discriminator="kind")],  # noqa: UP007
            Dog(kind="dog", legs=4),
        ),
        ({"theLabel": "a", "x": 1}, Other | Point, Point(x=1, theLabel="a")),
        ({"z": 1}, Point | Other, Other(1)),
        ("text", Point | str, "text"),
        ({"inside": {"x": 1}}, Box[Point], Box[Point](inside=Point(x=1))),
        ([1, 2], pydantic.RootModel[list[int]], pydantic.RootModel[list[int]]([1, 2])),
        ({"frameCount": 2}, Clip, Clip(frameCount=2)),
        ({"point": {"x": 1}}, AttrsHolder, AttrsHolder(Point(x=1))),
        (
            {"points": {"a": {"x": 1}, "b": None}},
            DataHolder,
            DataHolder({"a": Point(x=1), "b": None}),
        ),
        ({"children": [{}]}, Node, Node(children=[Node()])),
    ],
)
def test_models_are_read_by_their_own_rules(value, type_, made):
    """At the top, and within containers and other classes."""
    structured = structure(value, type_)
    assert structured == made
    assert type(structured) is type(made)


def test_a_strict_model_reads_what_json_has_for_its_types():
    """Text for a UUID and a list for a tuple, beside superjson's times; no text for a number."""
    made = structure({"key": KEY, "when": WHEN, "pair": [1, 2]}, Exact)
    assert made == Exact(key=UUID(KEY), when=WHEN, pair=(1, 2))
    assert structure({"when": "2026-11-25T12:00:00.123Z"}, Exact) == Exact(when=WHEN)
    with pytest.raises(ValueError, match=r"valid integer @ \$\.number"):
        structure({"number": "1"}, Exact)
    with pytest.raises(ValueError, match=r"valid string @ \$\.text"):
        structure({"text": WHEN}, Exact)


def test_the_message_says_where_and_not_what():
    """One line for each problem, with its path, also where models are inside of other types."""
    value = {"points": [{"x": "s3cret"}, {}], "size": 0}
    lines = {
        "Input should be a valid integer @ $.points[0].x",
        "Field required @ $.points[1].x",
        "Input should be greater than 0 @ $.size",
    }
    with pytest.raises(ValueError) as caught:
        structure(value, Line)
    assert set(str(caught.value).splitlines()) == lines
    with pytest.raises(ValueError) as caught:
        structure({"a": [value]}, dict[str, list[Line]])
    nested = {line.replace("$", "$['a'][0]") for line in lines}
    assert set(str(caught.value).splitlines()) == nested
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ValueError, match=r"^Input should be a valid dictionary .*Point @ \$$"):
        structure(5, Point)


def test_text_of_validators_is_not_shown():
    """It may quote the value."""

    class Checked(pydantic.BaseModel):
        a: str
        b: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]

        @pydantic.field_validator("a")
        def check(cls, value: str) -> str:  # noqa: N805
            raise ValueError(f"{value} is bad")

    with pytest.raises(ValueError) as caught:
        structure({"a": "s3cret", "b": {"kind": "s3cret"}}, Checked)
    assert str(caught.value).splitlines() == [
        "its validator refused it @ $.a",
        "its tag is none of those expected @ $.b",
    ]


def test_many_problems_are_cut_short():
    """A list of a million wrong elements does not give a million lines."""
    with pytest.raises(ValueError) as caught:
        structure({"points": [{} for _ in range(10_000)]}, Line)
    assert len(str(caught.value).splitlines()) == 21


def test_deep_and_cyclic_values_are_refused():
    """As for any type."""
    deep: Any = {}
    for _ in range(5_000):
        deep = {"children": [deep]}
    with pytest.raises(ValueError):
        structure(deep, Node)
    cyclic: Any = {}
    cyclic["children"] = [cyclic]
    with pytest.raises(ValueError, match="refers to itself"):
        structure(cyclic, Node)


def test_a_misfit_is_a_payload_error():
    """The same as for other types."""
    value = PacketValue("run_1", "output", '{"x": "s3cret"}', "application/json", Point)
    with pytest.raises(PayloadError, match=r"output of run run_1: .* @ \$\.x") as caught:
        value.read()
    assert "s3cret" not in str(caught.value)


def test_pydantic_is_not_imported_by_others_types():
    """It is optional, and slow to import."""
    code = (
        "import sys, dataclasses; from trigger_realtime_sync import Task\n"
        "from trigger_realtime_sync._decode.typed import structure\n"
        "from trigger_realtime_sync._encode.payload import encode_payload\n"
        "Out = dataclasses.make_dataclass('Out', [('n', int)])\n"
        "Task('t', output=list[Out] | None)\n"
        "assert 'cattrs' not in sys.modules\n"
        "assert structure([{'n': 1}], list[Out] | None) == [Out(1)]\n"
        "encode_payload(Out(1))\n"
        "assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
