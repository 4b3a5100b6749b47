"""An exception out of a signal handler at each moment at which Python calls one, step by step."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from tests.support.raw import hold
from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync import State, WaitTimeout

# What the collector calls can't raise. Python says so, and goes on.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# Python calls a handler where a function begins, and after one written in C has returned.
MOMENTS = frozenset({"call", "c_return"})


class Raised(Exception):
    """What the signal handler raises."""


def interrupt_at(number: int, act: Callable[[], object]) -> bool:
    """Do something, and raise at one of its moments.

    Returns:
        False if it has fewer.
    """
    moments = 0

    def count(frame: FrameType, event: str, _: Any) -> None:
        nonlocal moments
        if event not in MOMENTS:
            return
        moments += 1
        if moments == number:
            sys.setprofile(None)
            raise Raised

    try:
        sys.setprofile(count)
        act()
    except Raised:
        pass
    finally:
        sys.setprofile(None)
    return moments >= number


def interrupt_everywhere(
    act: Callable[[], object], check: Callable[[], object], *, every: int = 1
) -> None:
    """Interrupt something at each of its moments, and check what that has left."""
    number = 1
    while interrupt_at(number, act):
        check()
        number += every
    assert number > 10 * every


@pytest.fixture(autouse=True)
def _no_unborn_threads() -> Iterator[None]:
    """Python lists a thread whose start was interrupted, for ever."""
    yield
    for thread in list(threading._limbo):
        if thread.ident is None:
            del threading._limbo[thread]


@pytest.fixture
def client(raw, connect):
    return connect(raw(hold()))


def is_healthy(client: Any) -> None:
    """Check that nothing is subscribed, and no lock taken: another thread can take all of them."""
    eventually(lambda: not client.subscriptions, "a subscription that nobody holds is left")
    states: list[State] = []

    def subscribe() -> None:
        with client.subscribe_to_run("run_2") as subscription:
            states.append(subscription.state)

    thread = threading.Thread(target=subscribe, daemon=True)
    thread.start()
    thread.join(10)
    assert states == [State.CONNECTING]


def test_a_wait_for_the_end(client):
    """It raises what the handler raised, and nothing else; a later one waits and is woken."""
    subscription = client.subscribe_to_run("run_1")

    def wait() -> None:
        with suppress(WaitTimeout):
            subscription.wait_for_completion(timeout=0.001)

    interrupt_everywhere(wait, lambda: None)
    threading.Timer(0.05, subscription.cancel).start()
    with pytest.raises(Exception, match="cancelled"):
        subscription.wait_for_completion(timeout=10)
    is_healthy(client)


def test_a_wait_for_an_update(client):
    """An iterator goes on where it was."""
    subscription = client.subscribe_to_run("run_1")
    updates = subscription.updates(timeout=0.001)

    def take() -> None:
        with suppress(WaitTimeout):
            next(updates)

    interrupt_everywhere(take, lambda: None)
    subscription.cancel()
    assert list(updates) == []
    is_healthy(client)


def test_a_wait_for_a_part(server, connect):
    """No part is lost that was not handed out."""
    run_id = server.create_run(realtime_streams=["s"])
    client = connect(server)
    subscription = client.subscribe_to_stream(run_id, "s")
    parts = subscription.updates(timeout=0.001)

    def take() -> None:
        with suppress(WaitTimeout):
            next(parts)

    interrupt_everywhere(take, lambda: None)
    server.append(run_id, "s", "a")
    server.complete_run(run_id)
    assert eventually(lambda: subscription.parts) == ["a"]
    assert next(subscription.updates(timeout=10)) == "a"
    subscription.cancel()
    is_healthy(client)


def test_subscribing(client):
    """Nobody holds what it began, so it is undone."""
    held: list[Any] = []

    def check() -> None:
        while held:
            held.pop().cancel()
        is_healthy(client)

    interrupt_everywhere(lambda: held.append(client.subscribe_to_run("run_1")), check, every=3)
    check()


@pytest.mark.parametrize("act", ["cancel", "disable", "enable"])
def test_what_a_subscription_can_do(client, act):
    """A repetition completes it."""
    held: list[Any] = []

    def begin() -> None:
        held.append(client.subscribe_to_run("run_1"))
        if act == "enable":
            held[-1].disable()

    def check() -> None:
        subscription = held[-1]
        getattr(subscription, act)()
        # Another subscriber's, which it shares nothing with but the locks.
        expected = {"cancel": "CANCELLED", "disable": "IDLE", "enable": "CONNECTING"}
        assert subscription.state.value == expected[act]
        subscription.cancel()
        is_healthy(client)
        begin()

    begin()
    interrupt_everywhere(lambda: getattr(held[-1], act)(), check, every=3)
    held[-1].cancel()
    is_healthy(client)


def test_joining_others(server, connect):
    """Enabled again, it is told what they are, wherever the first attempt was interrupted."""
    run_id = server.create_run()
    client = connect(server)
    keeper = client.subscribe_to_run(run_id, id="shared")
    told: list[int] = []
    joining = client.subscribe_to_run(
        run_id,
        id="shared",
        enabled=False,
        on_update=lambda run: told.append((run.metadata or {}).get("n")),
    )
    eventually(lambda: keeper.run)
    numbers = itertools.count(1)

    def check() -> None:
        joining.enable()
        number = next(numbers)
        server.update_run(run_id, metadata={"n": number})
        eventually(lambda: told[-1] == number)
        joining.disable()

    interrupt_everywhere(joining.enable, check, every=3)
    joining.cancel()
    keeper.cancel()
    is_healthy(client)


def test_a_change_of_the_id(client):
    """It is wholly changed, or cancelled."""
    held = [client.subscribe_to_run("run_1")]

    def check() -> None:
        subscription = held[-1]
        eventually(
            lambda: (
                subscription.state is State.CANCELLED
                or (subscription.id == "new" and "new" in client.subscriptions)
                or (subscription.id != "new" and subscription.id in client.subscriptions)
            )
        )
        subscription.cancel()
        is_healthy(client)
        held.append(client.subscribe_to_run("run_1"))

    interrupt_everywhere(lambda: held[-1].change_id("new"), check, every=7)
    held[-1].cancel()


def test_closing(raw, connect):
    """A repetition completes it: no thread is left."""
    server = raw(hold())

    def check() -> None:
        clients[-1].close()
        assert not clients[-1].subscriptions
        begin()

    def begin() -> None:
        clients.append(connect(server))
        clients[-1].subscribe_to_run("run_1")

    clients: list[Any] = []
    begin()
    interrupt_everywhere(lambda: clients[-1].close(), check, every=7)
    clients[-1].close()
    eventually(lambda: not threads_named("run-feed run run_1"))
