"""Durations and numbers, as they are typed."""

from __future__ import annotations

import argparse

import pytest

from trigger_realtime_sync.cli._values import age, count, index, seconds, shift


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("90", 90), ("0.2", 0.2), ("1e3", 1000), ("45s", 45), ("5m", 300), ("1h30m", 5400),
     ("1hr", 3600), ("2d", 172_800), ("1w", 604_800), ("1d12h", 129_600)],
)  # fmt: skip
def test_durations_are_seconds_or_have_units(text, value):
    """The units are those of the server."""
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "soon", "-1", "-1s", "nan", "inf", "5 m", "5M", "1h30", "1.5h", "9" * 400]
)
def test_anything_else_is_no_duration(text):
    """The error shows what is."""
    with pytest.raises(argparse.ArgumentTypeError, match="1h30m"):
        seconds(text)


def test_a_shift_has_either_sign():
    """A priority may move a run back."""
    assert [shift(text) for text in ("30", "5m", "-1h30m", "-0.5")] == [30, 300, -5400, -0.5]
    for text in ("--5", "-", "-soon", "nan"):
        with pytest.raises(argparse.ArgumentTypeError, match="1h30m"):
            shift(text)


def test_ages_have_units_for_the_server():
    """Which ignores what it does not understand."""
    assert [age(text) for text in ("90m", "1d12h", "90", "0.5")] == ["90m", "1d12h", "90s", "1s"]
    with pytest.raises(argparse.ArgumentTypeError, match="more than 0"):
        age("0s")


@pytest.mark.parametrize("text", ["-1", "1.0", "", "x", "٣", "9" * 30])
def test_counts_are_whole_numbers(text):
    """Of ASCII digits."""
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        index(text)


def test_an_index_may_be_zero_and_a_count_not():
    """There is a first part, and nothing to wait for in no run."""
    assert (index("0"), count("1")) == (0, 1)
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        count("0")
