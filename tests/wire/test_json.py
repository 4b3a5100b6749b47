"""The JSON parser: whichever of the two reads a text, what comes out is the same."""

from __future__ import annotations

import json as stdlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trigger_realtime_sync._wire import json

PADDING = " " * json.MIN_ORJSON_BYTES
ABSENT: Any = object()

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def outcome(text: str | bytes, parse: Any) -> str:
    """Its repr: tells 1 from 1.0 and True, and -0.0 from 0.0, and NaN equals itself."""
    try:
        return repr(parse(text))
    except ValueError:
        return "ValueError"


@pytest.fixture
def orjson_loads() -> Any:
    return pytest.importorskip("orjson").loads


@given(values, st.booleans(), st.booleans())
def test_every_value_is_read_the_same(value, escaped, as_bytes):
    """Big integers, NaN, infinities, lone surrogates and signs of zero included."""
    text = stdlib.dumps(value, ensure_ascii=escaped) + PADDING
    given: str | bytes = text.encode("utf-8", "replace") if as_bytes else text
    assert outcome(given, json.loads) == outcome(given, json.stdlib_loads)


@given(st.text(st.sampled_from('[]{}:,"0123456789eE+-. \\\n\x00tfnaulrseINy\ud800é')))
@example("9" * 5000)
@example("1E400")
@example("-0")
@example("18446744073709551616")
@example("-9223372036854775809")
@example(" -9223372036854775809")
@example("  -9223372036854775809")
@example("[1795414755000, 18446744073709551616]")
@example('{"a": 1, "a": 2}')
@example('"\\ud800"')
@example("\ufeff[]")
@example("[1,]")
@example("[" * 100_000)
def test_every_text_is_read_or_refused_the_same(text):
    """What is no JSON to the one is none to the other."""
    text += PADDING
    assert outcome(text, json.loads) == outcome(text, json.stdlib_loads)


def test_bytes_that_are_not_utf_8():
    """They are refused, and the message holds none of them."""
    with pytest.raises(ValueError, match=r"^JSON is not UTF-8$") as caught:
        json.loads(b'"secret \xff"' + PADDING.encode())
    assert not hasattr(caught.value, "object")


def test_orjson_is_used_where_it_can_be(orjson_loads, monkeypatch):
    """Else the extra would be for nothing."""
    seen: list[bytes] = []
    monkeypatch.setattr(json, "_orjson_loads", lambda raw: seen.append(raw) or orjson_loads(raw))
    assert json.loads("[1]" + PADDING) == [1]
    assert len(seen) == 1


def test_without_orjson(monkeypatch):
    """Everything works the same."""
    monkeypatch.setattr(json, "_orjson_loads", None)
    assert json.loads('{"a": [1, NaN]}' + PADDING)["a"][0] == 1


@pytest.mark.parametrize("text", ["", "{", "[" * 200_000, "9" * 10_000])
def test_json_that_is_none(text):
    """Malformed, too deep, or with a number too long."""
    with pytest.raises(ValueError):
        json.loads(text)
    assert json.loads('{"a": [null]}') == {"a": [None]}
