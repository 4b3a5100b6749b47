"""A real Redis for tests, on a port of the system's: killed, frozen and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support.waiting import eventually

SERVER = shutil.which("redis-server")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Redis:
    """One `redis-server`.

    Args:
        aof: whether it writes down every change at once.
        options: of its command line.
    """

    def __init__(self, *options: str, aof: bool = False) -> None:
        assert SERVER is not None
        self.port = free_port()
        self.folder = tempfile.mkdtemp(prefix="redis")
        self._options = [*options, *(["--appendonly", "yes", "--appendfsync", "always"] * aof)]
        self.process: subprocess.Popen[bytes]
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, with the data that it has written down."""
        command = [str(SERVER), "--port", str(self.port), "--dir", self.folder, "--save", ""]
        self.process = subprocess.Popen(
            [*command, "--bind", "127.0.0.1", *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers, "redis-server does not answer")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def client(self, **options: Any) -> Any:
        import redis

        return redis.Redis.from_url(self.url, **options)

    def command(self, *words: Any) -> Any:
        """Send one command on a connection of its own."""
        client = self.client()
        try:
            return client.execute_command(*words)
        finally:
            client.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def lose_data(self) -> None:
        """Forget what was written down. Only while it is down."""
        for path in Path(self.folder).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def freeze(self, seconds: float) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
