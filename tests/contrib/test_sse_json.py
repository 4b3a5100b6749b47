"""How runs and values are shown to browsers."""

from __future__ import annotations

import gc
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.contrib.events import events_of, next_event
from trigger_realtime_sync import PayloadError, Run, RunError
from trigger_realtime_sync.contrib import _events, sse
from trigger_realtime_sync.contrib.sse import Relay, run_for_browser, shared
from trigger_realtime_sync.jsonable import run_as_dict
from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture
def writer(server: RealtimeServer) -> str:
    """A run that executes."""
    return server.create_run(status="EXECUTING")


def test_a_run_is_shown_without_what_is_nobody_elses_business():
    """Payload, idempotency key and stack trace stay inside; the times are in ISO 8601."""
    run = Run(
        id="run_1",
        payload="secret",
        idempotency_key="secret",
        output={1, 2},
        error=RunError("it broke", stack_trace="secret"),
        created_at=datetime(2026, 1, 2, tzinfo=timezone.utc),
    )
    line = _events.to_json(run_for_browser(run))
    assert b"secret" not in line
    assert b'"createdAt":"2026-01-02T00:00:00+00:00"' in line
    assert b'"error":{"name":null,"message":"it broke"}' in line


def test_the_names_are_those_of_the_hooks_and_what_can_not_be_read_is_listed():
    """A field whose packet is broken is null, and the others are shown all the same."""

    class Broken(Run[Any, Any]):
        @property
        def output(self) -> Any:
            raise PayloadError("broken", run_id="run_1", field="output")

    shown = run_for_browser(Broken(id="run_1", task_identifier="t", base_cost_in_cents=0.5))
    assert (shown["taskIdentifier"], shown["baseCostInCents"]) == ("t", 0.5)
    assert (shown["isQueued"], shown["output"], shown["unreadable"]) == (True, None, ["output"])
    assert "unreadable" not in run_for_browser(Run(id="run_1"))


def test_the_old_name_of_run_for_browser_warns_for_one_release():
    """Another `run_as_dict` is public now, with other keys."""
    with pytest.warns(DeprecationWarning, match="run_for_browser"):
        assert sse.run_as_dict is run_for_browser


def _knot() -> Any:
    knot: list[Any] = []
    knot.append(knot)
    return knot


def _deep() -> Any:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    "make",
    [
        _knot,
        _deep,
        lambda: {"x": float("nan"), 3: {4}, "big": 10**9999, "bytes": b"\0", "text": "\ud800\n"},
        lambda: [object, datetime(2026, 1, 1, tzinfo=timezone.utc), [[]] * 300_000],
    ],
)
def test_any_value_is_one_line_of_json(make):
    """Whatever a task returns, the browser's parser accepts it."""
    line = _events.to_json(make())
    assert b"\n" not in line
    assert len(line) < 2_000_000


def test_a_state_is_encoded_once_for_all_browsers_and_then_forgotten(
    server, client, writer, monkeypatch
):
    """Fifty browsers are sent one encoding, which is dropped together with the run."""
    read: list[str] = []

    def counted(run: Any, fields: Any) -> dict[str, Any]:
        read.append(run.id)
        return run_as_dict(run, fields)

    monkeypatch.setattr(_events, "run_as_dict", counted)
    encoded = _events.EncodedRuns()
    monkeypatch.setattr(_events, "_encoded_runs", encoded)
    relays = [Relay(shared(client.subscribe_to_run, writer)) for _ in range(50)]
    for relay in relays:
        assert next_event(events_of(relay), "run").data["id"] == writer
        relay.close()
    assert read == [writer]

    run = Run(id="run_1")
    assert encoded(run) is encoded(run)
    key = id(run)
    del run
    gc.collect()
    assert key not in encoded._known


def test_what_a_user_is_shown_is_no_other_users(server, client, writer):
    """A function of the project is called for each browser."""
    names = iter(["ann", "bob"])

    def shown(run: Any) -> dict[str, Any]:
        return {"for": next(names)}

    source = shared(client.subscribe_to_run, writer)
    for name in ("ann", "bob"):
        relay = Relay(source, run_to_dict=shown)
        assert next_event(events_of(relay), "run").data == {"for": name}
        relay.close()
