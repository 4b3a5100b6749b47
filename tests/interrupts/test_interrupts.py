"""Cancelling, closing and raising where the main thread, or any other, was interrupted.

`storm.py` does it for minutes: see docs/reliability.md.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.support.raw import hold
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import (
    ClientClosed,
    RealtimeClient,
    State,
    SubscriptionCancelled,
)
from trigger_realtime_sync._receivers.interrupted import is_inside
from trigger_realtime_sync.testing import RealtimeServer

ROOT = Path(__file__).parents[2]
STORM_SECONDS = 6


@pytest.mark.parametrize("options", [["--seed", "1"], ["--seed", "2", "--raising"]])
def test_a_storm_of_signals_and_collections(options):
    """Nothing hangs, no callback comes late, no thread and no subscription is left."""
    command = [sys.executable, "-m", "tests.interrupts.storm"]
    command += ["--seconds", str(STORM_SECONDS), *options]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a job of the janitor failed" not in done.stderr


@contextmanager
def inside(function: Any, do: Callable[[], object]) -> Iterator[list[str]]:
    """Do something where a function of ours has begun on this thread, as a signal handler that
    interrupts it would; the list says that it was done."""
    done: list[str] = []

    def trace(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is function.__code__ and not done:
            done.append(function.__qualname__)
            sys.setprofile(None)
            do()

    sys.setprofile(trace)
    try:
        yield done
    finally:
        sys.setprofile(None)


def raise_soft() -> None:
    raise Soft


class Soft(Exception):
    """What a signal handler raises."""


@pytest.fixture
def subscription(raw, connect):
    return connect(raw(hold())).subscribe_to_run("run_1")


def test_cancelling_under_a_lock_of_ours(subscription):
    """The interrupted code holds it: the subscription is CANCELLED at once, and left soon."""
    registry = subscription._seat.registry
    registry.lock.acquire()
    with inside(type(registry).owner, subscription.cancel) as done:
        assert subscription in registry.owners().values()
        registry.owner(subscription.id)
    assert done
    assert subscription.state is State.CANCELLED
    assert registry.slots
    registry.lock.release()
    eventually(lambda: not registry.slots)


def test_waiting_ends_when_a_handler_cancels(subscription):
    """The handler runs in the middle of the wait, on the same thread."""
    before = signal.signal(signal.SIGALRM, lambda *_: subscription.cancel())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(SubscriptionCancelled):
            subscription.wait_for_completion(timeout=10)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_nothing_is_handed_out_once_a_handler_has_cancelled(server, client):
    """Neither by an iterator that has more to give, nor by a callback."""
    run_id = server.create_run()
    recorder = Recorder()
    subscription = client.subscribe_to_run(run_id, **recorder.options)
    server.wait_until_held(1)
    updates = subscription.updates()
    next(updates)
    server.update_run(run_id, metadata={"n": 1})
    recorder.wait("update", 2)
    with inside(type(updates).__next__, subscription.cancel) as done:
        assert list(updates) == []
    assert done


def test_a_closed_client_refuses_at_once(raw, connect):
    """`close()` in the middle of `subscribe_…` on the same thread: what it began is undone."""
    client = connect(raw(hold()))
    client.subscribe_to_run("run_1")
    registry = client._engine.registry
    with inside(type(registry).connect, client.close) as done:
        assert client.subscribe_to_run("run_2").state is State.CANCELLED
    assert done
    with pytest.raises(ClientClosed):
        client.subscribe_to_run("run_3")
    eventually(lambda: not client.subscriptions)


@pytest.mark.parametrize("step", ["_take_in", "connect", "add"])
def test_a_subscribe_that_is_interrupted_is_undone(step, raw, connect):
    """Nobody holds what it began."""
    client = connect(raw(hold()))
    registry = client._engine.registry
    with inside(getattr(type(registry), step), raise_soft) as done, pytest.raises(Soft):
        client.subscribe_to_run("run_1")
    assert done
    eventually(lambda: not client.subscriptions)
    assert client.subscribe_to_run("run_1").state is State.CONNECTING


def test_the_collector_cancels_wherever_it_runs(raw, connect):
    """A `__del__` that cancels, run by the collector inside of everything."""
    client = connect(raw(hold()))

    class Watcher:
        def __init__(self) -> None:
            self.me = self
            self.subscription = client.subscribe_to_run("run_1", id="shared")

        def __del__(self) -> None:
            self.subscription.cancel()

    before = gc.get_threshold()
    gc.set_threshold(20, 2, 2)
    try:
        for _ in range(50):
            Watcher()
    finally:
        gc.set_threshold(*before)
    gc.collect()
    eventually(lambda: not client.subscriptions)


def test_what_counts_as_inside(subscription):
    """A frame of the private rooms, but not one below a callback: no lock is held there."""
    assert not is_inside()
    found: list[bool] = []
    with inside(type(subscription._seat).add_queue, lambda: found.append(is_inside())):
        subscription.updates()
    assert found == [True]


def test_a_finalizer_counts_as_inside():
    """The collector may have called it where a lock of Python's own is held: it waits for nothing,
    or would wait for a janitor that waits for this lock."""
    found: list[bool] = []

    class Watcher:
        def __del__(self) -> None:
            found.append(is_inside())

    Watcher()
    weakref.finalize(State, lambda: found.append(is_inside()))()
    assert found == [True, True]


def test_what_starts_a_thread_counts_as_inside():
    """The janitor starts threads too."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(is_inside()))
    with inside(threading.Thread.start, lambda: found.append(is_inside())):
        thread.start()
    thread.join(5)
    assert found == [True, False]


def test_a_thread_of_the_users_is_not_inside():
    """Nor is one that waits for an event, as main threads do."""
    found: list[bool] = []

    class Own(threading.Thread):
        def run(self) -> None:
            with inside(threading.Event.wait, lambda: found.append(is_inside())):
                threading.Event().wait(0.001)
            found.append(is_inside())

    thread = Own()
    thread.start()
    thread.join(5)
    assert found == [False, False]


def test_a_callback_is_not_inside(server, client):
    """It may cancel and wait."""
    found: list[bool] = []
    subscription = client.subscribe_to_run(
        server.create_run(), on_update=lambda run: found.append(is_inside())
    )
    assert eventually(lambda: found) == [False]
    subscription.cancel()


def test_the_janitor_ends_with_the_last_subscription(subscription):
    """It is there while something is subscribed."""
    names = [thread.name for thread in threading.enumerate()]
    assert "trigger-realtime janitor" in names
    subscription.cancel()
    eventually(
        lambda: "trigger-realtime janitor" not in [one.name for one in threading.enumerate()]
    )


def test_closing_in_a_handler_ends_all_threads():
    """Those of a client that follows something."""
    with RealtimeServer() as server:
        client = RealtimeClient("tr_dev_x", base_url=server.url)
        subscription = client.subscribe_to_run(server.create_run())
        with inside(type(subscription._seat).add_queue, client.close) as done:
            subscription.updates()
        assert done
        assert subscription.state is State.CANCELLED
        with pytest.raises(ClientClosed):
            client.subscribe_to_run("run_1")
        eventually(
            lambda: not [t for t in threading.enumerate() if t.name.startswith("trigger-realtime ")]
        )
