"""What is kept of a run that left: a digest for each state, a summary, or the run undecoded."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.shape import done, row
from trigger_realtime_sync import PayloadError
from trigger_realtime_sync._decode.kept_runs import Summaries, _encoded, digest_of, shelve
from trigger_realtime_sync._decode.packets import PacketValue
from trigger_realtime_sync._decode.rows import RowDecoder
from trigger_realtime_sync.models import Run, RunError, unread

NOW = datetime(2026, 11, 23, 6, 15, 9, 979_001, tzinfo=timezone.utc)


def packet(data: str | None, content_type: str = "application/json") -> PacketValue:
    return PacketValue("run_1", "output", data, content_type)


TEXTS = [None, "", "n", "None", "null", "0", "1", "True", "s1:1"]
TIMES = [None, NOW, NOW + timedelta(microseconds=1), datetime.min.replace(tzinfo=timezone.utc)]
NUMBERS = [None, 0.0, 1.0, 1.5]
LISTS = [[], [""], ["", ""], ["a", "b"], ["ab"], ["a,b"], ["None"], ["l1:s1:a"]]
PACKETS = [None, *map(packet, TEXTS), packet("1", "text/plain"), packet("", "1application/json")]
ERRORS = [
    None,
    *(RunError("a", *pair) for pair in itertools.product([None, "", "a"], repeat=2)),
    RunError(""),
    RunError("None"),
]
VALUES: dict[str, list[Any]] = {
    "task_identifier": [text for text in TEXTS if text is not None],
    "status": ["COMPLETED", "FAILED", "None", "anything"],
    "tags": LISTS,
    "realtime_streams": LISTS,
    "error": ERRORS,
    "is_test": [None, False, True],
    "number": [None, 0, 1, 10**30],
    "duration_ms": [None, 0, 1, -1],
    **dict.fromkeys(["cost_in_cents", "base_cost_in_cents"], NUMBERS),
    **dict.fromkeys(["ttl", "idempotency_key"], TEXTS),
    **dict.fromkeys(["payload", "output", "metadata"], PACKETS),
    **dict.fromkeys(["created_at", "updated_at", "started_at", "queued_at"], TIMES),
    **dict.fromkeys(["delayed_until", "expired_at", "finished_at"], TIMES),
}


def states() -> Any:
    fields = {name: st.sampled_from(values) for name, values in VALUES.items()}
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: Run(id="run_1", **given))


@pytest.mark.parametrize("field", VALUES)
def test_states_that_differ_in_one_field_have_distinct_digests(field):
    """None is not the text "None", 1 is not "1", and nothing is neither empty nor null."""
    runs = [Run(id="run_1", **{field: value}) for value in VALUES[field]]
    distinct = [run for n, run in enumerate(runs) if run not in runs[:n]]
    assert len({digest_of(run) for run in runs}) == len(distinct)


def test_values_of_all_types_are_told_apart():
    """Whatever type a field may get one day: None, texts, numbers and lists never look alike."""
    values = [None, "None", "n", "", "null", 0, "0", 1, "1", True, "True", False, 1.5, "1.5", NOW]
    values += [str(NOW), [], [None], ["None"], [1], ["1"], [[]], ["a", "b"], ["ab"], "i1;", "b1"]
    values += [packet("1"), ["1", "application/json"], packet(None), RunError("1"), ["1", None]]
    assert len({_encoded(value) for value in values}) == len(values)


def test_a_value_in_another_field_is_another_state():
    """The same text, time or packet tells something else there."""
    times = ["started_at", "queued_at", "finished_at", "expired_at", "delayed_until"]
    runs = [
        *(Run(id="run_1", **{name: NOW}) for name in times),
        *(Run(id="run_1", **{name: packet("1")}) for name in ("payload", "output", "metadata")),
        *(Run(id="run_1", **{name: "1"}) for name in ("ttl", "idempotency_key")),
        *(Run(id="run_1", **{name: ["a"]}) for name in ("tags", "realtime_streams")),
        *(Run(id="run_1", **{name: 1.0}) for name in ("cost_in_cents", "base_cost_in_cents")),
        Run(id="run_2"),
    ]
    assert len({digest_of(run) for run in runs}) == len(runs)


def test_every_field_takes_part():
    """A field that is added to a run may not be left out of its digest."""
    fields = set(vars(Run(id="run_1"))) - {"id"}
    assert {name.removeprefix("_") for name in fields} == set(VALUES)


@given(states(), states())
def test_digests_are_equal_where_states_are(one, other):
    """And only there: as `==` says, so do they."""
    assert (digest_of(one) == digest_of(other)) == (one == other)


def test_a_digest_is_that_of_values_not_of_texts():
    """Electric writes times in two ways, and a snapshot's runs are made field by field."""
    columns = done("run_1", output="x" * 10)
    other = {**columns, "completedAt": columns["completedAt"].replace("T", " ")}
    decoder = RowDecoder()
    [lazy] = decoder.decode_many([columns]) or []
    digests = {digest_of(decoder.decode(columns)), digest_of(decoder.decode(other))}
    assert digests == {digest_of(lazy)}
    assert "ttl" not in vars(lazy)


@pytest.mark.parametrize("many", [False, True], ids=["decoded", "lazy"])
def test_a_run_on_the_shelf_is_equal_and_undecoded(many):
    """Its texts are weighed; what was decoded is the holder's."""
    columns = done("run_1", output=["y" * 5_000])
    decoder = RowDecoder()
    run = (decoder.decode_many([columns]) or [])[0] if many else decoder.decode(columns)
    read = run.output
    kept, size = shelve(run)
    assert 6_000 < size < 9_000
    assert kept == run
    assert run.output is read
    assert kept.output == read
    assert kept.output is not read


@given(states())
def test_a_summary_has_status_times_and_task(run):
    """To the microsecond, and whatever the status is."""
    summaries = Summaries()
    summaries.of(Run(id="run_2", status="EXPIRED"))
    again = summaries.run("run_1", summaries.of(run))
    for name in ("id", "status", "task_identifier", "created_at", "updated_at", "started_at"):
        assert getattr(again, name) == getattr(run, name)
    for name in ("queued_at", "delayed_until", "expired_at", "finished_at", "is_finished"):
        assert getattr(again, name) == getattr(run, name)


@pytest.mark.parametrize("field", ["payload", "output", "metadata"])
def test_what_is_no_longer_kept_says_so(field):
    """At each read, with the run and the field."""
    summaries = Summaries()
    again = summaries.run("run_1", summaries.of(RowDecoder().decode(row())))
    for _ in range(2):
        with pytest.raises(PayloadError, match=f"{field} of run run_1: no longer kept") as caught:
            getattr(again, field)
        assert (caught.value.run_id, caught.value.field) == ("run_1", field)
    assert unread(again, field) == unread(again, field)
