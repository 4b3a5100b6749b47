"""Errors that end a subscription: the right class, once, at once, for everyone who asks."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import pytest

from tests.support.raw import Exchange, hold
from tests.support.shape import answer, row
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    CallbackError,
    ClientClosed,
    ConfigurationError,
    NotFoundError,
    PayloadError,
    PermissionDeniedError,
    ProtocolError,
    RetryPolicy,
    Run,
    RunError,
    RunFailed,
    RunStatus,
    ServerError,
    State,
    StreamUnreadable,
    SubscriptionCancelled,
    TriggerRealtimeError,
    UnprocessableEntityError,
    WaitTimeout,
)
from trigger_realtime_sync._http import retry as failures

TERMINAL: list[tuple[dict[str, Any], type[TriggerRealtimeError]]] = [
    ({"status": 400}, BadRequestError),
    ({"status": 401}, AuthenticationError),
    ({"status": 403}, PermissionDeniedError),
    ({"status": 404}, NotFoundError),
    ({"status": 404, "headers": {"x-should-retry": "false"}}, NotFoundError),
    ({"status": 422}, UnprocessableEntityError),
    ({"status": 418}, ApiError),
    ({"drop_headers": ["electric-handle"]}, ProtocolError),
    ({"drop_headers": ["electric-offset"]}, ProtocolError),
]


@pytest.mark.parametrize("live", [False, True], ids=["first", "live"])
@pytest.mark.parametrize(("fault", "kind"), TERMINAL)
def test_everyone_learns_of_it_once(server, connect, fault, kind, live):
    """The waiter, the iterator and `on_error` get it within a moment, and no request follows."""
    run_id = server.create_run()
    recorder = Recorder()
    server.fail_next(times=100, live=live, after_hold=live, **fault)
    subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
    updates = subscription.updates(timeout=5)
    if live:
        server.wait_until_held(1)
        assert next(updates).is_queued
        server.update_run(run_id, status="EXECUTING")
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        subscription.wait_for_completion(5)
    assert time.monotonic() - started < 1
    assert type(caught.value) is kind or kind is ProtocolError
    assert caught.value.terminal
    assert all(header in str(caught.value) for header in fault.get("drop_headers", ()))
    with pytest.raises(kind):
        next(updates)
    assert list(updates) == []
    assert recorder.errors == [caught.value]
    assert subscription.error is caught.value
    assert subscription.state is State.FAILED
    assert subscription.id not in connect(server).subscriptions
    before = len(server.requests)
    assert sum(request.live is live for request in server.requests) == 1
    subscription.cancel()
    assert subscription.state is State.FAILED
    assert len(server.requests) == before


def test_what_the_error_carries(server, connect):
    """Status, code, body and headers of the answer."""
    body = {"error": "Unauthorized", "code": "unauthorized", "param": "access_token"}
    server.fail_next(status=403, body=body, headers={"X-Request-Id": "abc"})
    subscription = connect(server).subscribe_to_run(server.create_run())
    with pytest.raises(PermissionDeniedError, match="Unauthorized") as caught:
        subscription.wait_for_completion(5)
    assert caught.value.status == 403
    assert caught.value.code == "unauthorized"
    assert '"param"' in caught.value.body
    assert caught.value.headers["x-request-id"] == "abc"


def test_a_batch_that_may_yet_appear(server, connect):
    """`x-should-retry: true`: a replica may not know it yet."""
    runs = [server.create_run()]
    recorder = Recorder()
    subscription = connect(server).subscribe_to_batch("batch_late", **recorder.options)
    server.wait_for_requests(3)
    server.batch(*runs, id="batch_late")
    server.complete_run(runs[0])
    assert len(subscription.wait_for_completion(5)) == 1
    assert recorder.errors == []


def test_a_batch_that_never_appears(server, connect, monkeypatch):
    """After a few seconds it is taken for what it is."""
    monkeypatch.setattr(failures, "NOT_FOUND_SECONDS", 0.2)
    subscription = connect(server).subscribe_to_batch("batch_none")
    with pytest.raises(NotFoundError):
        subscription.wait_for_completion(5)
    assert len(server.requests) > 1


def test_retries_are_counted(server, connect):
    """`max_retries` attempts in a row may fail; the error of the last one is reported."""
    retry = RetryPolicy(initial_delay=0.001, max_delay=0.002, max_retries=3)
    server.fail_next(status=503, times=100)
    with pytest.raises(ServerError):
        connect(server, retry=retry).wait_for_completion(server.create_run(), timeout=5)
    assert len(server.requests) == 4


def test_success_starts_the_count_anew(server, connect):
    """Failures with data between them never add up."""
    retry = RetryPolicy(initial_delay=0.001, max_delay=0.002, max_retries=1)
    run_id = server.create_run()
    recorder = Recorder()
    subscription = connect(server, retry=retry).subscribe_to_run(run_id, **recorder.options)
    for step in range(5):
        server.wait_until_held(1)
        server.fail_next(status=500, live=True)
        server.update_run(run_id, metadata={"step": step})
        eventually(lambda s=step: recorder.updates[-1].metadata == {"step": s})  # type: ignore[misc]
        server.wait_for_requests(2 + 2 * (step + 1))
    server.complete_run(run_id)
    assert subscription.wait_for_completion(5).is_success


def test_a_row_that_does_not_decode_is_reported(raw, connect):
    """`on_error` gets an error that is not terminal; other rows and later states arrive."""
    bad = row("run_bad", 1, createdAt="yesterday")
    recorder = Recorder()

    def answer_later(exchange: Exchange) -> None:
        eventually(lambda: recorder.errors)
        answer(row("run_bad", 2), offset="2_0")(exchange)

    server = raw(answer(bad, row("run_good", 1)), answer_later, hold())
    subscription = connect(server).subscribe_to_runs_with_tag("t", **recorder.options)
    recorder.wait("update", 2)
    assert [run.id for run in recorder.updates] == ["run_good", "run_bad"]
    assert len(recorder.errors) == 1
    assert isinstance(recorder.errors[0], ProtocolError)
    assert "run_bad" in str(recorder.errors[0])
    assert "createdAt" in str(recorder.errors[0])
    assert recorder.errors[0].terminal is False
    assert subscription.state is State.LIVE


@pytest.mark.parametrize("passed_on", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
@pytest.mark.parametrize(
    "error",
    [
        ServerError("s", status=503, code="c", body="b", headers={"retry-after": "5"}),
        PayloadError("p", run_id="run_1", field="output", raw="{", content_type="text/plain"),
        CallbackError("c", callback="on_update"),
        RunFailed(Run(id="run_1", status=RunStatus.FAILED, error=RunError("boom"))),
        WaitTimeout("w"),
        SubscriptionCancelled("x"),
        ConfigurationError("y"),
        ClientClosed("z"),
        StreamUnreadable("u", run_id="run_1", stream="s"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_to_another_process(error, passed_on):
    """A process pool or a task queue hands on the same error: class, message, attributes."""
    other = passed_on(error)
    assert type(other) is type(error)
    assert other is not error
    assert str(other) == str(error)
    assert other.args == error.args
    assert other.terminal is error.terminal
    assert vars(other) == vars(error)
