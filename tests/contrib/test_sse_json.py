"""What a browser is shown of runs and parts."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.contrib.events import events_of, next_event
from trigger_realtime_sync import RealtimeClient, Run, RunError
from trigger_realtime_sync.contrib import _json, sse
from trigger_realtime_sync.contrib.sse import Relay, run_as_dict, shared
from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture
def writer(server: RealtimeServer) -> str:
    """A run that executes."""
    return server.create_run(status="EXECUTING")


def test_a_run_is_shown_without_what_is_nobody_elses_business() -> None:
    """Payload, idempotency key and stack trace stay inside; the times are in ISO 8601."""
    run = Run(
        id="run_1",
        payload="secret",
        idempotency_key="secret",
        output={1, 2},
        error=RunError("it broke", stack_trace="secret"),
        created_at=datetime(2026, 1, 2, tzinfo=timezone.utc),
    )
    line = sse.to_json(run_as_dict(run))
    assert b"secret" not in line
    assert b'"createdAt":"2026-01-02T00:00:00+00:00"' in line
    assert b'"error":{"name":null,"message":"it broke"}' in line


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
def test_any_value_is_one_line_of_json(make: Callable[[], Any]) -> None:
    """Whatever a task returns reaches the browser as something its parser takes."""
    line = sse.to_json(make())
    assert b"\n" not in line
    assert len(line) < 2_000_000


def test_a_state_is_encoded_once_for_all_browsers_and_then_forgotten(
    server: RealtimeServer,
    client: RealtimeClient,
    writer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fifty browsers are sent the same bytes; nothing is kept of a run that nobody holds."""
    asked: list[str] = []

    def counted(run: Any) -> dict[str, Any]:
        asked.append(run.id)
        return run_as_dict(run)

    monkeypatch.setattr(_json, "run_as_dict", counted)
    encoded = _json.EncodedRuns()
    monkeypatch.setattr(sse, "_encoded", encoded)
    relays = [Relay(shared(client.subscribe_to_run, writer)) for _ in range(50)]
    for relay in relays:
        assert next_event(events_of(relay), "run").data["id"] == writer
        relay.close()
    assert asked == [writer]

    run = Run(id="run_1")
    assert encoded(run) is encoded(run)
    key = id(run)
    del run
    gc.collect()
    assert key not in encoded._known


def test_what_a_user_is_shown_is_no_other_users(
    server: RealtimeServer, client: RealtimeClient, writer: str
) -> None:
    """A function of the project is asked for each browser."""
    names = iter(["ann", "bob"])

    def shown(run: Any) -> dict[str, Any]:
        return {"for": next(names)}

    source = shared(client.subscribe_to_run, writer)
    for name in ("ann", "bob"):
        relay = Relay(source, run_to_dict=shown)
        assert next_event(events_of(relay), "run").data == {"for": name}
        relay.close()
