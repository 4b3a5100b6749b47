"""Web servers and workers as processes, and browsers that are only a socket."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.contrib.events import Event, events_of
from tests.support.settings import TOKEN
from tests.support.waiting import eventually

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"


def stop_seconds() -> float:
    """Return the allowed seconds: two on an idle machine, and never gunicorn's 30."""
    return min(15.0, 2.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Process:
    """A process and its children, in a group of their own; ended at the end of the block."""

    def __init__(
        self, *command: str, cwd: Path = HERE, env: Mapping[str, str] | None = None, log: Path
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                command,
                cwd=cwd,
                env={**_clean_environment(), **(env or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for_port(self, port: int, seconds: float = 20.0) -> None:
        eventually(lambda: self._accepts(port), f"nobody listens: {self.log}", seconds)

    def wait_for_log(self, text: str, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert self.popen.poll() is None, f"it ended: {self.log}"
            assert time.monotonic() < deadline, f"no {text!r} in: {self.log}"
            time.sleep(0.02)

    def seconds_to_stop(self, number: int = signal.SIGTERM) -> float:
        """Send a signal to the process alone, and return the seconds until it is gone."""
        started = time.monotonic()
        self.popen.send_signal(number)
        try:
            self.popen.wait(15)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not stop: {self.log}") from None
        return time.monotonic() - started

    def _accepts(self, port: int) -> bool:
        assert self.popen.poll() is None, f"it ended: {self.log}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False


def _clean_environment() -> dict[str, str]:
    names = ("PYTHONPATH", "PYTEST_CURRENT_TEST", "GUNICORN_CMD_ARGS")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "TRIGGER_SECRET_KEY": TOKEN, "PYTHONUNBUFFERED": "1"}


def python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)


class Browser:
    """An `EventSource`: reads the events of a URL, and remembers the id of the last."""

    def __init__(self, port: int, path: str, last_event_id: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        self._connection.request("GET", path, headers=headers)
        self._socket = self._connection.sock
        self.response = self._connection.getresponse()
        self.worker = self.response.headers.get("X-Worker")
        self.last_event_id = last_event_id
        self._events = events_of(self._chunks())

    def __iter__(self) -> Iterator[Event]:
        for event in self._events:
            self.last_event_id = event.id or self.last_event_id
            if event.name:
                yield event

    def next(self, name: str) -> Event:
        for event in self:
            if event.name == name:
                return event
        raise AssertionError(f"it ended without {name}")

    def until(self, seen: Any) -> list[Event]:
        """Return events until `seen(events)` is true."""
        events: list[Event] = []
        for event in self:
            events.append(event)
            if seen(events):
                return events
        raise AssertionError(f"it ended after {events}")

    def close(self) -> None:
        """Close the tab."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.response.close()
        self._connection.close()

    def _chunks(self) -> Iterator[bytes]:
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            while data := self.response.read1(65536):
                yield data


def get(port: int, path: str) -> str:
    """Return the body of a page."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
