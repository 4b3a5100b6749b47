"""Structuring to types at its edges: unions of alike members, bare containers, odd scalars."""

from __future__ import annotations

import enum
import re
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import Any, Literal, Union

import attrs
import pytest

from trigger_realtime_sync._decode.superjson import SuperJSONError
from trigger_realtime_sync._decode.typed import structure


@attrs.frozen
class Point:
    x: int


@attrs.frozen
class First:
    kind: Literal["first"]
    size: int


@attrs.frozen
class Second:
    kind: Literal["second"]
    size: int


class Level(enum.IntEnum):
    LOW = 1


class Size(Decimal):
    """A class of a user that is a number."""


@pytest.mark.parametrize(
    ("value", "type_", "made"),
    [
        ([1, "x", None], list, [1, "x", None]),
        ([1, "x", None], tuple, (1, "x", None)),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([{"x": 1}], tuple[Point, ...], (Point(1),)),
        ([{"x": 1}], Sequence[Point], [Point(1)]),
        ([1, 1], frozenset[int], frozenset({1})),
        ([1, 2], deque[int], deque([1, 2])),
        ({"1": {"x": 1}}, dict[int, Point], {1: Point(1)}),
        ({"a": [1]}, dict, {"a": [1]}),
        ({"a": [1]}, Mapping[str, Any], {"a": [1]}),
    ],
)
def test_containers_keep_what_they_hold(value, type_, made):
    """Bare ones hold anything; the others hold instances of their type."""
    structured = structure(value, type_)
    assert structured == made
    assert type(structured) is type(made)


def test_an_optional_value_is_structured_unless_it_is_null():
    """`X | None` is null or an X, never the raw value."""
    assert structure(None, Point | None) is None
    assert structure({"x": 1}, Point | None) == Point(1)
    with pytest.raises(ValueError, match=r"expected one of Point, str, got null"):
        structure(None, Point | str)


def test_a_member_of_a_union_that_does_not_fit_makes_way_for_the_next():
    """Of classes with the same fields, the one whose literal fits."""
    assert structure({"kind": "first", "size": 1}, First | Second) == First("first", 1)
    assert structure({"kind": "second", "size": 1}, First | Second) == Second("second", 1)


def test_a_union_of_a_class_and_a_mapping():
    """The class when the value has a field of it, the mapping when it has none, in any order."""
    # Not one union in two orders: those are equal, and cattrs keeps what it made of the first.
    for union in (Union[Point, Mapping[str, int]], Union[Mapping[str, float], Point]):  # noqa: UP007
        assert structure({"x": 1}, union) == Point(1)
        assert structure({"y": 1}, union) == {"y": 1}


def test_values_that_superjson_made_are_kept_where_their_class_is_asked_for():
    """Other values don't pass for them."""
    error, pattern = SuperJSONError("broke"), re.compile("a")
    assert structure([error], list[SuperJSONError])[0] is error
    assert structure([pattern], list[re.Pattern[str]])[0] is pattern
    assert structure([5], list[object]) == [5]
    with pytest.raises(ValueError, match=r"expected SuperJSONError, got a string"):
        structure("broke", SuperJSONError)
    with pytest.raises(ValueError, match=r"expected Pattern, got a string"):
        structure("a", re.Pattern)


def test_instances_within_containers_are_kept():
    """What is an instance of the class already is not made again."""
    point = Point(1)
    assert structure([point], list[Point])[0] is point


def test_decimals_have_the_digits_that_json_had():
    """A float's shortest digits, not the binary fraction behind them."""
    assert structure(0.1, Decimal) == Decimal("0.1")
    assert structure("0.10", Decimal) == Decimal("0.10")
    assert structure(3, Decimal) == Decimal(3)
    for wrong in (True, [], "1,5"):
        with pytest.raises(ValueError, match=r"decimal number"):
            structure(wrong, Decimal)


def test_a_subclass_of_a_scalar_is_made_of_it():
    """A user's own number class, and an enum of integers."""
    made = structure("1.5", Size)
    assert (made, type(made)) == (Size("1.5"), Size)
    assert structure(1, Level) is Level.LOW
    with pytest.raises(ValueError, match=r"not a value of Level"):
        structure(2, Level)
    with pytest.raises(ValueError, match=r"expected Level, got a bool"):
        structure(True, Level)


def test_dates_and_times():
    """A date of superjson's datetime or of ten characters, and nothing longer."""
    moment = datetime(2026, 11, 23, 6, 15, tzinfo=timezone.utc)
    assert structure(moment, date) == date(2026, 11, 23)
    assert structure("2026-11-23", date) == date(2026, 11, 23)
    assert structure("2026-11-23T06:15:00Z", datetime) == moment
    for wrong in ("2026-11-23T06:15:00Z", "20261123", "2026-13-01"):
        with pytest.raises(ValueError, match=r"a string that is no date"):
            structure(wrong, date)


def test_exactly_as_many_problems_as_are_shown_are_all_of_them():
    """Twenty are shown, without a line that more follow; of more, it says that they do."""
    twenty = [{"x": None} for _ in range(20)]
    with pytest.raises(ValueError) as caught:
        structure(twenty, list[Point])
    lines = str(caught.value).splitlines()
    assert len(lines) == 20
    assert all("null" in line for line in lines)
    with pytest.raises(ValueError) as caught:
        structure([*twenty, {"x": None}], list[Point])
    assert str(caught.value).splitlines()[-1] == "and 1 more"


def test_a_key_that_is_no_number_says_so():
    """The keys of a JSON object are text: those of a number type are read as such."""
    assert structure({"1": 2, "-3": 4}, dict[int, int]) == {1: 2, -3: 4}
    assert structure({"1.5": 2}, dict[float, int]) == {1.5: 2}
    with pytest.raises(ValueError, match=r"a key that is no integer"):
        structure({"1.5": 2}, dict[int, int])
