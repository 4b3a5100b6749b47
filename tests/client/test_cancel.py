"""Cancelling: at once, whatever it is blocked on, and for good."""

from __future__ import annotations

import gc
import os
import random
import socket
import threading
import time
from contextlib import closing
from typing import Any

import pytest

from tests.support.raw import reply
from tests.support.waiting import Gate, eventually, threads_named
from trigger_realtime_sync import State, Timeouts
from trigger_realtime_sync.testing import RealtimeServer

AT_ONCE = 0.05


def timed_cancel(subscription: Any) -> float:
    started = time.monotonic()
    subscription.cancel()
    return time.monotonic() - started


@pytest.mark.parametrize("backend", ["native", "electric"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_a_held_poll_is_cut_off(backend, encrypted, tls, bundle, connect):
    """`cancel()` returns at once while no header has come, and the socket is gone soon."""
    with RealtimeServer(backend, ssl_context=tls if encrypted else None) as server:
        client = connect(server, verify=bundle if encrypted else True)
        subscription = client.subscribe_to_run(server.create_run())
        server.wait_until_held(1)
        assert timed_cancel(subscription) < AT_ONCE
        server.wait_for_connections(0)
        eventually(lambda: not threads_named("trigger-realtime run-feed"))
        assert timed_cancel(subscription) < AT_ONCE
        assert subscription.state is State.CANCELLED


# Until Python 3.12 the standard library leaves a TLS socket to the garbage collector whose
# connection ended while it was being wrapped.
@pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_at_any_moment(encrypted, tls, bundle, connect):
    """Connecting, shaking hands, asking, answering: no socket, thread or warning is left."""
    rng = random.Random(11)
    with RealtimeServer(ssl_context=tls if encrypted else None) as server:
        run_id = server.create_run()
        client = connect(server, verify=bundle if encrypted else True)
        for _ in range(80):
            subscription = client.subscribe_to_run(run_id)
            time.sleep(rng.random() * 0.012)
            assert timed_cancel(subscription) < 4 * AT_ONCE
        eventually(lambda: not threads_named("trigger-realtime"))
        gc.collect()
        client.close()
        server.wait_for_connections(0, timeout=2)


def test_a_certificate_that_is_not_trusted_ends_it(tls, connect):
    """An unknown authority is a matter of configuration: no attempt after it."""
    with RealtimeServer(ssl_context=tls) as server:
        subscription = connect(server).subscribe_to_run("run_1")
        with pytest.raises(ValueError, match="not trusted"):
            subscription.wait_for_completion(5)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_server_is_cut_off(scheme, connect):
    """A server that accepts and never speaks: no answer, or a TLS handshake that stalls."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        client = connect(f"{scheme}://127.0.0.1:{port}")
        subscription = client.subscribe_to_run("run_1")
        peer, _ = listener.accept()
        with closing(peer):
            # Something was said, so the client is past connecting, and waits for an answer.
            assert peer.recv(10)
            assert timed_cancel(subscription) < AT_ONCE
            peer.settimeout(0.5)
            while peer.recv(65536):
                pass
        eventually(lambda: not threads_named("trigger-realtime run-feed"))


def connecting(port: int) -> int:
    """How many connections to this port are being made or stand."""
    at = f":{port:04X} "
    with open("/proc/net/tcp") as table:
        return sum(at in line.split(maxsplit=3)[2] + " " for line in table)


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="reads /proc")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_connecting_is_no_reason_to_wait(scheme, connect):
    """`cancel()` returns at once while the connection is being made, and its thread ends."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener:
        port = listener.getsockname()[1]
        # A full backlog lets the next ones hang in their connects.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        client = connect(f"{scheme}://127.0.0.1:{port}", timeouts=Timeouts(connect=30.0))
        subscription = client.subscribe_to_run("run_1")
        eventually(lambda: threads_named("trigger-realtime run-feed"))
        eventually(lambda: connecting(port) > len(fillers))
        assert timed_cancel(subscription) < AT_ONCE
        eventually(lambda: not threads_named("trigger-realtime run-feed"))
        for filler in fillers:
            filler.close()


def test_while_it_waits_for_another_attempt(raw, connect):
    """A long Retry-After is no reason to wait."""
    server = raw(reply(503, {"retry-after": "300"}))
    subscription = connect(server).subscribe_to_run("run_1")
    eventually(lambda: subscription.state is State.RETRYING)
    assert timed_cancel(subscription) < AT_ONCE
    eventually(lambda: not threads_named("trigger-realtime run-feed"))


def test_two_hundred_at_once(server, client):
    """All end within a second, and leave neither thread nor connection."""
    for _ in range(200):
        client.subscribe_to_run(server.create_run())
    server.wait_until_held(200, timeout=20)
    started = time.monotonic()
    client.cancel_all()
    assert time.monotonic() - started < 1
    eventually(lambda: not threads_named("trigger-realtime"), seconds=2)
    server.wait_for_connections(0, timeout=2)
    assert dict(client.subscriptions) == {}


def test_from_inside_a_callback(server, client):
    """A callback may cancel its own subscription; what was queued is dropped."""
    for _ in range(30):
        server.create_run(tags=["t"])
    told: list[Any] = []
    ready = threading.Event()

    def on_update(run: Any) -> None:
        ready.wait(5)
        told.append(run)
        subscription.cancel()

    subscription = client.subscribe_to_runs_with_tag("t", on_update=on_update)
    ready.set()
    eventually(lambda: subscription.state is State.CANCELLED)
    eventually(lambda: not threads_named("trigger-realtime"))
    assert len(told) == 1


def test_a_stuck_callback_does_not_hold_cancel(server, client):
    """`cancel()` returns at once, and `close()` within its bound."""
    gate = Gate()
    subscription = client.subscribe_to_run(server.create_run(), on_update=gate)
    assert gate.entered.wait(5)
    assert timed_cancel(subscription) < AT_ONCE
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 3
    gate.go.set()


@pytest.mark.parametrize("how", ["subscription", "id", "all", "close"])
def test_no_callback_begins_after_it_returned(server, connect, how):
    """Hammered with updates: no callback begins after it returned."""
    rng = random.Random(7)
    run_id = server.create_run()
    stop = threading.Event()

    def update() -> None:
        step = 0
        while not stop.is_set():
            step += 1
            server.update_run(run_id, metadata={"step": step})

    thread = threading.Thread(target=update)
    thread.start()
    late = 0
    try:
        for _ in range(20):
            client = connect(server)
            calls = 0
            over = False

            def on_update(run: Any) -> None:
                nonlocal calls, late
                late += over  # noqa: B023 (of this very round)
                calls += 1

            subscription = client.subscribe_to_run(run_id, id="x", on_update=on_update)
            time.sleep(rng.random() * 0.02)
            if how == "subscription":
                subscription.cancel()
            elif how == "id":
                assert client.cancel("x")
            elif how == "all":
                client.cancel_all()
            else:
                client.close()
            over = True
            time.sleep(0.001)
            client.close()
    finally:
        stop.set()
        thread.join()
    assert late == 0


def test_a_closed_client_refuses(server, client):
    """Nothing can be subscribed, everything is cancelled, and closing again is fine."""
    subscription = client.subscribe_to_run(server.create_run())
    idle = client.subscribe_to_run(server.create_run(), enabled=False)
    client.close()
    client.close()
    assert subscription.state is idle.state is State.CANCELLED
    for subscribe in (
        client.subscribe_to_run,
        client.subscribe_to_batch,
        client.subscribe_to_runs_with_tag,
        client.wait_for_completion,
    ):
        with pytest.raises(RuntimeError, match="closed"):
            subscribe("run_1")
    server.wait_for_connections(0)


def test_close_inside_a_callback(server, client):
    """It does not wait for the thread that it is called on."""
    took: list[float] = []

    def on_update(run: Any) -> None:
        started = time.monotonic()
        client.close()
        took.append(time.monotonic() - started)

    client.subscribe_to_run(server.create_run(), on_update=on_update)
    eventually(lambda: took)
    assert took[0] < 1


def test_the_end_of_a_block_cancels(server, client):
    """`with subscription:`"""
    with client.subscribe_to_run(server.create_run()) as subscription:
        server.wait_until_held(1)
    assert subscription.state is State.CANCELLED
