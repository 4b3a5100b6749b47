"""The official SDK's writer of v2 streams, in a Node process of its own (`interop/writer.mjs`)."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from typing import Any

from tests.interop.official import HERE
from tests.s2.process import CREATING, stream_name


class Writer:
    """Writes parts `first` to `first + count - 1` of a stream, `together` of them at a time."""

    def __init__(
        self,
        endpoint: str,
        run_id: str,
        key: str,
        *,
        first: int = 0,
        count: int,
        pause_ms: float = 20,
        together: int = 10,
        size: int = 0,
    ) -> None:
        options = {
            "endpoint": endpoint,
            "basin": CREATING,
            "stream": stream_name(run_id, key),
            "first": first,
            "count": count,
            "pause": pause_ms,
            "together": together,
            "size": size,
        }
        self._process = subprocess.Popen(
            ["node", "writer.mjs", json.dumps(options)],
            cwd=HERE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._changed = threading.Condition()
        self._written = 0
        self._last: dict[str, Any] = {}
        threading.Thread(target=self._listen, name="official writer", daemon=True).start()

    def wait_until_written(self, count: int, seconds: float = 60.0) -> bool:
        """Block until so many parts were handed to it. Return False if it has given up before."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._written >= count or self._last, seconds)
            return self._written >= count

    def wait(self, seconds: float = 120.0) -> str | None:
        """Block until it has ended. Return its error, None if S2 has acknowledged every part."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._last, seconds), "the writer does not end"
        self._process.wait(10)
        return None if self._last.get("done") else str(self._last.get("error", "it was killed"))

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        last: dict[str, Any] = {}
        with self._process.stdout as lines:
            for line in lines:
                last = json.loads(line)
                with self._changed:
                    self._written = last.get("written", self._written)
                    self._changed.notify_all()
        with self._changed:
            self._last = last or {"error": "it said nothing"}
            if "written" in self._last:
                self._last = {"error": "it was killed"}
            self._changed.notify_all()
