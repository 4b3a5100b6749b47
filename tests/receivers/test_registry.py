"""The registry on its own, with channels that read nothing."""

from __future__ import annotations

import threading
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
    """A channel whose thread has ended as soon as it was started."""

    last_contact = None

    def __init__(self, view: RunView) -> None:
        self.view = view

    def start(self, started: Callable[[threading.Thread], None]) -> None:
        thread = CountedThread(daemon=True)
        started(thread)
        thread.start()
        thread.join()

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


def test_a_start_does_not_look_at_every_thread():
    """A thousand starts look at a few thousand threads, not at half a million."""
    registry = Registry(lambda target, view: SilentChannel(view), max_cached=0)  # type: ignore[arg-type, return-value]
    CountedThread.asked = 0
    for number in range(1_000):
        registry.add(seat_of(registry, f"run_{number}"), None, enabled=True)
    looked = CountedThread.asked
    assert registry.join(0.0) == []
    registry.cancel_all()
    # `join` of a thread asks too, once when it starts.
    assert looked < 4_000


def test_threads_that_live_are_joined_however_many_have_ended():
    """Pruning forgets only threads that have ended."""
    registry = Registry(lambda target, view: SilentChannel(view), max_cached=0)  # type: ignore[arg-type, return-value]
    end = threading.Event()
    lives = threading.Thread(target=end.wait, daemon=True)
    registry.remember_thread(lives)
    lives.start()
    for number in range(500):
        registry.add(seat_of(registry, f"run_{number}"), None, enabled=True)
    assert registry.join(0.0) == [lives]
    end.set()
    lives.join()
    assert registry.join(0.0) == []
    registry.cancel_all()


def test_a_seat_has_the_id_of_its_slot():
    """An id of the user's, or one that is generated."""
    registry = Registry(lambda target, view: SilentChannel(view), max_cached=0)  # type: ignore[arg-type, return-value]
    named, generated = seat_of(registry, "run_1"), seat_of(registry, "run_1")
    registry.add(named, "mine", enabled=False)
    registry.add(generated, None, enabled=False)
    assert named.id == "mine"
    assert generated.id.startswith("run-")
    assert list(registry.slots) == ["mine", generated.id]
    registry.cancel_all()
    assert list(registry.slots) == []
