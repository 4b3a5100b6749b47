"""Options: what each becomes, and that what the server would ignore in silence is refused."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from trigger_realtime_sync import metadata
from trigger_realtime_sync._encode.idempotency import check_idempotency_key
from trigger_realtime_sync._encode.options import Debounce, check_options
from trigger_realtime_sync._encode.times import check_delay, check_duration, check_key_ttl

RECORDINGS = Path(__file__).parents[1] / "recordings"
VECTORS = json.loads((RECORDINGS / "calls_vectors.json").read_text(encoding="utf-8"))
FUTURE = datetime(2999, 1, 2, 3, 4, 5, 678000, timezone.utc)


def fields(**options: Any) -> dict[str, Any]:
    return check_options(options).fields


@pytest.mark.parametrize("case", VECTORS["idempotency_keys"]["cases"], ids=str)
def test_a_key_is_hashed_as_javascript_does(case):
    """Text and lists of texts; a batch's items by their index."""
    assert check_idempotency_key(case["parts"]).hashed == case["key"]
    if len(case["parts"]) == 1:
        assert check_idempotency_key(case["parts"][0]).hashed == case["key"]
    elif case["parts"][0] == "batch-7":
        assert check_idempotency_key("batch-7").of_item(0).hashed == case["key"]


def test_a_key_of_64_characters_was_hashed_before():
    """It passes as it is, and nobody knows what was written."""
    hashed = "0" * 64
    assert fields(idempotency_key=hashed) == {"idempotencyKey": hashed}
    # As many as JavaScript counts: this one has 64 code points, and 65 units there.
    assert "idempotencyKeyOptions" in fields(idempotency_key="\U0001f600" + "0" * 63)
    assert fields(idempotency_key=[hashed])["idempotencyKey"] != hashed


def test_a_key_is_shown_as_it_was_written():
    """On the dashboard."""
    shown = fields(idempotency_key=["user", "7"])["idempotencyKeyOptions"]
    assert shown == {"key": "user-7", "scope": "run"}


@pytest.mark.parametrize("key", ["", [], ["a", ""], 5, ["a", 5], [None], "\ud800"])
def test_a_key_that_is_none_is_refused(key):
    """An empty one would mean no key at all."""
    with pytest.raises(ValueError, match="idempotency_key"):
        check_options({"idempotency_key": key})


@pytest.mark.parametrize(
    "key",
    [{"a", "b"}, frozenset({"a", "b"}), {"a": 1}.keys(), {"a": 1}, iter("ab"), {"a": 1}.items()],
)
def test_a_key_without_an_order_is_refused(key):
    """It would be another one in each process, and find no run."""
    with pytest.raises(ValueError, match="idempotency_key must be text or a list of texts"):
        check_options({"idempotency_key": key})


@pytest.mark.parametrize("text", VECTORS["durations"]["accepted"])
def test_a_duration_that_the_server_knows_passes(text):
    """As it is."""
    assert fields(delay=text, ttl=text) == {"delay": text, "ttl": text}


BAD_DURATIONS = [
    *VECTORS["durations"]["silently_ignored"],
    *VECTORS["durations"]["silently_a_date_in_the_past"],
    "", "soon", "1h1h", "2hr1h", "1" * 100 + "s", "٣s", "1h ", "-5s", 5.5, True, [], b"1h",
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_DURATIONS)
def test_a_duration_that_the_server_would_ignore_is_refused(value):
    """By the name of its option."""
    for option in ("delay", "ttl", "idempotency_key_ttl"):
        with pytest.raises(ValueError, match=option):
            check_options({option: value})


@pytest.mark.parametrize(
    "value", [0, -1, timedelta(0), timedelta(-1), "0s", "0h0m", 10**400, timedelta.max]
)
def test_nothing_or_less_is_no_duration(value):
    """Nor is one without an end."""
    for option in ("ttl", "idempotency_key_ttl"):
        with pytest.raises(ValueError, match=option):
            check_options({option: value})


@pytest.mark.parametrize(
    ("option", "value", "name", "rendered"),
    [
        ("ttl", timedelta(hours=1.5), "ttl", "5400s"),
        ("ttl", timedelta(seconds=1.2), "ttl", "2s"),
        ("ttl", 3600, "ttl", 3600),
        ("idempotency_key_ttl", timedelta(milliseconds=1), "idempotencyKeyTTL", "1s"),
        ("idempotency_key_ttl", 60, "idempotencyKeyTTL", "60s"),
        ("idempotency_key_ttl", "24h", "idempotencyKeyTTL", "24h"),
        ("delay", timedelta(minutes=5), "delay", "300s"),
        ("delay", timedelta(seconds=0.3), "delay", "1s"),
        ("delay", FUTURE, "delay", "2999-01-02T03:04:05.678Z"),
        ("delay", "2999-01-02T03:04:05.678Z", "delay", "2999-01-02T03:04:05.678Z"),
        ("delay", "2999-01-02T03:04:05.6789+0100", "delay", "2999-01-02T02:04:05.678Z"),
        ("delay", "2999-01-02 03:04+01:00", "delay", "2999-01-02T02:04:00.000Z"),
        ("queue", "task/my-task", "queue", {"name": "task/my-task"}),
        ("concurrency_key", "user 7", "concurrencyKey", "user 7"),
        ("region", "eu-central-1", "region", "eu-central-1"),
        ("version", "20261125.1", "lockToVersion", "20261125.1"),
        ("machine", "small-2x", "machine", "small-2x"),
        ("machine", "huge", "machine", "huge"),
        ("priority", 10, "priority", 10),
        ("priority", timedelta(seconds=-1.5), "priority", -1.5),
        ("max_duration", timedelta(minutes=5), "maxDuration", 300),
        ("max_duration", 300, "maxDuration", 300),
        ("max_attempts", 3, "maxAttempts", 3),
        ("metadata", {"a": (1, {"b": None})}, "metadata", {"a": [1, {"b": None}]}),
        ("tags", "one", "tags", ["one"]),
        ("tags", (f"t{n}" for n in range(10)), "tags", [f"t{n}" for n in range(10)]),
        ("tags", "é" * 128, "tags", ["é" * 128]),
        ("is_test", True, "test", True),
        ("debounce", Debounce("k", 5), "debounce", {"key": "k", "delay": "5s"}),
        (
            "debounce",
            Debounce("user-7", "5s", "trailing", timedelta(minutes=1)),
            "debounce",
            {"key": "user-7", "delay": "5s", "mode": "trailing", "maxDelay": "60s"},
        ),
    ],
)
def test_an_option_as_the_server_spells_it(option, value, name, rendered):
    """Under its name there."""
    assert fields(**{option: value}) == {name: rendered}


@pytest.mark.parametrize(
    "value",
    [
        timedelta(0),
        timedelta(-1),
        "0s",
        datetime(2020, 1, 1, tzinfo=timezone.utc),
        "2020-01-01T00:00:00Z",
    ],
)
def test_a_delay_that_is_over_is_none(value):
    """The run starts now."""
    assert fields(delay=value) == {}
    assert check_delay(value) is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("delay", datetime(2999, 1, 1)),
        ("delay", 5),
        ("delay", "2999-01-01"),
        ("delay", "2999-01-01T00:00:00"),
        ("delay", "2999-13-01T00:00:00Z"),
        ("tags", [f"t{n}" for n in range(11)]),
        ("tags", "x" * 129),
        ("tags", ["\U0001f600" * 65]),
        ("tags", " "),
        ("tags", ""),
        ("tags", ["a,b"]),
        ("tags", [5]),
        ("tags", 5),
        ("queue", "my queue"),
        ("queue", "q" * 129),
        ("queue", "é"),
        ("queue", ""),
        ("queue", {"name": "x"}),
        ("concurrency_key", ""),
        ("concurrency_key", 7),
        ("region", " "),
        ("version", 1),
        ("machine", ""),
        ("priority", "high"),
        ("priority", math.inf),
        ("priority", True),
        ("max_duration", 0),
        ("max_duration", "5m"),
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("max_attempts", True),
        ("debounce", {"key": "k"}),
    ],
)
def test_a_value_that_can_not_work_is_refused(option, value):
    """Naming its option, before anything is sent."""
    with pytest.raises(ValueError, match=option):
        check_options({option: value})


@pytest.mark.parametrize(
    "given",
    [[1], "x", 5, {"a": {1}}, {"a": FUTURE}, {1: "a"}, {"a": math.nan}, {"a": ["\ud800"]}],
)
def test_metadata_is_json(given):
    """An object, without types."""
    with pytest.raises((TypeError, ValueError), match="metadata"):
        check_options({"metadata": given})


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**60, 10**400])
def test_an_integer_that_the_server_would_round_is_refused(number):
    """Metadata has no types, so it can't go as a bigint; the error names its path."""
    with pytest.raises(ValueError, match=r'metadata\["a"\]\[1\] is an integer beyond'):
        check_options({"metadata": {"a": [1, number]}})
    with pytest.raises(ValueError, match=r'value\["a"\] is an integer beyond'):
        metadata.set_("key", {"a": number})
    with pytest.raises(ValueError, match="value is an integer beyond"):
        metadata.append("key", number)
    for option in ("priority", "max_attempts", "max_duration", "ttl"):
        if option != "ttl" or number > 0:
            with pytest.raises(ValueError, match=option):
                check_options({option: number})
    assert fields(metadata={"a": 2**53 - 1}) == {"metadata": {"a": 2**53 - 1}}


@pytest.mark.parametrize("option", ["ttl", "delay", "idempotency_key_ttl"])
def test_a_duration_without_an_end_is_refused(option):
    """JavaScript's dates end before it."""
    with pytest.raises(ValueError, match=option):
        check_options({option: "9" * 90 + "d"})


@pytest.mark.parametrize("flag", ["no", "", 0, 1, []])
def test_a_flag_is_true_or_false(flag):
    """A text such as "no" would count as True."""
    with pytest.raises(ValueError, match="is_test must be True or False"):
        check_options({"is_test": flag})
    assert fields(is_test=True) == {"test": True}
    assert fields(is_test=False) == fields(is_test=None) == {}


def test_metadata_without_an_end_is_refused():
    """Whether it contains itself or is nested too deeply."""
    cycle: dict[str, Any] = {}
    cycle["a"] = [cycle]
    with pytest.raises(ValueError, match=r'metadata\["a"\]\[0\] contains itself'):
        check_options({"metadata": cycle})


def test_options_that_are_left_out_are_not_sent():
    """null is refused for most of them, and means 1970 for others."""
    assert fields(tags=(), delay=None, ttl=None, metadata={}, is_test=False) == {}


def test_there_is_no_other_option():
    """A misspelt one would be dropped in silence."""
    with pytest.raises(TypeError, match="tag"):
        check_options({"tag": "x"})


@pytest.mark.parametrize(
    "options",
    [
        {"key": "", "delay": 5},
        {"key": "k" * 513, "delay": 5},
        {"key": "k", "delay": "soon"},
        {"key": "k", "delay": 0},
        {"key": "k", "delay": 5, "mode": "last"},
        {"key": "k", "delay": "1m", "max_delay": 60},
        {"key": "k", "delay": "1m", "max_delay": "1w "},
    ],
)
def test_a_debounce_that_can_not_work_is_refused(options):
    """When it is made."""
    with pytest.raises(ValueError, match="debounce"):
        Debounce(**options)


def test_a_key_lives_for_one_number_of_one_unit():
    """Others the server takes for 30 days."""
    for text in ("1h30m", "1w", "2hr"):
        with pytest.raises(ValueError, match="30 days"):
            check_key_ttl(text)
        assert check_duration(text, "delay") == text


def test_options_of_the_official_client_have_their_counterparts():
    """The recording with all of them, but for the one that servers drop."""
    recording = RECORDINGS / "calls" / "trigger_all_options.json"
    exchange = json.loads(recording.read_text(encoding="utf-8"))["exchanges"][0]
    options = exchange["request"]["body"]["options"]
    for name in ("concurrency", "payloadType", "payloadSize"):
        del options[name]
    options["idempotencyKeyOptions"]["scope"] = "run"
    assert options == fields(
        queue="my-queue",
        concurrency_key="user-7",
        idempotency_key=["user", "7"],
        idempotency_key_ttl="1h",
        delay="1h30m",
        ttl="10m",
        tags=["user:7", "video"],
        max_attempts=3,
        metadata={"progress": 0},
        max_duration=300,
        machine="small-2x",
        priority=10,
        region="eu-central-1",
        version="20261125.1",
    )
