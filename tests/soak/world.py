"""The server of the soak test, in a process of its own: its runs live, change and end by chance.

Reads commands as lines of JSON, `{"create": "run"}`, and answers each with one.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from typing import Any

from trigger_realtime_sync.testing import RealtimeServer

# Seconds between two changes of anything, rotations, and cut connections.
CHANGE, ROTATION, CUT = 0.01, 20.0, 45.0
SHARE_OF_ENDS = 0.03


class World:
    """Runs that change until they end."""

    def __init__(self, server: RealtimeServer) -> None:
        self._server = server
        self._rng = random.Random(1)
        # Protects the runs.
        self._lock = threading.Lock()
        self._alive: list[str] = []
        self._tags = 0

    def create(self, kind: str) -> Any:
        if kind == "batch":
            runs = [self._run() for _ in range(3)]
            return {"batch": self._server.batch(*runs)}
        if kind == "tag":
            self._tags += 1
            for _ in range(3):
                self._run(tags=[f"tag {self._tags}"])
            return {"tag": f"tag {self._tags}"}
        streams = ["llm"] if kind == "streams" else []
        return {"run": self._run(realtime_streams=streams)}

    def _run(self, **options: Any) -> str:
        run = self._server.create_run(status="EXECUTING", payload={"a": "x" * 200}, **options)
        with self._lock:
            self._alive.append(run)
        return run

    def change(self) -> None:
        with self._lock:
            if not self._alive:
                return
            run = self._rng.choice(self._alive)
            ends = self._rng.random() < SHARE_OF_ENDS
            if ends:
                self._alive.remove(run)
        if ends:
            self._server.complete_run(run, output={"run": run})
        elif self._rng.random() < 0.5:
            self._server.update_run(run, metadata={"progress": self._rng.random()})
        else:
            self._server.append(run, "llm", *(f"token {n} " for n in range(5)))


def serve(backend: Any) -> None:
    """Until the standard input ends."""
    over = threading.Event()
    with RealtimeServer(backend, ping_interval=5.0) as server:
        world = World(server)

        def repeat(seconds: float, action: Any) -> None:
            def loop() -> None:
                while not over.wait(seconds):
                    action()

            threading.Thread(target=loop, daemon=True).start()

        repeat(CHANGE, world.change)
        repeat(ROTATION, server.rotate)
        repeat(CUT, lambda: server.drop_connections(reset=random.random() < 0.5))
        # The server's own memory must stay small.
        repeat(5.0, server.clear_requests)
        print(json.dumps({"url": server.url}), flush=True)
        for line in sys.stdin:
            print(json.dumps(world.create(json.loads(line)["create"])), flush=True)
        over.set()


if __name__ == "__main__":
    serve(sys.argv[1])
