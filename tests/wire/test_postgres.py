"""Postgres text to Python values."""

from __future__ import annotations

import json
import math
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigger_realtime_sync._wire import postgres as values

UTC = timezone.utc
WHEN = datetime(2026, 11, 23, 6, 15, 9, tzinfo=UTC)


@pytest.mark.parametrize("separator", ["T", " "])
@pytest.mark.parametrize(
    ("fraction", "micros"),
    [
        ("", 0), (".9", 900_000), (".97", 970_000), (".979", 979_000), (".9791", 979_100),
        (".97912", 979_120), (".979123", 979_123),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", ["", "Z", "+00", "+00:00", "-0000", "+00:00:00"])
def test_a_timestamp_of_either_backend(separator, fraction, micros, zone):
    """`T` or blank, any fraction, with or without a zone of UTC."""
    moment = values.parse_timestamp(f"2026-11-23{separator}06:15:09{fraction}{zone}")
    assert moment == WHEN.replace(microsecond=micros)
    assert moment.tzinfo is UTC


def test_another_offset_becomes_utc():
    """An offset is taken off."""
    assert values.parse_timestamp("2026-11-23 11:45:09+05:30") == WHEN
    assert values.parse_timestamp("2026-11-23T01:15:09.000-05").isoformat() == WHEN.isoformat()


@pytest.mark.parametrize(
    "text",
    [
        "", "infinity", "-infinity", "2026-11-23", "2026-11-23T06:15", "2026-11-23_06:15:09.979",
        "2026-11-23T06:15:09.", "2026-11-23T06:15:09,979", "2026-11-23T06:15:09.1234567",
        "2026-W47-1T06:15:09.979", "2026-13-23T06:15:09.979", "2026-02-30 06:15:09.979",
        "2026-11-23T24:00:00.000", "2026-11-23T06:15:60.000", "0044-03-15 12:00:00.000 BC",
        "0000-01-01 00:00:00.000", "12026-11-23 06:15:09.979", "2026-11-23T06:15:09.979+24:00",
        "2026-11-23T06:15:09.979+00:60", "2026-11-23T06:15:09.979z", "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00", " 2026-11-23T06:15:09.979", "2026-11-23T06:15:09.979\n",
        "٢٠٢٦-11-23T06:15:09.979", "2026-11-23T06:15:09.٩٧٩",
    ],
)  # fmt: skip
def test_what_is_no_timestamp_is_refused(text):
    """The forms that `fromisoformat` would take beyond these are refused, too."""
    with pytest.raises(ValueError, match="not a timestamp"):
        values.parse_timestamp(text)


@given(st.datetimes(), st.sampled_from(["T", " "]), st.integers(-1439, 1439) | st.none())
def test_any_moment_survives(moment, separator, minutes):
    """What is written is read back, at any offset."""
    zone = None if minutes is None else timezone(timedelta(minutes=minutes))
    aware = moment.replace(tzinfo=zone or UTC)
    text = moment.replace(tzinfo=zone).isoformat(separator)
    try:
        expected = aware.astimezone(UTC)
    except OverflowError:
        return
    assert values.parse_timestamp(text) == expected


def test_bools():
    """Changes write one letter, snapshots the word."""
    assert [values.parse_bool(text) for text in ("t", "true")] == [True, True]
    assert [values.parse_bool(text) for text in ("f", "false")] == [False, False]
    for text in ("", "T", "1", "yes"):
        with pytest.raises(ValueError, match=r"^not a bool$"):
            values.parse_bool(text)


def test_integers():
    """Decimal digits and a sign, and nothing else that `int` would take."""
    assert values.parse_int("-9223372036854775808") == -(2**63)
    assert values.parse_int("0") == 0
    assert values.parse_int("9" * 40) == 10**40 - 1
    for text in ("", "-", "+1", "1_0", " 1", "1.0", "٣", "²", "--1", "9" * 41, "9" * 10_000_000):
        with pytest.raises(ValueError, match="not an integer"):
            values.parse_int(text)


def test_floats():
    """As Postgres writes them, its three words included."""
    assert values.parse_float("0.0025") == 0.0025
    assert values.parse_float("1e-07") == 1e-07
    assert values.parse_float("-12") == -12.0
    assert values.parse_float("Infinity") == math.inf
    assert values.parse_float("-Infinity") == -math.inf
    assert math.isnan(values.parse_float("NaN"))
    for text in ("", "-", ".", "1_0", " 1", "inf", "nan", "0x1", "1e", "1" * 401, "1\n"):
        with pytest.raises(ValueError, match="not a number"):
            values.parse_float(text)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("{}", []), ("{a}", ["a"]), ("{a,b c}", ["a", "b c"]), ("{NULL}", [None]),
        ('{"NULL",NULL}', ["NULL", None]), ('{""}', [""]), ('{"",""}', ["", ""]),
        ('{"a","b"}', ["a", "b"]), ('{"a",",","b"}', ["a", ",", "b"]), ('{"{","}"}', ["{", "}"]),
        (r'{a,"b,c","say \"hi\"",NULL}', ["a", "b,c", 'say "hi"', None]),
        (r'{"user_1","we\"ird, \\tag"}', ["user_1", r'we"ird, \tag']), (r'{"\\"}', ["\\"]),
        (r'{"\a\n"}', ["an"]), (r"{a\,b,\NULL}", ["a,b", "NULL"]),
        ('{"line\nbreak"}', ["line\nbreak"]),
    ],
)  # fmt: skip
def test_arrays(text, elements):
    """Bare and quoted elements; NULL is None only without quotes."""
    assert values.parse_array(text) == elements


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "}", "a", "a,b", "{,}", "{a,}", "{,a}", "{a,,b}", "{{a},{b}}", "{a}}", "{{a}"),
        *('{"}', '{"a}', '{a"}', '{"a"b}', '{a"b"}', '{"a""b"}', '{"a"x","b"}', '{"a"",""b"}'),
        *(r'{"\"}', r"{\}", '{"a",}', "{a}b", "[0:1]={a,b}", '{"a",{b}}', "{} ", r'{"a\\""}'),
    ],
)
def test_malformed_arrays_are_refused(text):
    """Anything that is no array of one dimension."""
    with pytest.raises(ValueError, match="not an array"):
        values.parse_array(text)


def quoted(element: str | None) -> str:
    if element is None:
        return "NULL"
    return '"' + element.replace("\\", "\\\\").replace('"', '\\"') + '"'


elements_ = st.none() | st.text(st.sampled_from('a,"\\{}NUL \n')) | st.just("NULL")


@given(st.lists(elements_))
def test_any_array_survives(elements):
    """What is written quoted, as the native backend does, is read back."""
    assert values.parse_array("{" + ",".join(map(quoted, elements)) + "}") == elements


@pytest.mark.parametrize(
    "inside",
    ['"' + "a" * 500_000, '"' + "\\a" * 300_000, 'a,"b\\"",' * 100_000, "\\a" * 300_000 + '"'],
)
def test_arrays_take_linear_time(inside):
    """A quote that is never closed does not make the parser try every way."""
    started = time.process_time()
    with pytest.raises(ValueError):
        values.parse_array("{" + inside + "}")
    assert time.process_time() - started < 5


texts = st.text() | st.text(st.sampled_from('{}",\\NUL019-:. TZ+tfae[]'))


PARSERS = [
    values.parse_timestamp, values.parse_bool, values.parse_int, values.parse_float,
    values.parse_array,
]  # fmt: skip


@given(st.sampled_from(PARSERS), texts)
def test_any_text_is_a_value_or_a_value_error(parse, text):
    """Nothing but ValueError ever comes out."""
    try:
        value = parse(text)
    except ValueError:
        return
    assert value is not None


@given(st.text(st.sampled_from('{}",\\Na ')))
def test_the_fast_path_of_arrays_is_the_slow_one(text):
    """Both read, or refuse, the same."""
    text = "{" + text + "}"
    if text == "{}":
        return
    assert outcome(values.parse_array, text) == outcome(values._parse_any_array, text)


def outcome(parse: Any, text: str) -> str:
    try:
        return json.dumps(parse(text))
    except ValueError:
        return "refused"


@pytest.mark.parametrize(
    ("offset", "hour", "minute", "second"),
    [("+05:30:15", 6, 29, 45), ("-00:00:01", 12, 0, 1), ("-0530", 17, 30, 0)],
)
def test_offsets_count_to_the_second(offset, hour, minute, second):
    """East of Greenwich is earlier in UTC, west of it later."""
    moment = datetime(2026, 11, 23, hour, minute, second, tzinfo=UTC)
    assert values.parse_timestamp(f"2026-11-23T12:00:00{offset}") == moment
