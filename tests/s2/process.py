"""An S2 in a process of its own, `s2 lite`, which tests kill, freeze and start again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

COMMAND = "tools/install-s2"
# One basin that creates streams when they are read, as the servers of Trigger.dev have it, and one
# that does not.
CREATING, STRICT = "creating-basin", "strict-basin"
START_SECONDS = 20.0


def binary() -> str | None:
    """Return the path of the S2 that there is: `S2_BINARY`, on the path, or cargo's own folder."""
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "bin"
    return os.environ.get("S2_BINARY") or shutil.which("s2") or shutil.which("s2", path=cargo)


class S2:
    """One S2, at the same port over all its lives.

    Args:
        folder: for its configuration and its log.
        disk: whether what is written outlives the process.
    """

    def __init__(self, folder: Path, *, disk: bool = False) -> None:
        found = binary()
        assert found is not None, "no S2 is installed"
        self._init = folder / "init.json"
        self._log = folder / "s2.log"
        basins = [
            {
                "name": name,
                "config": {"create_stream_on_append": True, "create_stream_on_read": creates},
            }
            for name, creates in ((CREATING, True), (STRICT, False))
        ]
        self._init.write_text(json.dumps({"basins": basins}))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._arguments = [found, "lite", "--port", str(self.port), "--init-file", str(self._init)]
        if disk:
            root = folder / "disk"
            root.mkdir()
            self._arguments += ["--local-root", str(root)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def resident_mb(self) -> float:
        assert self._process is not None
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    # --- its life

    def start(self) -> S2:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._arguments, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while not self._is_healthy():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"S2 did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def __enter__(self) -> S2:
        return self.start()

    def __exit__(self, *error: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1):
                return True
        except OSError:
            return False

    # --- its own API

    def append(self, run_id: str, key: str, *records: dict[str, Any], basin: str = CREATING) -> int:
        """Write records at once. Return the number of the first one."""
        answer = self._ask("POST", run_id, key, "/records", basin, {"records": list(records)})
        return int(answer["start"]["seq_num"])

    def append_parts(self, run_id: str, key: str, *parts: tuple[str, Any]) -> int:
        """Write parts in envelopes, each with its id."""
        bodies = [{"data": part, "id": ident} for ident, part in parts]
        return self.append(run_id, key, *({"body": json.dumps(body)} for body in bodies))

    def records(self, run_id: str, key: str, *, basin: str = CREATING) -> list[dict[str, Any]]:
        """Return every record that S2 holds."""
        found: list[dict[str, Any]] = []
        while True:
            start = found[-1]["seq_num"] + 1 if found else 0
            query = f"/records?seq_num={start}&clamp=true&count=1000"
            try:
                records = self._ask("GET", run_id, key, query, basin)["records"]
            except urllib.error.HTTPError as error:
                # The answer at the tail, where nothing is left to read.
                if error.code == 416:
                    return found
                raise
            if not records:
                return found
            found += records

    def delete(self, run_id: str, key: str, *, basin: str = CREATING) -> None:
        self._ask("DELETE", run_id, key, "", basin)

    def _ask(
        self, method: str, run_id: str, key: str, rest: str, basin: str, value: Any = None
    ) -> Any:
        request = urllib.request.Request(
            f"{self.endpoint}/streams/{quote(stream_name(run_id, key), safe='')}{rest}",
            method=method,
            data=None if value is None else json.dumps(value).encode(),
            headers={"S2-Basin": basin, "S2-Format": "raw", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")


def stream_name(run_id: str, key: str) -> str:
    """Return the name by which the server keeps a run's stream in S2, or a session's channel."""
    kind, _, name = run_id.rpartition(":")
    return f"/{kind or 'runs'}/{name}/{key}"


def trim_record(before: int) -> dict[str, Any]:
    """Return the command that trims the records before a number."""
    return {"headers": [["", "trim"]], "body": before.to_bytes(8, "big").decode()}


def parts_of(records: Iterable[dict[str, Any]]) -> list[Any]:
    """Return the parts in records. A write that was retried is there twice, with one id."""
    parts: dict[str, Any] = {}
    for record in records:
        envelope = json.loads(record["body"])
        parts.setdefault(envelope["id"], envelope["data"])
    return list(parts.values())
