"""Browsers on one worker of an ASGI server, all looking at the same run.

    python -m benchmarks.browsers [--server uvicorn] [--browsers 1000] [--changes 20]

Prints the threads and the memory of the worker, the connections to the API, and how long a change
takes until the last browser has it. Needs the extras `fastapi` and `web`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import attrs

from tests.contrib.processes import HERE, Process, free_port, get, python
from trigger_realtime_sync.testing import RealtimeServer

COMMANDS = {
    "uvicorn": ["uvicorn", "--log-level", "warning", "--host", "127.0.0.1", "--port", "{port}"],
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:{port}"],
    "daphne": ["daphne", "--bind", "127.0.0.1", "--port", "{port}"],
}


class Browser:
    """Reads the events of a run, and remembers the newest number that it has seen."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._path = path
        self.newest = -1

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def close(self) -> None:
        self._writer.close()

    async def wait_for(self, number: int) -> float:
        """Return when the browser has this number, or a later one."""
        while self.newest < number:
            line = await self._reader.readline()
            assert line, "the browser was disconnected"
            if line.startswith(b"data: "):
                self.newest = json.loads(line[6:])["metadata"]["n"]
        return time.perf_counter()


@attrs.frozen
class Measured:
    """What was found.

    Attributes:
        took: the seconds that each change took until the last browser had it.
        worker: threads and megabytes of the worker, with all browsers connected.
        connections: open connections to the API then.
    """

    took: list[float]
    worker: dict[str, Any]
    connections: int


async def measure(server: RealtimeServer, port: int, options: argparse.Namespace) -> Measured:
    """Connect the browsers, and let them see some changes."""
    run_id = server.create_run(status="EXECUTING", metadata={"n": 0})
    browsers = [Browser(port, f"/runs/{run_id}/events") for _ in range(options.browsers)]
    for start in range(0, len(browsers), 50):
        some = browsers[start : start + 50]
        await asyncio.gather(*(one.connect() for one in some))
        await asyncio.gather(*(one.wait_for(0) for one in some))
    took = []
    for number in range(1, options.changes + 1):
        await asyncio.to_thread(server.wait_until_held, 1)
        started = time.perf_counter()
        server.update_run(run_id, metadata={"n": number})
        seen = await asyncio.gather(*(one.wait_for(number) for one in browsers))
        took.append(max(seen) - started)
    await asyncio.to_thread(server.wait_until_held, 1)
    worker = json.loads(await asyncio.to_thread(get, port, "/threads"))
    measured = Measured(took, worker, server.open_connections)
    for browser in browsers:
        browser.close()
    return measured


def main() -> None:
    """Measure, and print one line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--server", choices=sorted(COMMANDS), default="uvicorn")
    parser.add_argument("--browsers", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=20)
    options = parser.parse_args()
    # A socket for each browser, here and there.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    with RealtimeServer() as server, tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [part.format(port=port) for part in COMMANDS[options.server]]
        app = python("-m", *command, "asgi_app:fastapi_app")
        log = Path(folder) / "server.log"
        environment = {"TRIGGER_API_URL": server.url}
        with Process(*app, cwd=HERE / "apps", env=environment, log=log) as process:
            process.wait_for_port(port)
            before = json.loads(get(port, "/threads"))
            measured = asyncio.run(measure(server, port, options))
    sys.stdout.write(_line(options, before, measured) + "\n")


def _line(options: argparse.Namespace, before: dict[str, Any], measured: Measured) -> str:
    return (
        f"{options.server}, {options.browsers} browsers: {measured.worker['threads']} threads"
        f" ({before['threads']} without), {measured.worker['megabytes']} MB"
        f" ({before['megabytes']}), {measured.connections} connections to the API,"
        f" {1000 * statistics.median(measured.took):.0f} ms until the last browser has a change"
    )


if __name__ == "__main__":
    main()
