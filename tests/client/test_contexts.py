"""The threads of a client belong to no request, though one of them started it."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

import pytest

from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync.testing import RealtimeServer

TRACE: ContextVar[str | None] = ContextVar("trace", default=None)


@pytest.fixture
def handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand the context of whoever starts a thread on to it, as OpenTelemetry and Sentry do."""
    start: Any = threading.Thread.start
    run: Any = threading.Thread.run
    traces: dict[threading.Thread, str | None] = {}

    def start_with_trace(self: threading.Thread) -> None:
        traces[self] = TRACE.get()
        start(self)

    def run_with_trace(self: threading.Thread) -> None:
        TRACE.set(traces.pop(self, None))
        run(self)

    monkeypatch.setattr(threading.Thread, "start", start_with_trace)
    monkeypatch.setattr(threading.Thread, "run", run_with_trace)


def test_no_request_and_no_callback_lands_in_the_trace_of_a_request(handed_on, connect):
    """Whoever subscribed may have ended long ago."""
    seen: dict[str, set[str | None]] = {}

    def note(*arguments: Any) -> None:
        name = threading.current_thread().name.split(" run_")[0]
        seen.setdefault(name, set()).add(TRACE.get())

    def token() -> str:
        note()
        return "tr_x"

    with RealtimeServer() as server:
        run_id = server.create_run(realtime_streams=["s"])
        server.append(run_id, "s", "a")
        batch = server.batch(run_id)
        client = connect(server, access_token=token)
        TRACE.set("a request that ends soon")
        options: dict[str, Any] = {"on_update": note, "on_complete": note}
        one = client.subscribe_to_run_with_streams(run_id, on_stream=note, **options)
        many = client.subscribe_to_batch(batch, **options)
        TRACE.set(None)
        server.complete_run(run_id)
        one.wait_for_completion(10)
        many.wait_for_completion(10)
        eventually(lambda: len(seen) >= 4)
    assert any("stream-feed" in name for name in seen)
    assert any("callbacks" in name for name in seen)
    assert {trace for traces in seen.values() for trace in traces} == {None}


def test_a_callback_that_the_subscribing_thread_posts(handed_on, connect):
    """Who joins a running subscription is told what is known at once."""
    seen: list[str | None] = []
    with RealtimeServer() as server:
        run_id = server.create_run()
        client = connect(server)
        client.subscribe_to_run(run_id, id="shared")
        server.wait_until_held(1)
        eventually(lambda: not threads_named("trigger-realtime-callbacks"))
        TRACE.set("a request that ends soon")
        client.subscribe_to_run(run_id, id="shared", on_update=lambda run: seen.append(TRACE.get()))
        TRACE.set(None)
        eventually(lambda: seen)
    assert seen == [None]
