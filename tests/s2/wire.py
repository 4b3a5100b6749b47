"""A line between the official writer and S2: it can be cut, and holds on while S2 is away."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

# Seconds that a new connection waits for S2: less than the writer waits for its answer.
AWAY_SECONDS = 15.0


class Wire:
    """Relays bytes to a port of this machine, whatever they are."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        # Protects the sockets.
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._accept, name="wire", daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def cut(self) -> None:
        """End every connection now."""
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), name="wire", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        upstream = self._connect()
        pair = [client] if upstream is None else [client, upstream]
        with self._lock:
            self._sockets.update(pair)
        try:
            while upstream is not None:
                for sock in select.select(pair, [], [])[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    (upstream if sock is client else client).sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._sockets.difference_update(pair)
            for sock in pair:
                sock.close()

    def _connect(self) -> socket.socket | None:
        end = time.monotonic() + AWAY_SECONDS
        while not self._closed and time.monotonic() < end:
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", self._to))
            time.sleep(0.02)
        return None
