"""Payloads that are pydantic's: what a task gets of them, and that the model reads it back."""

from __future__ import annotations

import dataclasses
import enum
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import attrs
import pydantic
import pydantic.dataclasses
import pytest

from trigger_realtime_sync._decode import packets
from trigger_realtime_sync._decode.typed import structure
from trigger_realtime_sync._encode.payload import encode_payload

WHEN = datetime(2026, 11, 25, 12, 0, 0, 123000, timezone.utc)


class Color(enum.Enum):
    RED = "red"


class Inner(pydantic.BaseModel):
    video_url: str = pydantic.Field(alias="videoUrl")


class Outer(pydantic.BaseModel):
    one: Inner = pydantic.Field(alias="theOne")
    many: list[Inner] = []
    by_name: dict[str, Inner] = {}


@pydantic.dataclasses.dataclass
class Clip:
    frame_count: int = pydantic.Field(alias="frameCount")


@attrs.frozen
class Holder:
    model: Inner


@dataclasses.dataclass
class DataHolder:
    clip: Clip


class Everything(pydantic.BaseModel):
    when: datetime
    day: date
    key: UUID
    price: Decimal
    color: Color
    kinds: set[str]
    raw: bytes
    big: int
    size: Literal["s", "m"]
    took: timedelta
    link: pydantic.HttpUrl
    path: Path
    address: IPv4Address
    pair: tuple[int, timedelta]
    waits: list[timedelta]
    by_day: dict[date, timedelta]
    ways: frozenset[Path]
    maybe: int | None = None


EVERYTHING = Everything(
    when=WHEN,
    day=date(2026, 1, 2),
    key=UUID(int=5),
    price=Decimal("1.50"),
    color=Color.RED,
    kinds={"a"},
    raw=b"\xff",
    big=2**70,
    size="s",
    took=timedelta(seconds=4),
    link="https://example.com/a",
    path="/a/b",
    address="127.0.0.1",
    pair=(1, timedelta(1)),
    waits=[timedelta(2)],
    by_day={date(2026, 1, 2): timedelta(3)},
    ways={"/a"},
)


def sent(value: Any) -> Any:
    """Return what a task gets for a payload."""
    payload = encode_payload(value)
    return packets.decode(payload.data, payload.content_type)


INNER = Inner(videoUrl="v")


@pytest.mark.parametrize(
    ("value", "gets"),
    [
        (INNER, {"videoUrl": "v"}),
        (
            Outer(theOne=INNER, many=[INNER], by_name={"a": INNER}),
            {
                "theOne": {"videoUrl": "v"},
                "many": [{"videoUrl": "v"}],
                "by_name": {"a": {"videoUrl": "v"}},
            },
        ),
        (Clip(frameCount=5), {"frameCount": 5}),
        ([INNER, {"a": Clip(frameCount=5)}], [{"videoUrl": "v"}, {"a": {"frameCount": 5}}]),
        (Holder(INNER), {"model": {"videoUrl": "v"}}),
        (DataHolder(Clip(frameCount=5)), {"clip": {"frameCount": 5}}),
        (pydantic.RootModel[list[int]]([1, 2]), [1, 2]),
        ([pydantic.HttpUrl("https://example.com/a")], ["https://example.com/a"]),
    ],
)
def test_models_are_sent_by_their_aliases(value, gets):
    """At any depth, also within other kinds of classes; and the class reads what it wrote."""
    assert sent(value) == gets
    if not isinstance(value, list):
        assert structure(gets, type(value)) == value


def test_a_model_that_says_how_it_is_dumped_is_left_to_that():
    """Names, where it names them itself."""

    class ByName(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(serialize_by_alias=False, populate_by_name=True)
        video_url: str = pydantic.Field(alias="videoUrl")

    model = ByName(video_url="v")
    assert sent(model) == {"video_url": "v"}
    assert structure(sent(model), ByName) == model


def test_computed_and_hidden_fields_are_as_in_any_dump():
    """What is computed is sent, what is excluded is not."""

    class Order(pydantic.BaseModel):
        prices: list[int]
        secret: str = pydantic.Field(default="x", exclude=True)

        @pydantic.computed_field
        @property
        def total(self) -> int:
            return sum(self.prices)

    assert sent(Order(prices=[1, 2])) == {"prices": [1, 2], "total": 3}
    assert structure(sent(Order(prices=[1, 2])), Order) == Order(prices=[1, 2])


def test_every_kind_of_field_arrives_and_is_read_back():
    """With its own type where payloads have one, else as the JSON of the model has it."""
    got = sent(EVERYTHING)
    assert got == {
        "when": WHEN,
        "day": "2026-01-02",
        "key": "00000000-0000-0000-0000-000000000005",
        "price": "1.50",
        "color": "red",
        "kinds": {"a"},
        "raw": b"\xff",
        "big": 2**70,
        "size": "s",
        "took": "PT4S",
        "link": "https://example.com/a",
        "path": "/a/b",
        "address": "127.0.0.1",
        "pair": [1, "P1D"],
        "waits": ["P2D"],
        "by_day": {"2026-01-02": "P3D"},
        "ways": ["/a"],
        "maybe": None,
    }
    assert structure(got, Everything) == EVERYTHING


def test_what_a_model_makes_of_its_json_is_sent_where_a_payload_has_nothing_else():
    """A timedelta as a number, and a secret that is shown on purpose."""

    class Wait(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(ser_json_timedelta="float")
        took: timedelta
        key: pydantic.SecretStr

        @pydantic.field_serializer("key", when_used="json")
        def shown(self, key: pydantic.SecretStr) -> str:
            return key.get_secret_value()

    assert sent(Wait(took=timedelta(seconds=1.5), key="k")) == {"took": 1.5, "key": "k"}


class Key(pydantic.BaseModel):
    key: pydantic.SecretStr


class Moment(pydantic.BaseModel):
    at: datetime


class Foreign(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    held: Any


class Cyclic(pydantic.BaseModel):
    inner: Any = None


CYCLIC = Cyclic()
CYCLIC.inner = CYCLIC


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([Key(key="s3cret")], TypeError, r'payload\[0\]\["key"\] is a SecretStr'),
        (Moment(at=datetime(2026, 1, 1)), ValueError, r'payload\["at"\] is a naive datetime'),
        (Foreign(held=object()), TypeError, r'payload\["held"\] is a object'),
        ({"a": CYCLIC}, ValueError, r'payload\["a"\].* contains itself'),
    ],
)
def test_what_no_payload_can_hold_is_named(value, error, message):
    """By its path: asterisks are not sent in a secret's place."""
    with pytest.raises(error, match=message) as caught:
        encode_payload(value)
    assert "s3cret" not in str(caught.value)


def test_attrs_classes_within_models_are_sent():
    """What pydantic leaves alone is encoded as ever."""
    assert sent(Foreign(held=Holder(INNER))) == {"held": {"model": {"videoUrl": "v"}}}


def test_a_named_tuple_is_an_object_where_the_task_has_a_model():
    """As for other classes."""

    class Pair(NamedTuple):
        a: int

    class Model(pydantic.BaseModel):
        a: int

    assert encode_payload(Pair(1), Model).data == '{"json":{"a":1}}'
