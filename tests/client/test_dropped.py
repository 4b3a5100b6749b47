"""A client that is dropped without being closed, as a file may be."""

from __future__ import annotations

import gc
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import scripts
from tests.support.settings import QUICK, TOKEN
from tests.support.waiting import eventually
from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync.contrib._client import ContextClient
from trigger_realtime_sync.testing import RealtimeServer

Drop = Callable[..., list[warnings.WarningMessage]]


@pytest.fixture
def server() -> Iterator[RealtimeServer]:
    with RealtimeServer() as server:
        yield server


@pytest.fixture
def drop(server) -> Iterator[Drop]:
    """Make a client, let it follow something, and drop it; return the warnings."""
    with ExitStack() as stack:

        def dropped(
            follow: Callable[[RealtimeClient], Any],
            kind: Callable[..., RealtimeClient] | None = None,
        ) -> list[warnings.WarningMessage]:
            client = (kind or RealtimeClient)(access_token=TOKEN, base_url=server.url, retry=QUICK)
            engine = client._engine
            stack.callback(lambda: engine.close(time.monotonic() + 10))
            held = follow(client)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                del client
                gc.collect()
            del held
            return [one for one in told if one.category is ResourceWarning]

        yield dropped


@pytest.fixture
def run_id(server) -> str:
    return str(server.create_run(tags=["a"], status="EXECUTING", realtime_streams=["text"]))


def test_it_says_what_is_still_followed(server, drop, run_id):
    """With what its user may search for, where it was dropped, and without its token."""
    (told,) = drop(lambda client: client.subscribe_to_run(run_id))
    assert str(told.message) == (
        f"unclosed RealtimeClient of {server.url}, which goes on to follow run {run_id}:"
        " close() it, or use it in a with statement"
    )
    assert told.filename == __file__
    assert TOKEN not in str(told.message) + repr(told.source)


def test_it_goes_on(server, drop, run_id):
    """Who only gave callbacks is still called."""
    told = threading.Event()
    assert drop(lambda client: client.subscribe_to_run(run_id, on_complete=lambda run: told.set()))
    server.complete_run(run_id)
    assert told.wait(10)


@pytest.mark.parametrize(
    "follow",
    [
        lambda client, run_id: client.subscribe_to_run_with_streams(run_id, on_stream=print),
        lambda client, run_id: client.subscribe_to_stream(run_id, "text").updates(),
        lambda client, run_id: client.subscribe_to_runs_with_tag("a", on_update=print).updates(),
        lambda client, run_id: client.subscribe_to_run(run_id, access_token=lambda: TOKEN),
        lambda client, run_id: client.handle(run_id).subscribe(),
    ],
)
def test_no_thread_keeps_the_client(drop, run_id, follow):
    """Neither do streams, iterators, token functions and what handles subscribed to."""
    assert len(drop(lambda client: follow(client, run_id))) == 1


def test_no_callback_in_a_context_keeps_the_client(drop, run_id):
    """The client of an application passes its context on, not itself."""
    made = lambda **options: ContextClient(ExitStack, **options)  # noqa: E731
    assert len(drop(lambda client: client.subscribe_to_run(run_id, on_update=print), made)) == 1


def test_it_is_garbage_at_once(server):
    """Without waiting for the collector, as a file is."""
    client = RealtimeClient(TOKEN, base_url=server.url)
    assert client.wait_for_completion(server.create_run(status="COMPLETED"), timeout=10).is_success
    reference = weakref.ref(client)
    gc.disable()
    try:
        del client
        assert reference() is None
    finally:
        gc.enable()


def _cancel(client: RealtimeClient, run_id: str) -> None:
    client.subscribe_to_run(run_id).cancel()


def _close(client: RealtimeClient, run_id: str) -> None:
    client.subscribe_to_run(run_id)
    client.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda client, run_id: None,
        _cancel,
        _close,
        lambda client, run_id: client.subscribe_to_run(run_id, enabled=False),
        lambda client, run_id: client.handle(run_id),
    ],
)
def test_nothing_is_said_of_one_that_has_nothing_running(drop, run_id, use):
    """It was closed, or all is cancelled or not enabled, or its handle still holds it."""
    assert drop(lambda client: use(client, run_id)) == []


def test_nothing_is_said_of_one_whose_runs_are_complete(server, drop, run_id):
    """What has ended by itself needs no closing."""
    server.complete_run(run_id)

    def follow(client: RealtimeClient) -> None:
        client.wait_for_completion(run_id, timeout=10)
        client.subscribe_to_run(run_id).wait_for_completion(10)
        eventually(lambda: not client.subscriptions)

    assert drop(follow) == []


def test_a_handle_is_the_last_to_hold_it(drop, run_id):
    """As long as a handle can follow on, nothing was dropped."""
    held: list[Any] = []

    def follow(client: RealtimeClient) -> None:
        client.subscribe_to_run(run_id)
        held.append(client.handle(run_id))

    assert drop(follow) == []
    with pytest.warns(ResourceWarning, match="unclosed"):
        held.clear()


SCRIPT = """
import gc, os, sys
from trigger_realtime_sync import RealtimeClient
client = RealtimeClient("tr_secret", base_url=sys.argv[1])
next(client.subscribe_to_run(sys.argv[2]).updates())
"""


def _errors_of(server: Any, run_id: str, script: str) -> str:
    ran = scripts.run(SCRIPT + script, server.url, run_id)
    assert ran.code == 0, ran
    assert "tr_secret" not in ran.err
    return ran.err


def test_a_script_that_drops_it_is_told(server, run_id):
    """Where warnings are shown, on stderr; and it ends all the same."""
    assert "unclosed RealtimeClient" in _errors_of(server, run_id, "del client\n")


def test_nothing_is_said_at_the_end_of_the_process(server, run_id):
    """A client is made to be kept: the end closes it."""
    assert _errors_of(server, run_id, "print('END')\n") == ""


IN_CHILD = """
pid = os.fork()
if pid == 0:
    del client
    gc.collect()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
client.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_nothing_is_said_in_a_forked_child(server, run_id):
    """What it inherited is its parent's."""
    assert _errors_of(server, run_id, IN_CHILD) == ""


def test_nothing_is_said_in_a_child_whose_fork_went_unnoticed(drop, run_id):
    """As uwsgi forks, without Python's hooks: what is followed is another process's."""

    def follow(client: RealtimeClient) -> None:
        client.subscribe_to_run(run_id)
        client._engine.registry._process = os.getppid()

    assert drop(follow) == []
