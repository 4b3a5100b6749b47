"""What users can reach without an underscore is the contract, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import trigger_realtime_sync
from trigger_realtime_sync import (
    RealtimeClient,
    RunsSubscription,
    RunSubscription,
    StreamSubscription,
)
from trigger_realtime_sync.testing import RealtimeServer

EVERY_SUBSCRIPTION = {
    "cancel", "change_id", "disable", "enable", "error", "id", "last_contact", "state", "updates",
    "wait_for_completion",
}  # fmt: skip
CLIENT = {
    "batch_handle", "batch_trigger", "cancel", "cancel_all", "clear_cache", "close",
    "create_public_token", "get", "handle", "runs", "send", "sessions", "sharing",
    "subscribe_to_batch", "subscribe_to_run", "subscribe_to_run_with_streams",
    "subscribe_to_runs_with_streams", "subscribe_to_runs_with_tag", "subscribe_to_session",
    "subscribe_to_stream",
    "subscriptions", "trigger", "wait_for_completion", "wait_tokens",
}  # fmt: skip


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


@pytest.fixture
def client(realtime_server: RealtimeServer) -> Iterator[RealtimeClient]:
    with RealtimeClient("tr_x", base_url=realtime_server.url) as client:
        yield client


def test_a_subscription_has_no_other_names(client):
    """Nobody can end, notify or wake one by a method that was meant for the library itself."""
    run = client.subscribe_to_run("run_1", enabled=False)
    runs = client.subscribe_to_runs_with_tag("t", enabled=False)
    stream = client.subscribe_to_stream("run_1", enabled=False)
    assert isinstance(run, RunSubscription)
    assert isinstance(runs, RunsSubscription)
    assert isinstance(stream, StreamSubscription)
    assert public(run) == EVERY_SUBSCRIPTION | {"dropped_parts", "result", "run", "streams"}
    assert public(runs) == EVERY_SUBSCRIPTION | {"dropped_parts", "runs", "streams"}
    assert public(stream) == EVERY_SUBSCRIPTION | {
        "dropped_parts", "last_event_id", "parts", "run",
    }  # fmt: skip


def test_an_iterator_can_only_be_closed(client):
    """It yields and it closes."""
    assert public(client.subscribe_to_run("run_1", enabled=False).updates()) == {"close"}
    assert public(client.subscribe_to_stream("run_1", enabled=False).updates()) == {"close"}


def test_a_client_has_no_other_names(client):
    """Its methods and the map of subscriptions."""
    assert public(client) == CLIENT


def test_every_name_of_the_package_can_be_imported():
    """`__all__` names nothing that is missing, and `dir()` shows it all."""
    for name in trigger_realtime_sync.__all__:
        assert getattr(trigger_realtime_sync, name) is not None
    assert set(trigger_realtime_sync.__all__) <= set(dir(trigger_realtime_sync))
