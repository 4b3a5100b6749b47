"""Waiting for a run: the heart of a script."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.support.raw import hold, reply
from tests.support.shape import answer, done
from tests.support.waiting import AT_ONCE, Gate, Recorder, eventually
from trigger_realtime_sync import (
    AuthenticationError,
    RunFailed,
    RunStatus,
    State,
    SubscriptionCancelled,
    WaitTimeout,
)


def test_returns_as_soon_as_the_server_says_so(server, client):
    """At once, and not one request goes out after it."""
    run_id = server.create_run()
    subscription = client.subscribe_to_run(run_id)
    server.wait_until_held(1)
    latencies = []

    def complete() -> None:
        latencies.append(time.monotonic())
        server.complete_run(run_id, output=[1])

    threading.Timer(0.05, complete).start()
    run = subscription.wait_for_completion(5)
    assert time.monotonic() - latencies[0] < AT_ONCE
    assert run.status is RunStatus.COMPLETED
    assert run.output == [1]
    assert subscription.state is State.COMPLETED
    before = len(server.requests)
    client.close()
    assert len(server.requests) == before


def test_of_the_client_waits_in_one_call(server, client):
    """`client.wait_for_completion` leaves no subscription and no cache behind."""
    run_id = server.create_run()
    threading.Timer(0.05, server.complete_run, [run_id, "hey"]).start()
    assert client.wait_for_completion(run_id, timeout=5).output == "hey"
    assert dict(client.subscriptions) == {}
    with pytest.raises(WaitTimeout):
        client.wait_for_completion(server.create_run(), timeout=0.05)
    assert dict(client.subscriptions) == {}


def test_a_run_that_has_finished_takes_one_request(server, client):
    """The snapshot shows that it has finished: no live poll is sent."""
    run_id = server.create_run()
    server.complete_run(run_id, output=7)
    assert client.subscribe_to_run(run_id).result(5) == 7
    assert not any(request.live for request in server.requests)


@pytest.mark.parametrize("was_executing", [False, True])
def test_a_cancelled_run_completes(server, client, was_executing):
    """Though a run cancelled while it was queued never gets a time of completion."""
    run_id = server.create_run(status="EXECUTING" if was_executing else "PENDING")
    subscription = client.subscribe_to_run(run_id)
    server.wait_until_held(1)
    server.cancel_run(run_id)
    assert subscription.wait_for_completion(5).is_cancelled
    with pytest.raises(RunFailed) as caught:
        subscription.result(5)
    assert caught.value.error is None


def test_completion_is_seen_though_its_column_is_skipped(server, client):
    """The status alone ends a run, with `completedAt` hidden."""
    run_id = server.create_run()
    subscription = client.subscribe_to_run(run_id, skip_columns=["finished_at"])
    server.wait_until_held(1)
    server.complete_run(run_id)
    assert subscription.wait_for_completion(5).finished_at is None


def test_result_raises_what_the_run_failed_with(server, client):
    """`RunFailed` carries the run and its error."""
    run_id = server.create_run()
    subscription = client.subscribe_to_run(run_id)
    server.fail_run(run_id, "boom", name="ValueError")
    with pytest.raises(RunFailed, match="boom") as caught:
        subscription.result(5)
    assert caught.value.run.is_failed
    assert caught.value.error is not None
    assert caught.value.error.name == "ValueError"
    assert subscription.wait_for_completion(0).is_failed


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_a_wait_that_times_out_ends_nothing(server, client, timeout):
    """`WaitTimeout` is a TimeoutError, and the subscription goes on."""
    run_id = server.create_run()
    recorder = Recorder()
    subscription = client.subscribe_to_run(run_id, **recorder.options)
    with pytest.raises(TimeoutError) as caught:
        subscription.wait_for_completion(timeout)
    assert isinstance(caught.value, WaitTimeout)
    assert not caught.value.terminal
    server.complete_run(run_id, output=1)
    assert subscription.result(5) == 1
    assert recorder.errors == []


@pytest.mark.parametrize("timeout", [None, float("inf"), 1e12])
def test_a_wait_may_be_as_long_as_it_likes(server, client, timeout):
    """Even longer than the system can count."""
    run_id = server.create_run()
    threading.Timer(0.05, server.complete_run, [run_id]).start()
    assert client.wait_for_completion(run_id, timeout=timeout).is_success


def test_who_waits_learns_of_a_cancellation(server, client):
    """Every waiter raises, whether it began before the cancellation or after."""
    subscription = client.subscribe_to_run(server.create_run())
    raised: list[Exception] = []

    def wait() -> None:
        try:
            subscription.wait_for_completion(10)
        except SubscriptionCancelled as error:
            raised.append(error)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    server.wait_until_held(1)
    subscription.cancel()
    for thread in threads:
        thread.join(5)
    assert len(raised) == 5
    with pytest.raises(SubscriptionCancelled):
        subscription.result()
    assert subscription.state is State.CANCELLED


def test_waiting_inside_its_own_callback_is_refused(server, client):
    """It would never end. Waiting for another subscription there is fine."""
    run_id, other = server.create_run(), server.create_run()
    said: list[Any] = []
    ready = threading.Event()

    def on_update(run: Any) -> None:
        ready.wait(5)
        try:
            subscription.wait_for_completion()
        except RuntimeError as error:
            said.append(error)
        said.append(client.wait_for_completion(other, timeout=5).output)

    subscription = client.subscribe_to_run(run_id, on_update=on_update)
    ready.set()
    server.complete_run(other, output="fine")
    eventually(lambda: len(said) == 2)
    assert type(said[0]) is RuntimeError
    assert said[1] == "fine"


def test_everything_is_told_before_the_waiter_goes_on(server, client):
    """`on_complete` has returned when `wait_for_completion` does."""
    run_id = server.create_run()
    done: list[str] = []

    def on_complete(run: Any) -> None:
        time.sleep(0.05)
        done.append(run.id)

    subscription = client.subscribe_to_run(run_id, on_complete=on_complete)
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert done == [run_id]


def test_it_can_go_on_after_completion(server, client):
    """With `stop_on_completion=False` later changes arrive, and `on_complete` is called once."""
    run_id = server.create_run()
    recorder = Recorder()
    subscription = client.subscribe_to_run(run_id, stop_on_completion=False, **recorder.options)
    server.wait_until_held(1)
    server.complete_run(run_id, output=1)
    assert subscription.wait_for_completion(5).is_finished
    for step in range(3):
        server.update_run(run_id, metadata={"after": step})
        eventually(lambda s=step: recorder.updates[-1].metadata == {"after": s})  # type: ignore[misc]
    assert subscription.state is State.LIVE
    assert len(recorder.completes) == 1


def test_a_callback_that_cancels_at_the_error_keeps_it(raw, connect):
    """Cancelling inside `on_error` does not turn a failure into a cancellation."""
    server = raw(reply(401, {}, {"error": "no"}))
    client = connect(server)
    for _ in range(50):
        subscription = client.subscribe_to_run(
            "run_1", id="x", on_error=lambda error: client.cancel("x")
        )
        with pytest.raises(AuthenticationError):
            subscription.wait_for_completion(5)
        assert subscription.state is State.FAILED


def test_a_stuck_error_callback_holds_no_waiter_for_long(raw, connect):
    """The waiter lets `on_error` go first, but only so long."""
    server = raw(reply(401, {}, {"error": "no"}))
    gate = Gate()
    subscription = connect(server).subscribe_to_run("run_1", on_error=gate)
    assert gate.entered.wait(5)
    started = time.monotonic()
    with pytest.raises(AuthenticationError):
        subscription.wait_for_completion(10)
    assert time.monotonic() - started < 3
    gate.go.set()


def test_the_finished_run_is_the_latest_that_is_known(raw, connect):
    """Its cost may become known after it has finished."""
    later = {**done(version=120), "costInCents": "2.5"}
    client = connect(raw(answer(done()), answer(later, offset="2_1"), hold()))
    subscription = client.subscribe_to_run("run_1", stop_on_completion=False)
    eventually(lambda: subscription.run is not None and subscription.run.cost_in_cents == 2.5)
    assert subscription.wait_for_completion(10).cost_in_cents == 2.5


def test_the_state_goes_from_live_to_completed(server, client):
    """It is never IDLE in between, though a receiver leaves its channel before it has ended."""
    run_id = server.create_run()
    subscription = client.subscribe_to_run(run_id)
    eventually(lambda: subscription.state is State.LIVE)
    seen = set()
    server.complete_run(run_id)
    while State.COMPLETED not in seen:
        seen.add(subscription.state)
    assert seen <= {State.LIVE, State.COMPLETED}
