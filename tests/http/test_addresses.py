"""A host of several addresses, of which some lead nowhere (RFC 8305)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.shape import answer, done
from tests.support.waiting import eventually
from trigger_realtime_sync import ApiConnectionError, Timeouts
from trigger_realtime_sync._http.addresses import STAGGER_SECONDS, Addresses
from trigger_realtime_sync._http.call import Call, Interrupted
from trigger_realtime_sync._http.session import HttpOptions, Transport

V4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
V6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "")


@pytest.fixture
def nowhere() -> Iterator[int]:
    """A port that answers no attempt to connect, as an address without a route."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = []
        # Until the queue is full.
        while True:
            one = socket.socket()
            one.settimeout(0.2)
            waiting.append(one)
            try:
                one.connect(address)
            except TimeoutError:
                break
        yield address[1]
        for one in waiting:
            one.close()


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let every name have these ports of this machine as its addresses."""

    def set_ports(*ports: int) -> None:
        infos = [(*V4, ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments: infos)

    return set_ports


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ports that were tried, in order."""
    ports: list[int] = []
    original: Any = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        ports.append(address[1])
        original(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return ports


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def test_the_next_address_is_tried_soon(raw, connect, nowhere, resolve, tried):
    """And the one that worked comes first from then on, for each new connection."""
    server = raw(answer(done(), connection="close"))
    port = port_of(server.url)
    resolve(nowhere, port)
    client = connect("http://api.example")
    started = time.monotonic()
    assert client.wait_for_completion("run_1", timeout=5).is_success
    assert STAGGER_SECONDS * 0.9 < time.monotonic() - started < 3
    assert tried == [nowhere, port]
    assert client.wait_for_completion("run_1", timeout=5).is_success
    assert tried == [nowhere, port, port]


def test_one_that_refuses_is_left_at_once(raw, connect, resolve, tried):
    """The next one need not wait."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refused, port = taken.getsockname()[1], port_of(raw(answer(done())).url)
        resolve(refused, refused, refused, port)
        assert connect("http://api.example").wait_for_completion("run_1", timeout=5).is_success
    assert tried == [refused, refused, refused, port]


def test_a_remembered_address_that_has_gone(raw, connect, nowhere, resolve, tried):
    """It is only the first one to be tried."""
    server, other = raw(answer(done(), connection="close")), raw(answer(done()))
    addresses = [port_of(server.url), port_of(other.url)]
    resolve(*addresses)
    client = connect("http://api.example")
    assert client.wait_for_completion("run_1", timeout=5).is_success
    resolve(nowhere, addresses[1])
    assert client.wait_for_completion("run_1", timeout=5).is_success
    assert tried == [addresses[0], nowhere, addresses[1]]


def test_all_of_them_together_have_the_time_of_one(nowhere, resolve):
    """`Timeouts.connect` bounds the making of a connection, and no descriptor is left."""
    resolve(*[nowhere] * 5)
    transport = Transport(HttpOptions(timeouts=Timeouts(connect=0.4)))
    started = time.monotonic()
    with pytest.raises(ApiConnectionError, match="timed out"):
        transport.get("http://api.example/x", call=Call(), label="test", token="tr_x")
    assert 0.3 < time.monotonic() - started < 2
    transport.close()


def test_within_a_short_time_each_has_its_turn(raw, connect, nowhere, resolve):
    """Shorter than the usual time between two addresses."""
    resolve(nowhere, nowhere, port_of(raw(answer(done())).url))
    client = connect("http://api.example", timeouts=Timeouts(connect=0.15))
    assert client.wait_for_completion("run_1", timeout=10).is_success


@pytest.mark.parametrize("count", [1, 3])
def test_it_can_be_cut_off(count, nowhere, resolve, tried):
    """While it waits for whichever address."""
    resolve(*[nowhere] * count)
    transport, call = Transport(HttpOptions(timeouts=Timeouts(connect=30))), Call()
    ended: list[Any] = []

    def get() -> None:
        try:
            transport.get("http://api.example/x", call=call, label="test", token="tr_x")
        except Interrupted as error:
            ended.append((error, time.monotonic()))

    thread = threading.Thread(target=get)
    thread.start()
    eventually(lambda: len(tried) == count)
    cut = time.monotonic()
    call.interrupt()
    thread.join(5)
    assert ended[0][1] - cut < 1
    transport.close()


def test_families_take_turns():
    """The order of the system within each; what worked last is first."""
    infos: list[Any] = [(*V6, ("::1", n)) for n in range(3)] + [(*V4, ("127.0.0.1", 9))]
    addresses = Addresses()
    v6, v4 = infos[:3], infos[3]
    assert addresses.ordered(infos) == [v6[0], v4, v6[1], v6[2]]
    addresses.worked(v4[4])
    assert addresses.ordered(infos) == [v4, v6[0], v6[1], v6[2]]
    addresses.worked(("192.0.2.1", 9))
    assert addresses.ordered(infos) == [v6[0], v4, v6[1], v6[2]]
