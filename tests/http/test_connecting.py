"""Connections that can't be made: each is a connection error with a short message."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from typing import Any

import pytest

from trigger_realtime_sync import ApiConnectionError, Timeouts
from trigger_realtime_sync._http.adapter import WatchedAdapter
from trigger_realtime_sync._http.call import Call
from trigger_realtime_sync._http.connections import MOST_JOINED, WatchedConnection
from trigger_realtime_sync._http.session import HttpOptions, Transport


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "refused"),
        (ConnectionResetError(104, "Connection reset by peer"), "reset"),
        (BrokenPipeError(32, "Broken pipe"), "Broken pipe"),
        (TimeoutError("timed out"), "timed out"),
        (OSError(101, "Network is unreachable"), "unreachable"),
    ],
)
def test_a_failed_connect(failure, words, scheme, monkeypatch):
    """Whatever the system calls it: a reset while connecting is no reset of an answer."""

    def connect(self: socket.socket, address: Any) -> None:
        raise failure

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert words in message_of(f"{scheme}://127.0.0.1:9/x")


def test_a_pool_begins_empty_and_keeps_connections():
    """It contains none of the two thousand placeholders that urllib3 fills a pool with."""
    pool = WatchedAdapter(True).poolmanager.connection_from_url("http://127.0.0.1:9")
    assert pool.pool.qsize() == 0
    connection = pool._get_conn()
    pool._put_conn(connection)
    assert pool._get_conn() is connection


def test_an_unknown_name(monkeypatch):
    """DNS may be down for a while."""

    def unknown(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "Name or service not known" in message_of("http://api.example/x")


def test_the_next_address_is_tried(monkeypatch):
    """A host may have several addresses, and no server may listen at the first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        tried: list[Any] = []
        original: Callable[..., Any] = socket.socket.connect

        def two(*arguments: Any, **options: Any) -> Any:
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, ("127.0.0.1", 1)), (*kind, ("127.0.0.1", port))]

        def connect(self: socket.socket, address: Any) -> None:
            tried.append(address[1])
            original(self, address)

        monkeypatch.setattr(socket, "getaddrinfo", two)
        monkeypatch.setattr(socket.socket, "connect", connect)
        message_of(f"http://api.example:{port}/x", read=0.05)
        assert tried == [1, port]


def message_of(url: str, read: float = 5.0) -> str:
    transport = Transport(HttpOptions(timeouts=Timeouts(connect=5.0, read=read)))
    try:
        with pytest.raises(ApiConnectionError) as caught:
            transport.get(url, call=Call(), label="test", token="tr_x")
        return str(caught.value)
    finally:
        transport.close()


@pytest.mark.parametrize(("size", "pieces"), [(0, 1), (10, 1), (MOST_JOINED + 1, 2)])
def test_a_small_body_is_sent_with_its_head(size, pieces, monkeypatch):
    """One packet, not two; a large one is not copied for that."""
    sent: list[bytes] = []
    plain = http.client.HTTPConnection.send
    monkeypatch.setattr(
        http.client.HTTPConnection,
        "send",
        lambda self, data: (sent.append(bytes(data)), plain(self, data))[1],
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = WatchedConnection("127.0.0.1", listener.getsockname()[1])
        for _ in range(2):
            connection.request("POST", "/x", body=b"x" * size or None)
            with_its_end = b"".join(sent)
            assert with_its_end.startswith(b"POST /x ")
            assert with_its_end.endswith(b"\r\n\r\n" + b"x" * size)
            assert len(sent) == pieces
            sent.clear()
            connection.close()
