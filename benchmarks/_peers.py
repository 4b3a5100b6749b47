"""Peers and servers as processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._setup import HERE, PYTHON

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LONGEST = 150.0

Command = list[str]


def _python(name: str, *more: str) -> Command:
    return [str(PYTHON), str(HERE / "peers" / name), *more]


OURS, FAST, OFFICIAL = "ours", "ours with orjson", "official client"
REQUESTS, HTTPX, REST = "requests + sseclient-py", "httpx + httpx-sse", "REST, once a second"
BARE, STAGES = "bare", "stages"
PEERS: dict[str, Command] = {
    OURS: _python("ours.py", "--without-orjson"),
    FAST: _python("ours.py"),
    OFFICIAL: ["node", "--expose-gc", str(HERE / "peers" / "official.mjs")],
    REQUESTS: _python("plain_requests.py"),
    HTTPX: _python("plain_httpx.py"),
    REST: _python("rest_polling.py"),
    BARE: _python("bare.py"),
    STAGES: _python("stages.py", "--without-orjson"),
}
# The same clients where they make calls instead of following.
CALLERS: dict[str, Command] = {
    OURS: _python("calling.py", "--without-orjson"),
    OFFICIAL: ["node", str(HERE / "peers" / "calling.mjs")],
    REQUESTS: _python("calling_requests.py"),
}


def once(peer: str, kind: str, *more: object, among: dict[str, Command] = PEERS) -> dict[str, Any]:
    """Runs a peer to its end; what it said."""
    command = [*among[peer], kind, *map(str, more)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, cwd=HERE)
    if done.returncode:
        raise SystemExit(f"{peer}: {kind} failed:\n{done.stderr}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


class Conversation:
    """A process that is told a line and answers with one."""

    def __init__(self, command: Command) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE
        )

    def hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args} ended with {self._process.wait()}")
        return line.strip()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def ask(self, line: str) -> dict[str, Any]:
        self.tell(line)
        return json.loads(self.hear())  # type: ignore[no-any-return]

    def memory(self) -> float:
        """Resident, in KB."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * PAGE / 1024

    def cpu(self) -> float:
        """Seconds, of all threads so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def talking(command: Command) -> Iterator[Conversation]:
    conversation = Conversation(command)
    try:
        yield conversation
    finally:
        conversation.end()


@contextlib.contextmanager
def canned(*names: str) -> Iterator[str]:
    """The URL of a server of bytes made beforehand."""
    with talking([str(PYTHON), str(HERE / "servers" / "canned.py"), *names]) as server:
        yield server.hear()


@contextlib.contextmanager
def answering() -> Iterator[str]:
    """The URL of a server of canned answers to calls."""
    with talking([str(PYTHON), str(HERE / "servers" / "calls.py")]) as server:
        yield server.hear()


@contextlib.contextmanager
def live(runs: int) -> Iterator[tuple[str, Conversation]]:
    """The project's own test server in a process of its own: its URL, and its ear."""
    with talking([str(PYTHON), str(HERE / "servers" / "live.py"), str(runs)]) as server:
        yield server.hear(), server
