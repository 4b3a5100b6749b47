"""The client that the helpers for frameworks make: callbacks run in a context."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.contrib.events import events_of
from tests.support.settings import QUICK, TOKEN
from tests.support.waiting import eventually
from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync.contrib._client import CLIENT_OPTIONS, ContextClient
from trigger_realtime_sync.contrib.sse import Relay, shared
from trigger_realtime_sync.testing import RealtimeServer


class Context:
    """Counts the contexts that were entered, and knows the one that this thread is in."""

    def __init__(self) -> None:
        self.entered = 0
        self._local = threading.local()

    @property
    def active(self) -> bool:
        return getattr(self._local, "active", False)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.entered += 1
        self._local.active = True
        try:
            yield
        finally:
            self._local.active = False


@pytest.fixture
def context() -> Context:
    return Context()


@pytest.fixture
def client(server: RealtimeServer, context: Context) -> Iterator[ContextClient]:
    with ContextClient(context, access_token=TOKEN, base_url=server.url, retry=QUICK) as client:
        yield client


def test_every_kind_of_callback_runs_in_its_context(server, client, context):
    """Each call has a context of its own, also the one that reports an error."""
    run_id = server.create_run(status="EXECUTING")
    server.append(run_id, "text", "a")
    server.complete_run(run_id)
    called: list[tuple[str, bool]] = []

    def on_update(run: Any) -> None:
        called.append(("update", context.active))
        raise RuntimeError("reported to on_error")

    client.subscribe_to_stream(
        run_id,
        "text",
        on_update=on_update,
        on_stream=lambda key, parts: called.append((key, context.active)),
        on_complete=lambda run: called.append(("complete", context.active)),
        on_error=lambda error: called.append(("error", context.active)),
    ).wait_for_completion(10)

    assert set(called) == {
        ("update", True),
        ("text", True),
        ("complete", True),
        ("error", True),
    }
    assert context.entered == len(called)


def test_the_callbacks_of_relays_need_no_context(server, client, context):
    """They only pass data on, once for each browser."""
    run_id = server.create_run()
    server.complete_run(run_id)
    names = [event.name for event in events_of(Relay(shared(client.subscribe_to_run, run_id)))]
    assert "run" in names
    assert context.entered == 0
    eventually(lambda: not client.subscriptions, "the subscription goes on")


def test_the_options_are_those_of_the_client():
    """An option that the client gets is an option of the helpers, too."""
    assert CLIENT_OPTIONS[:2] == ("access_token", "base_url")
    assert set(CLIENT_OPTIONS) == set(inspect.signature(RealtimeClient).parameters)
    with pytest.raises(TypeError, match="nonsense"):
        ContextClient(Context(), nonsense=1)
