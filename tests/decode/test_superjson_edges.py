"""superjson at its edges: classes of regexps, paths to the root, and odd documents."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from trigger_realtime_sync._decode.superjson import SuperJSONError, decode


def regexp(literal: str) -> Any:
    return decode({"json": literal, "meta": {"values": ["regexp"]}})


def test_an_empty_class_matches_nothing_and_its_negation_everything():
    """`[]` and `[^]` are whole in JavaScript, and begin a class in Python."""
    assert regexp("/a[]/").search("ab") is None
    assert regexp("/a[^]/").fullmatch("a\n")


def test_a_bracket_within_a_class_is_itself():
    """What follows the class is outside of it again."""
    pattern = regexp(r"/[a[](?<n>b)[]&&]?/")
    assert pattern.groups == 1
    match = regexp(r"/[a[](?<n>b)/").fullmatch("[b")
    assert match["n"] == "b"
    assert regexp(r"/[\]a]b/").fullmatch("]b")


def test_flags_are_those_that_python_has():
    """`i`, `m` and `s` count; the others mean nothing to one match."""
    assert regexp("/a/gimsuy").flags & (re.I | re.M | re.S) == re.I | re.M | re.S
    assert regexp("/a/").flags & (re.I | re.M | re.S) == 0


@pytest.mark.parametrize("literal", ["a", "/a", "", "/(/", "/a{9999999999999}/"])
def test_what_is_no_regexp_stays_text(literal):
    """Without its closing slash, or refused by Python's compiler."""
    assert regexp(literal) == literal


def test_a_cycle_through_the_root():
    """The root has no path of its own: the list of equal paths stands first."""
    document = {"json": {"self": None}, "meta": {"referentialEqualities": [["self"]]}}
    value = decode(document)
    assert value["self"] is value


def test_a_cycle_through_the_root_and_one_within():
    """Both kinds in one document."""
    equalities = [["self"], {"child": ["child.own"]}]
    document = {
        "json": {"self": None, "child": {"own": None}},
        "meta": {"referentialEqualities": equalities},
    }
    value = decode(document)
    assert value["self"] is value
    assert value["child"]["own"] is value["child"]


def test_typed_arrays_have_their_gaps_back():
    """JSON's null was NaN in an array of floats; whole numbers stay a list."""
    values = {"f": [["typed-array", "Float32Array"]], "i": [["typed-array", "Int8Array"]]}
    value = decode({"json": {"f": [1.5, None], "i": [1, 2]}, "meta": {"values": values}})
    assert value["f"][0] == 1.5
    assert math.isnan(value["f"][1])
    assert value["i"] == [1, 2]


def test_bytes_out_of_range_stay_a_list():
    """A Buffer's bytes are 0 to 255."""
    buffer = {"values": [["custom", "buffer"]]}
    assert decode({"json": [0, 255], "meta": buffer}) == b"\x00\xff"
    assert decode({"json": [0, 256], "meta": buffer}) == [0, 256]


def test_a_map_of_doubtful_keys_stays_a_list_of_pairs():
    """1 and true are one key to Python, and a list is none."""
    map_ = {"values": ["map"]}
    assert decode({"json": [["a", 1], ["b", 2]], "meta": map_}) == {"a": 1, "b": 2}
    for pairs in ([[1, "a"], [True, "b"]], [[[], 1]], [["a"]], [["a", 1, 2]]):
        assert decode({"json": pairs, "meta": map_}) == pairs


def test_an_error_without_its_parts():
    """Name and message have JavaScript's defaults."""
    error = decode({"json": {"name": 5}, "meta": {"values": ["Error"]}})
    assert isinstance(error, SuperJSONError)
    assert (error.name, error.message, error.cause, str(error)) == ("Error", "", None, "")


@pytest.mark.parametrize("digits", ["", "-", "1.0", "1e3", "+1", " 1", "٣", "9" * 4301])
def test_what_is_no_bigint_stays_text(digits):
    """ASCII digits, perhaps after a minus, and no more of them than Python takes."""
    assert decode({"json": digits, "meta": {"values": ["bigint"]}}) == digits


def test_the_longest_bigint_is_read():
    """As many digits as Python converts by default, the minus counted."""
    digits = "-" + "9" * 4299
    assert decode({"json": digits, "meta": {"values": ["bigint"]}}) == -(10**4299 - 1)
