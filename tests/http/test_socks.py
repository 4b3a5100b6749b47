"""SOCKS proxies, where PySocks is installed."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.shape import answer, done
from tests.support.waiting import eventually
from trigger_realtime_sync import State

pytest.importorskip("socks")


class SocksProxy:
    """A SOCKS5 proxy without a password. `asked` are the hosts and ports that it connected to."""

    def __init__(self, *, is_mute: bool = False) -> None:
        self.asked: list[tuple[str, int]] = []
        self._is_mute = is_mute
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socks5h://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, IndexError, struct.error):
            methods = client.recv(2)[1]
            client.recv(methods)
            if self._is_mute:
                self.asked.append(("", 0))
                return
            client.sendall(b"\x05\x00")
            client.recv(4)
            host = client.recv(client.recv(1)[0]).decode()
            (port,) = struct.unpack(">H", client.recv(2))
            self.asked.append((host, port))
            server = socket.create_connection(("127.0.0.1", port))
            self._sockets.append(server)
            client.sendall(b"\x05\x00\x00\x01" + bytes(6))
            threading.Thread(target=_pump, args=(client, server), daemon=True).start()
            _pump(server, client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxy() -> Iterator[SocksProxy]:
    proxy = SocksProxy()
    yield proxy
    proxy.close()


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_run_is_followed_through_it(encrypted, raw, connect, proxy, tls, bundle):
    """With TLS too; the proxy resolves the server's name (socks5h)."""
    server = raw(answer(done()), tls=tls if encrypted else None)
    options: dict[str, Any] = {"verify": bundle} if encrypted else {}
    client = connect(
        server.url.replace("127.0.0.1", "localhost"),
        proxies=dict.fromkeys(("http", "https"), proxy.url),
        **options,
    )
    assert client.wait_for_completion("run_1", timeout=10).is_success
    assert [host for host, _ in proxy.asked] == ["localhost"]


def test_it_can_be_cut_off(connect):
    """While the proxy does not answer."""
    mute = SocksProxy(is_mute=True)
    subscription = connect("http://api.example", proxies={"http": mute.url}).subscribe_to_run(
        "run_1"
    )
    eventually(lambda: mute.asked)
    subscription.cancel()
    assert subscription.state is State.CANCELLED
    mute.close()
