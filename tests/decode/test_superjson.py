"""superjson against what both versions of the npm package write, and against hostile documents."""

from __future__ import annotations

import copy
import json
import math
import re
import time
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync._decode.superjson import SuperJSONError, decode

VECTORS = Path(__file__).parent / "vectors"
# 2.2.1 does not write causes.
NOT_WRITTEN = {"error_cause", "error_cause_date", "error_cycle"}
WHEN = datetime(2026, 11, 23, 6, 15, 9, 979000, timezone.utc)


def load(name: str) -> list[Any]:
    vectors = json.loads((VECTORS / name).read_text())["vectors"]
    return [pytest.param(name, v, id=f"{name[10:-5]}: {v['name']}") for v in vectors]


def resolve(value: Any, to: list[Any]) -> Any:
    for key in to:
        if isinstance(value, SuperJSONError):
            value = value.cause
        elif isinstance(value, dict) and isinstance(key, int):
            value = list(value.items())[key]
        else:
            value = value[key]
    return value


def check(value: Any, expect: Any, root: Any) -> None:
    if not isinstance(expect, dict):
        assert type(value) is type(expect)
        assert value == expect
        return
    CHECKS[expect["$"]](value, expect, root)


def check_ref(value: Any, expect: Any, root: Any) -> None:
    assert value is resolve(root, expect["to"])


def check_int(value: Any, expect: Any, root: Any) -> None:
    assert type(value) is int
    assert str(value) == expect["text"]


def check_float(value: Any, expect: Any, root: Any) -> None:
    assert type(value) is float
    assert repr(value) == repr(float(expect["text"]))


def check_date(value: Any, expect: Any, root: Any) -> None:
    if expect["text"][0] in "+-" or expect["text"].startswith("0000"):
        assert value == expect["text"]
        return
    assert value == WHEN
    assert value.tzinfo is timezone.utc


def check_regexp(value: Any, expect: Any, root: Any) -> None:
    if "lookbehind" in expect["source"] or "(?<=a+)" in expect["source"]:
        assert value == expect["text"]
        return
    assert isinstance(value, re.Pattern)
    flags = [f for c, f in (("i", re.I), ("m", re.M), ("s", re.S)) if c in expect["flags"]]
    assert value.flags & (re.I | re.M | re.S) == sum(flags)
    if "word" in expect["source"]:
        match = value.search("__A/BB[[")
        assert match
        assert match["word"] == "["


def check_bytes(value: Any, expect: Any, root: Any) -> None:
    assert type(value) is bytes
    assert list(value) == expect["list"]


def check_list(value: Any, expect: Any, root: Any) -> None:
    assert type(value) is list
    for item, expected in zip(value, expect["list"], strict=True):
        check(item, expected, root)


def check_set(value: Any, expect: Any, root: Any) -> None:
    assert isinstance(value, (set, list))
    if isinstance(value, list):
        check_list(value, expect, root)
        return
    assert len(value) == len(expect["list"])
    for expected in expect["list"]:
        assert any(matches(item, expected, root) for item in value)


def matches(item: Any, expected: Any, root: Any) -> bool:
    try:
        check(item, expected, root)
    except (AssertionError, KeyError):
        return False
    return True


def check_map(value: Any, expect: Any, root: Any) -> None:
    pairs = list(value.items()) if isinstance(value, dict) else value
    for (key, item), (expected_key, expected) in zip(pairs, expect["list"], strict=True):
        check(key, expected_key, root)
        check(item, expected, root)


def check_object(value: Any, expect: Any, root: Any) -> None:
    assert type(value) is dict
    check_map(value, expect, root)


def check_error(value: Any, expect: Any, root: Any) -> None:
    assert isinstance(value, SuperJSONError)
    assert (value.name, value.message) == (expect["name"], expect["message"])
    if "cause" in expect:
        check(value.cause, expect["cause"], root)


CHECKS = {name[6:]: function for name, function in globals().items() if name.startswith("check_")}


@pytest.mark.parametrize(
    ("file", "vector"), load("superjson-2.2.1.json") + load("superjson-latest.json")
)
def test_what_the_npm_package_writes_is_read_back(file, vector):
    """Every type, in every container, under every odd key, and every kind of cycle."""
    if "2.2.1" in file and vector["name"] in NOT_WRITTEN:
        vector["expect"] = json.loads(json.dumps(vector["expect"]))
        strip_causes(vector["expect"])
    value = decode(vector["document"])
    check(value, vector["expect"], value)


def strip_causes(expect: Any) -> None:
    if isinstance(expect, dict):
        expect.pop("cause", None)
        strip_causes(list(expect.values()))
    elif isinstance(expect, list):
        for item in expect:
            strip_causes(item)


@pytest.mark.parametrize("document", [None, [], "x", 1, True])
def test_what_is_no_document_is_refused(document):
    """A document is an object."""
    with pytest.raises(ValueError, match="must be an object"):
        decode(document)


@pytest.mark.parametrize(
    "meta",
    [
        None,
        [],
        "values",
        {"values": None},
        {"values": []},
        {"values": 3},
        {"values": [None]},
        {"values": [[]]},
        {"values": {"a": {}}},
        {"values": {"a": []}},
        {"values": {"a": ["no such type"]}},
        {"values": {"a": [["custom", "other"]]}},
        {"values": {"a": [{"Date": 1}]}},
        {"values": {"nowhere": ["Date"], "l.9": ["Date"], "l.-1": ["Date"], "l.x": ["Date"]}},
        {"values": {"l." + "9" * 5000: ["Date"], "l.²": ["Date"], "a.b.c": ["Date"]}},
        {"values": {"l": ["map"], "a": ["set"]}},
        {"values": {"l": ["Error"], "a": ["map", {"0.1": ["Date"]}]}},
        {"values": {"a": [["typed-array", "Uint8Array"]], "l": [["typed-array"]]}},
        {"referentialEqualities": 5},
        {"referentialEqualities": [5, 6]},
        {"referentialEqualities": [["nowhere", 5, None], {"a": 5, "b": [None]}]},
        {"referentialEqualities": {"l.0": ["a", "nowhere"]}},
        {"v": "1", "values": {"a\\": ["Date"], "\\": ["Date"]}},
        {"v": 1, "values": {"a\\x": ["Date"], "\\": ["Date"], "a\\": ["Date"]}},
    ],
)
def test_annotations_that_fit_nothing_change_nothing(meta):
    """Hostile or unknown annotations leave the JSON value."""
    value = {"a": "x", "l": [1, 2]}
    assert decode({"json": value, "meta": meta}) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bigint", "1_000"), ("bigint", "9" * 10_001), ("bigint", "٣"), ("Date", "yesterday"),
        ("Date", "+275760-09-13T00:00:00.000Z"), ("regexp", "/(/"), ("regexp", "no slashes"),
        ("regexp", "/" + "(" * 9_000 + ")" * 9_000 + "/"), ("regexp", "/a{99999999999}/"),
        ("regexp", "/" + "x" * 50_000 + "/"), ("set", [[1], 2]), ("set", [1, True]),
        ("map", [[[1], 2]]), ("map", [[1, 2, 3]]), ("map", [[1, "a"], [True, "b"]]),
        ("number", "12"), ("Error", "text"), (["typed-array", "Uint8Array"], [256]),
        (["custom", "buffer"], 10**12), ("whatever", {"a": 1}),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_its_type_stays_json(kind, value):
    """Nothing is lost, and nothing raised, where Python can't make the value."""
    assert decode({"json": value, "meta": {"values": [kind]}}) == value


def test_a_missing_json_is_undefined():
    """`json` is absent for undefined."""
    assert decode({}) is None


def test_a_set_of_numbers_made_to_collide_stays_a_list():
    """Numbers that all have one hash would make a set take quadratic time."""
    numbers = [str(k * (2**61 - 1)) for k in range(20_000)]
    annotations = {str(i): ["bigint"] for i in range(len(numbers))}
    started = time.process_time()
    value = decode({"json": numbers, "meta": {"values": ["set", annotations]}})
    assert value == [int(number) for number in numbers]
    assert time.process_time() - started < 5


def nested(depth: int) -> Any:
    value: Any = "2026-11-23T06:15:09.979Z"
    for _ in range(depth):
        value = [value]
    return value


def test_nesting_deeper_than_the_stack():
    """100,000 levels, in the value and in the annotations, are decoded without recursion."""
    depth = 100_000
    path = ".".join("0" * depth)
    value = decode({"json": nested(depth), "meta": {"values": {path: ["Date"]}, "v": 1}})
    tree: Any = ["Date"]
    for _ in range(depth):
        tree = ["class", {"0": tree}]
    other = decode({"json": nested(depth), "meta": {"values": tree}})
    for _ in range(depth):
        value, other = value[0], other[0]
    assert value == other == WHEN


@pytest.mark.parametrize(
    "path", ["a" + ".a" * 100_000, "\\" * 200_000, "\\." * 100_000, "." * 9999]
)
def test_a_path_that_leads_nowhere_is_given_up_in_time(path):
    """Ambiguous paths can't make the search of 2.2.1's keys take more than linear time."""
    tree: dict[str, Any] = {}
    node = tree
    for _ in range(300):
        node["a.a"] = {"x": 1}
        node["a"] = {}
        node = node["a"]
    meta = {"values": {path: ["Date"]}, "referentialEqualities": {path: [path]}}
    started = time.process_time()
    decode({"json": tree, "meta": meta})
    assert time.process_time() - started < 5


def test_cycles_that_cross_are_whole():
    """Two objects that hold each other, each also named by the root, stay the same two objects."""
    document = {
        "json": {
            "left": {"name": "left", "right": {"name": "right", "left": None}},
            "right": {"name": "right", "left": None},
        },
        "meta": {"referentialEqualities": {"left": ["left.right.left"], "right": ["left.right"]}},
    }
    value = decode(document)
    assert value["left"]["right"] is value["right"]
    assert value["right"]["left"] is value["left"]


def test_regexps_that_python_writes_differently():
    """Named groups and odd classes are translated, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pattern = decode({"json": r"/(?<a>[[&&x])[^]\k<a>\[\[/s", "meta": {"values": ["regexp"]}})
    assert pattern.fullmatch("&\n&[[")
    assert pattern.fullmatch("[-[[[")


def test_an_error_is_a_value_with_its_parts():
    """It can be raised, shown and compared by its parts, and pickled."""
    import pickle

    error = SuperJSONError("broke", name="TypeError", cause=[1])
    again = pickle.loads(pickle.dumps(error))
    assert (again.name, again.message, again.cause) == ("TypeError", "broke", [1])
    assert str(error) == "broke"
    assert repr(error) == "SuperJSONError('broke', name='TypeError')"


keys = st.sampled_from(["a", "b", "a.b", "a\\", "0", "1", "", "."])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
leaves |= st.sampled_from(["2026-11-23T06:15:09.979Z", "-0", "/a[/i", "12"])
values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=4), max_leaves=12
)
paths = st.lists(keys, max_size=4).map(".".join) | st.text("a.\\01", max_size=6)
kinds = st.sampled_from(
    ["undefined", "bigint", "Date", "regexp", "set", "map", "number", "URL", "Error", "?"]
)
kinds |= st.sampled_from([["typed-array", "Uint8Array"], ["custom", "buffer"], ["class", "x"], []])
trees = st.recursive(
    st.lists(kinds, max_size=1) | leaves,
    lambda t: (
        st.dictionaries(paths, t, max_size=4)
        | st.tuples(kinds, st.dictionaries(paths, t, max_size=4)).map(list)
    ),
    max_leaves=8,
)
groups = st.dictionaries(paths, st.lists(paths | leaves, max_size=3), max_size=3) | leaves
equalities = groups | st.tuples(st.lists(paths, max_size=3), groups).map(list)
metas = st.fixed_dictionaries(
    {}, optional={"values": trees, "referentialEqualities": equalities, "v": st.just(1) | leaves}
)


@given(values, metas | leaves)
def test_any_document_is_decoded(value, meta):
    """Whatever the annotations say: a value, no exception, and no hole left in it."""
    result = decode(copy.deepcopy({"json": value, "meta": meta}))
    seen: set[int] = set()
    todo = [result]
    while todo:
        item = todo.pop()
        assert type(item).__name__ != "Hole"
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            todo += [*item.keys(), *item.values()]
        elif isinstance(item, (list, set)):
            todo += item
        elif isinstance(item, SuperJSONError):
            todo.append(item.cause)


def test_dates_keep_their_instant():
    """A Date with the milliseconds of JavaScript is that instant in UTC."""
    value = decode({"json": ["1969-12-31T23:59:59.999Z"], "meta": {"values": {"0": ["Date"]}}})
    assert value == [datetime(1970, 1, 1, tzinfo=timezone.utc) - timedelta(milliseconds=1)]


def test_numbers_that_json_lacks():
    """A float array's null was NaN or an infinity."""
    value = decode({"json": [None, 1], "meta": {"values": [["typed-array", "Float64Array"]]}})
    assert math.isnan(value[0])
    assert value[1] == 1


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


def test_sets_and_maps_may_be_empty():
    """They are no lists, though nothing in them says so."""
    assert decode({"json": [], "meta": {"values": ["set"]}}) == set()
    assert decode({"json": [], "meta": {"values": ["map"]}}) == {}
