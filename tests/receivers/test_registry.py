"""The registry on its own, with channels that read nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from trigger_realtime_sync._channel.run_view import RunView
from trigger_realtime_sync._channel.target import Target
from trigger_realtime_sync._receivers.delivery import Callbacks
from trigger_realtime_sync._receivers.receiver import Receiver
from trigger_realtime_sync._receivers.registry import Registry, Seat


class CountedThread(threading.Thread):
    """A thread that counts how often it is asked whether it lives."""

    asked = 0

    def is_alive(self) -> bool:
        CountedThread.asked += 1
        return super().is_alive()


class SilentChannel:
    """A channel whose thread ends at once."""

    last_contact = None

    def __init__(self, view: RunView) -> None:
        self.view = view

    def start(self, start_thread: Callable[[Callable[[], None], str], None]) -> None:
        start_thread(lambda: None, "silent")

    def attach(self, receiver: Any) -> bool:
        return True

    def detach(self, receiver: Any) -> bool:
        return True


def target(run_id: str) -> Target:
    return Target(
        kind="run", subject=run_id, path=f"/{run_id}", base_url="http://nowhere", token="t"
    )


def seat_of(registry: Registry, run_id: str) -> Seat:
    what = target(run_id)
    receiver = Receiver(registry.pool, Callbacks(), 0.0, stops_on_completion=True, label=what.label)
    return Seat(registry, receiver, what)


def test_a_start_does_not_look_at_every_thread(monkeypatch):
    """A thousand starts look at a few thousand threads, not at half a million."""
    monkeypatch.setattr(threading, "Thread", CountedThread)
    registry = Registry(lambda target, view: SilentChannel(view), max_cached=0)  # type: ignore[arg-type, return-value]
    CountedThread.asked = 0
    for number in range(1_000):
        registry.add(seat_of(registry, f"run_{number}"), None, enabled=True)
    registry.janitor.do(lambda: None, 10)
    looked = CountedThread.asked
    registry.end(registry.all_seats(), is_inside=False)
    # `join` of a thread asks too, once when it starts.
    assert looked < 4_000


def test_threads_that_live_are_joined_however_many_have_ended():
    """Pruning forgets only threads that have ended."""
    registry = Registry(lambda target, view: SilentChannel(view), max_cached=0)  # type: ignore[arg-type, return-value]
    end = threading.Event()
    registry.threads.start(end.wait, "lives")
    for number in range(500):
        registry.add(seat_of(registry, f"run_{number}"), None, enabled=True)
    registry.janitor.do(lambda: None, 10)
    assert [one.name for one in registry.threads.join(0.0)] == ["trigger-realtime lives"]
    end.set()
    assert registry.threads.join(time.monotonic() + 10) == []
    registry.end(registry.all_seats(), is_inside=False)


def test_a_seat_has_the_id_of_its_slot():
    """An id of the user's, or one that is generated."""
    registry = Registry(lambda target, view: SilentChannel(view), max_cached=0)  # type: ignore[arg-type, return-value]
    named, generated = seat_of(registry, "run_1"), seat_of(registry, "run_1")
    registry.add(named, "mine", enabled=False)
    registry.add(generated, None, enabled=False)
    assert named.id == "mine"
    assert generated.id.startswith("run-")
    assert list(registry.slots) == ["mine", generated.id]
    registry.end(registry.all_seats(), is_inside=False)
    assert list(registry.slots) == []
