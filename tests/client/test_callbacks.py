"""Callbacks: their order, their threads, their errors, and what a slow one costs."""

from __future__ import annotations

import functools
import gc
import logging
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.shape import answer, done, row, snapshot
from tests.support.waiting import Gate, Recorder, eventually
from trigger_realtime_sync import CallbackError, ConfigurationError, RealtimeClient, State


def test_update_goes_before_complete_and_complete_comes_once(server, client):
    """For each run, whatever comes after it has finished."""
    runs = [server.create_run(tags=["t"]) for _ in range(5)]
    recorder = Recorder()
    subscription = client.subscribe_to_runs_with_tag("t", **recorder.options)
    server.wait_until_held(1)
    for run_id in runs:
        server.complete_run(run_id)
    subscription.wait_for_completion(5, expected=5)
    for run_id in runs:
        server.update_run(run_id, metadata={"after": 1})
    eventually(lambda: sum(run.metadata == {"after": 1} for run in recorder.updates) == 5)
    assert sorted(run.id for run in recorder.completes) == sorted(runs)
    for run_id in runs:
        events = [kind for kind, run in recorder.events if run.id == run_id]
        before = events.index("complete")
        finished = [run.is_finished for kind, run in recorder.events if run.id == run_id]
        assert finished[before - 1]
        assert events[before - 1] == "update"


def test_never_two_at_a_time_nor_on_the_subscriber_s_thread(server, client):
    """Under a storm of updates of twenty runs."""
    runs = [server.create_run(tags=["t"]) for _ in range(20)]
    recorder = Recorder()
    subscription = client.subscribe_to_runs_with_tag("t", **recorder.options)
    for step in range(10):
        for run_id in runs:
            server.update_run(run_id, metadata={"step": step})
    for run_id in runs:
        server.complete_run(run_id)
    subscription.wait_for_completion(10, expected=20)
    assert recorder.overlaps == 0
    assert threading.get_ident() not in recorder.threads
    assert len(recorder.completes) == 20


def test_a_callback_that_never_returns_costs_the_others_nothing(server, client):
    """Ten other subscriptions get each update within a second."""
    gates = [Gate() for _ in range(3)]
    for gate in gates:
        client.subscribe_to_run(server.create_run(), on_update=gate)
        assert gate.entered.wait(5)
    runs = [server.create_run() for _ in range(10)]
    recorders = [Recorder() for _ in runs]
    for run_id, recorder in zip(runs, recorders, strict=True):
        client.subscribe_to_run(run_id, **recorder.options)
    server.wait_until_held(13, timeout=30)
    for _ in range(3):
        started = time.monotonic()
        before = [len(recorder.updates) for recorder in recorders]
        for run_id in runs:
            server.update_run(run_id, metadata={"at": started})
        for recorder, count in zip(recorders, before, strict=True):
            recorder.wait("update", count + 1, seconds=2)
        assert time.monotonic() - started < 1
    for gate in gates:
        gate.go.set()


def test_a_slow_callback_does_not_hold_the_reading(server, client):
    """`.run` goes on under a stuck callback; states coalesce to the latest."""
    run_id = server.create_run()
    gate = Gate()
    told: list[Any] = []

    def on_update(run: Any) -> None:
        told.append(run.metadata)
        gate()

    subscription = client.subscribe_to_run(run_id, on_update=on_update)
    assert gate.entered.wait(5)
    for step in range(20):
        server.update_run(run_id, metadata={"step": step})
        eventually(lambda s=step: subscription.run.metadata == {"step": s})  # type: ignore
    gate.go.set()
    eventually(lambda: len(told) == 2)
    assert told == [None, {"step": 19}]
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert len(told) == 3


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("name", ["on_update", "on_complete"])
def test_a_callback_that_raises_is_reported(server, client, caplog, name, error):
    """`on_error` gets a `CallbackError` with its cause, the log its traceback; it goes on."""

    def fail(run: Any) -> None:
        raise error

    run_id = server.create_run()
    recorder = Recorder()
    subscription = client.subscribe_to_run(run_id, **{**recorder.options, name: fail})
    server.complete_run(run_id)
    assert subscription.wait_for_completion(5).is_success
    assert subscription.state is State.COMPLETED
    told = recorder.errors[-1]
    assert isinstance(told, CallbackError)
    assert told.callback == name
    assert told.__cause__ is error
    assert told.terminal is False
    records = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert records
    assert all(one.exc_info is not None and one.exc_info[1] is error for one in records)


def test_an_on_error_that_raises_is_only_logged(server, client, caplog):
    """`on_error` does not get its own error, and the subscription goes on."""
    calls = 0

    def fail(value: Any) -> None:
        nonlocal calls
        calls += 1
        raise ValueError(calls)

    run_id = server.create_run()
    subscription = client.subscribe_to_run(run_id, on_complete=fail, on_error=fail)
    server.complete_run(run_id)
    assert subscription.wait_for_completion(5).is_success
    assert calls == 2
    assert sum("on_error" in record.getMessage() for record in caplog.records) == 1


def test_subscribing_inside_a_callback(server, client):
    """Callbacks may use the client."""
    first, second = server.create_run(), server.create_run()
    recorder = Recorder()

    def on_complete(run: Any) -> None:
        client.subscribe_to_run(second, **recorder.options)

    client.subscribe_to_run(first, on_complete=on_complete)
    server.complete_run(first)
    server.complete_run(second)
    recorder.wait("complete")


def test_what_disable_drops_is_not_told(server, client):
    """Nor the rest of a round that had begun."""
    runs = [server.create_run(tags=["t"]) for _ in range(10)]
    gate, returned = Gate(), threading.Event()
    told: list[str] = []

    def on_update(run: Any) -> None:
        gate()
        told.append(run.id)
        returned.set()

    subscription = client.subscribe_to_runs_with_tag("t", on_update=on_update)
    assert gate.entered.wait(5)
    subscription.disable()
    gate.go.set()
    assert returned.wait(5)
    # Long enough for the rest of the round to be told, if it were.
    time.sleep(0.05)
    assert len(told) == 1
    subscription.enable()
    eventually(lambda: len(told) == 10)
    assert sorted(told) == sorted(runs)


def test_throttled_the_first_comes_at_once_and_the_last_is_never_lost(server, client):
    """At most one round per interval, in which a run's states coalesce to its latest."""
    run_id = server.create_run()
    recorder = Recorder()
    started = time.monotonic()
    subscription = client.subscribe_to_run(run_id, throttle_in_ms=300, **recorder.options)
    eventually(lambda: subscription.run is not None)
    known = time.monotonic()
    recorder.wait("update")
    assert recorder.times[0] - known < 0.3
    for step in range(40):
        server.update_run(run_id, metadata={"step": step})
        time.sleep(0.01)
    eventually(lambda: recorder.updates[-1].metadata == {"step": 39})
    gaps = [b - a for a, b in zip(recorder.times, recorder.times[1:], strict=False)]
    assert min(gaps) > 0.25
    assert len(recorder.updates) <= (recorder.times[-1] - started) / 0.25 + 1


def test_throttled_a_finished_run_comes_at_once(server, client):
    """Before the interval has passed, while other runs of the subscription still wait."""
    slow, fast = server.create_run(tags=["t"]), server.create_run(tags=["t"])
    recorder = Recorder()
    subscription = client.subscribe_to_runs_with_tag("t", throttle_in_ms=60_000, **recorder.options)
    recorder.wait("update", 2)
    server.wait_until_held(1)
    server.update_run(slow, status="EXECUTING")
    server.complete_run(fast)
    started = time.monotonic()
    subscription.wait_for_completion(5, expected=1)
    assert time.monotonic() - started < 1
    assert [run.id for run in recorder.updates[2:]] == [fast]
    assert [run.id for run in recorder.completes] == [fast]


def test_throttled_a_single_run_that_finishes_tells_everything(server, client):
    """The waiter does not wait for the interval either."""
    run_id = server.create_run()
    recorder = Recorder()
    subscription = client.subscribe_to_run(run_id, throttle_in_ms=60_000, **recorder.options)
    recorder.wait("update")
    server.update_run(run_id, status="EXECUTING")
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert recorder.statuses[-1] == "COMPLETED"
    assert len(recorder.completes) == 1


def test_throttled_many_runs_share_a_round(server, client):
    """One round tells the latest state of each run that changed."""
    runs = [server.create_run(tags=["t"]) for _ in range(5)]
    recorder = Recorder()
    client.subscribe_to_runs_with_tag("t", throttle_in_ms=1500, **recorder.options)
    recorder.wait("update", 5)
    for step in range(3):
        for run_id in runs:
            server.update_run(run_id, metadata={"step": step})
    recorder.wait("update", 10)
    assert len(recorder.updates) == 10
    assert all(run.metadata == {"step": 2} for run in recorder.updates[5:])
    assert recorder.times[9] - recorder.times[5] < 1


def test_the_throttle_of_the_client_is_the_default(server, connect):
    """`throttle_in_ms` of a subscription stands in for it."""
    client = connect(server, throttle_in_ms=60_000)
    run_id = server.create_run()
    throttled, quick = Recorder(), Recorder()
    client.subscribe_to_run(run_id, **throttled.options)
    client.subscribe_to_run(run_id, throttle_in_ms=0, **quick.options)
    throttled.wait("update")
    quick.wait("update")
    server.wait_until_held(2)
    server.update_run(run_id, status="EXECUTING")
    quick.wait("update", 2)
    assert len(throttled.updates) == 1


def test_a_log_handler_may_look_at_the_subscription(raw, connect):
    """While a row that does not decode is logged, nothing that the handler needs is locked."""
    seen: list[State] = []

    class Looks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(subscription.state)

    client = connect(raw(snapshot(row(number="seven"))))
    logger, handler = logging.getLogger("trigger_realtime_sync"), Looks()
    subscription = client.subscribe_to_run("run_1", enabled=False)
    logger.addHandler(handler)
    try:
        subscription.enable()
        eventually(lambda: seen)
    finally:
        logger.removeHandler(handler)
    assert seen == [State.LIVE]


def test_the_thread_of_a_callback_says_what_it_is_for(raw, connect):
    """A stack dump shows which subscription's callback is stuck."""
    names: list[str] = []
    client = connect(raw(answer(done())))
    client.subscribe_to_run(
        "run_1", on_update=lambda run: names.append(threading.current_thread().name)
    ).wait_for_completion(10)
    assert names == ["trigger-realtime callbacks run run_1"]


class AsyncCallable:
    async def __call__(self, *_: object) -> None:
        raise AssertionError("nobody awaits it")


async def never_run(*_: object) -> None:
    raise AssertionError("nobody awaits it")


@pytest.mark.parametrize(
    "callback",
    [never_run, functools.partial(never_run, 1), AsyncCallable(), AsyncCallable().__call__],
)
@pytest.mark.parametrize("name", ["on_update", "on_error", "on_complete", "on_stream"])
def test_an_async_callback_is_refused(client, callback, name):
    """It would be called, and never run."""
    with pytest.raises(TypeError, match=f"^{name} is an async function"):
        client.subscribe_to_run_with_streams("run_1", **{name: callback})
    assert not client.subscriptions


class GeneratingCallable:
    def __call__(self, *_: object) -> Iterator[None]:
        yield


def never_iterated(*_: object) -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    "callback",
    [
        never_iterated,
        functools.partial(never_iterated, 1),
        GeneratingCallable(),
        GeneratingCallable().__call__,
        functools.partial(functools.partial(GeneratingCallable(), 1), 2),
    ],
)
@pytest.mark.parametrize("name", ["on_update", "on_error", "on_complete", "on_stream"])
def test_a_generator_function_is_refused(client, callback, name):
    """It would be called, and never run."""
    with pytest.raises(TypeError, match=f"^{name} is a generator function"):
        client.subscribe_to_run_with_streams("run_1", **{name: callback})
    assert not client.subscriptions


def test_a_callback_that_returns_a_generator_has_failed(server, client):
    """What it returned never runs, and that is said."""
    recorder = Recorder()
    client.subscribe_to_run(
        server.create_run(),
        on_update=lambda run: never_iterated(run),
        on_error=recorder.options["on_error"],
    )
    (error,) = recorder.wait("error")
    assert isinstance(error, CallbackError)
    assert "returned a generator" in str(error.__cause__)


def test_a_callback_that_returns_an_awaitable_has_failed(server, client, recwarn):
    """What it returned never runs, and that is said; nothing warns of a coroutine besides."""
    recorder = Recorder()
    run_id = server.create_run()
    client.subscribe_to_run(
        run_id, on_update=lambda run: never_run(run), on_error=recorder.options["on_error"]
    )
    (error,) = recorder.wait("error")
    assert isinstance(error, CallbackError)
    assert not error.terminal
    assert "returned an awaitable" in str(error.__cause__)
    gc.collect()
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


def test_a_token_function_that_generates_is_refused():
    """It would return a generator in place of a token."""

    def token() -> Iterator[str]:
        yield "tr_x"

    with pytest.raises(ConfigurationError, match="access_token is a generator function"):
        RealtimeClient(token)  # type: ignore[arg-type]


@pytest.mark.parametrize("of", ["client", "subscription"])
def test_an_async_token_function_is_refused(client, of):
    """It would return a coroutine in place of a token."""

    async def token() -> str:
        return "tr_x"

    def use() -> None:
        if of == "client":
            RealtimeClient(token)  # type: ignore[arg-type]
        else:
            client.subscribe_to_run("run_1", access_token=token)

    with pytest.raises(ConfigurationError, match="access_token is an async function"):
        use()


def test_what_cannot_be_pickled_says_what_to_do(client):
    """A task queue pickles its arguments."""
    for value in (client, client.subscribe_to_run("run_1", enabled=False)):
        with pytest.raises(TypeError, match="can't be pickled: "):
            pickle.dumps(value)
