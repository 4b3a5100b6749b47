"""Where a test has stopped the time: waits and time-outs go by a clock that goes on."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import freezegun
import pytest
import time_machine

import trigger_realtime_sync
from tests.support.waiting import Gate, Recorder, eventually
from trigger_realtime_sync import WaitTimeout
from trigger_realtime_sync._clock import monotonic

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
Stop = Callable[[], AbstractContextManager[Any]]


@pytest.fixture(params=["freezegun", "time_machine"])
def stopped(request):
    """Return what stops the time for a block."""
    if request.param == "freezegun":
        return lambda: freezegun.freeze_time(NOW)
    return lambda: time_machine.travel(NOW, tick=False)


def test_a_wait_ends(server, client, stopped):
    """At its time-out, and with its run."""
    run_id = server.create_run()
    with stopped():
        with pytest.raises(WaitTimeout):
            client.wait_for_completion(run_id, timeout=0.2)
        subscription = client.subscribe_to_run(run_id)
        eventually(lambda: subscription.run is not None)
        updates = subscription.updates(timeout=0.2)
        next(updates)
        with pytest.raises(WaitTimeout):
            next(updates)
        server.complete_run(run_id)
        assert client.wait_for_completion(run_id, timeout=10).is_success


def test_throttled_news_is_told(server, client, stopped):
    """The last one too."""
    run_id = server.create_run()
    recorder = Recorder()
    with stopped():
        client.subscribe_to_run(run_id, throttle_in_ms=50, **recorder.options)
        recorder.wait("update")
        for number in range(3):
            server.update_run(run_id, metadata={"n": number})
        eventually(lambda: recorder.updates[-1].metadata == {"n": 2})


def test_a_failure_is_retried(server, client, stopped):
    """The pause between two attempts ends."""
    run_id = server.create_run()
    with stopped():
        server.fail_next(status=503)
        server.complete_run(run_id)
        assert client.wait_for_completion(run_id, timeout=10).is_success


def test_a_blocked_callback_holds_up_no_cancel(server, client, stopped):
    """It is waited for no longer than usual."""
    gate = Gate()
    with stopped():
        subscription = client.subscribe_to_run(server.create_run(), on_update=gate)
        assert gate.entered.wait(10)
        subscription.cancel()
        gate.go.set()


def test_callbacks_see_the_stopped_time(server, client):
    """It is theirs: only our own waits go by another clock."""
    seen: list[float] = []
    with freezegun.freeze_time(NOW):
        client.subscribe_to_run(server.create_run(), on_update=lambda run: seen.append(time.time()))
        eventually(lambda: seen)
    assert seen == [NOW.timestamp()]


def test_the_clock_is_the_one_of_the_system():
    """Deadlines are compared with those of the standard library."""
    assert abs(monotonic() - time.monotonic()) < 1


def test_no_room_has_another_clock():
    """Two clocks in one subtraction differ by years where one of them is stopped."""
    root = Path(trigger_realtime_sync.__file__).parent
    rooms = [path for path in root.rglob("*.py") if path.name != "_clock.py"]
    users = {"cli", "contrib", "testing"}
    inside = [path for path in rooms if path.relative_to(root).parts[0] not in users]
    assert len(inside) > 50
    assert [path.name for path in inside if uses_the_clock_of_time(path)] == []


def uses_the_clock_of_time(path: Path) -> bool:
    """Whether the code, not the text around it, names `time.monotonic`."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "monotonic"
        and isinstance(node.value, ast.Name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
