"""A fleet of real processes over a real Redis, the harm that is done to it, and what must hold."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.redis import Redis
from tests.support.settings import TOKEN
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

ROOT = Path(__file__).parents[2]
LEASE = 1.0
KEPT_BY_V1 = 1000


class Relay:
    """A TCP relay that can drop one direction without closing anything."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.drops: set[str] = set()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closed:
                near, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            far = socket.create_connection(("127.0.0.1", self._to))
            with far:
                while not self._closed:
                    readable, _, _ = select.select([near, far], [], [], 0.5)
                    for one in readable:
                        way, other = ("up", far) if one is near else ("down", near)
                        data = one.recv(65536)
                        if not data:
                            return
                        if way not in self.drops:
                            other.sendall(data)

    def close(self) -> None:
        self._closed = True
        self._listener.close()


class Worker:
    """One process, and what it wrote down."""

    def __init__(self, world: World, number: int) -> None:
        self.number = number
        self.path = world.folder / f"worker-{number}.jsonl"
        self.path.touch()
        options = {
            "out": str(self.path),
            "redis": world.redis_url,
            "lease": LEASE,
            "sharing": {},
            "token": TOKEN,
            "url": world.server.url,
            "runs": world.runs,
        }
        with (world.folder / f"worker-{number}.err").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.sharing.worker", json.dumps(options)],
                stdin=subprocess.PIPE,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                text=True,
                stderr=errors,
            )

    def lines(self) -> list[dict[str, Any]]:
        found = []
        for line in self.path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # torn by a kill
                found.append(json.loads(line))
        return found

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def leads(self) -> list[str]:
        """What it leads now."""
        before = len(self.lines())
        self.say("status")
        return eventually(
            lambda: [one for one in self.lines()[before:] if "led" in one], seconds=30
        )[-1]["led"]

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


class World:
    """Everything, with writers that change all runs all the time."""

    def __init__(
        self,
        *,
        backend: str,
        streams: str,
        workers: int = 3,
        runs: int = 3,
        pause: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.random = random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="fleet"))
        self.server = RealtimeServer(
            backend=backend,  # type: ignore[arg-type]
            streams=streams,  # type: ignore[arg-type]
        ).start()
        self.redis = Redis(aof=True)
        self.relay = Relay(self.redis.port)
        self.redis_url = f"redis://127.0.0.1:{self.relay.port}/0?socket_timeout=2"
        self.runs = [self.server.create_run("task", status="EXECUTING") for _ in range(runs)]
        self.counts = dict.fromkeys(self.runs, 0)
        self.pause = pause
        self._ends = threading.Event()
        self.workers: list[Worker] = []
        self.alive: list[Worker] = []
        for _ in range(workers):
            self.add_worker()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def add_worker(self) -> Worker:
        worker = Worker(self, len(self.workers))
        self.workers.append(worker)
        self.alive.append(worker)
        return worker

    def _write(self) -> None:
        while not self._ends.wait(self.pause):
            for run in self.runs:
                n = self.counts[run]
                self.server.append(run, "s", n)
                self.server.update_run(run, metadata={"n": n})
                self.counts[run] = n + 1

    # What goes wrong.

    def leader(self) -> Worker:
        leading = [one for one in self.alive if one.leads()]
        return self.random.choice(leading or self.alive)

    def do(self, event: str) -> None:
        getattr(self, event)()

    def kill_leader(self) -> None:
        worker = self.leader()
        self.alive.remove(worker)
        worker.kill()
        self.add_worker()

    def stop_leader(self) -> None:
        worker = self.leader()
        worker.signal(signal.SIGSTOP)
        time.sleep(LEASE * self.random.uniform(1.5, 3))
        worker.signal(signal.SIGCONT)

    def lose_redis(self) -> None:
        self.redis.kill()
        self.redis.lose_data()
        time.sleep(self.random.uniform(0.1, 1.5))
        self.redis.start()

    def restart_redis(self) -> None:
        self.redis.kill()
        time.sleep(self.random.uniform(0.1, 1.5))
        self.redis.start()

    def freeze_redis(self) -> None:
        self.redis.freeze(self.random.uniform(0.5, 3))

    def cut_pubsub(self) -> None:
        self.redis.command("CLIENT", "KILL", "TYPE", "pubsub")

    def pause_clients(self) -> None:
        self.redis.command("CLIENT", "PAUSE", 1500)

    def flush(self) -> None:
        self.redis.command("FLUSHALL")

    def cut_one_side(self) -> None:
        self.relay.drops = {self.random.choice(["up", "down"])}
        time.sleep(self.random.uniform(0.5, 3))
        self.relay.drops = set()

    EVENTS = (
        *("kill_leader", "kill_leader", "stop_leader", "lose_redis", "restart_redis"),
        *("freeze_redis", "cut_pubsub", "pause_clients", "flush", "cut_one_side"),
    )

    # What must hold.

    def progress(self) -> dict[str, int]:
        return dict(self.counts)

    def wait_for_news(self, seconds: float = 60.0) -> float:
        """Wait until everybody who lives was told what happened after now; return how long."""
        since = self.progress()
        began = time.monotonic()
        for worker in self.alive:
            eventually(
                lambda worker=worker: self._is_past(worker, since),
                f"worker {worker.number} has no news: {self.folder}",
                seconds=seconds,
            )
        return time.monotonic() - began

    def _is_past(self, worker: Worker, since: dict[str, int]) -> bool:
        states, parts = latest(worker.lines())
        return all(states.get(run, -1) >= n and parts.get(run, 0) > n for run, n in since.items())

    def finish(self, seconds: float = 60.0) -> None:
        """Complete all runs; every worker that lives is told, once."""
        self._ends.set()
        self._writer.join()
        for run in self.runs:
            self.server.complete_run(run, output=1)
        for worker in self.alive:
            eventually(
                lambda worker=worker: len(completions(worker.lines())) == len(self.runs),
                f"worker {worker.number} is not complete: {self.folder}",
                seconds=seconds,
            )

    def check(self) -> tuple[int, int]:
        """Return how many states and parts were told to all that ever lived, none wrong."""
        states = parts = 0
        for worker in self.workers:
            lines = worker.lines()
            assert [one for one in lines if "error" in one] == [], self.folder
            states += check_states(lines, worker.path)
            parts += check_parts(lines, worker.path)
            done = completions(lines)
            assert len(done) == len(set(done)), (worker.path, done)
            if worker in self.alive:
                _, told = latest(lines)
                assert told == self.counts, worker.path
        return states, parts

    def close(self) -> None:
        self._ends.set()
        for worker in self.alive:
            worker.kill()
        self.relay.close()
        self.redis.close()
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def latest(lines: list[dict[str, Any]]) -> tuple[dict[str, int], dict[str, int]]:
    states: dict[str, int] = {}
    parts: dict[str, int] = {}
    for line in lines:
        if "n" in line:
            states[line["run"]] = line["n"]
        elif "parts" in line:
            parts[line["run"]] = line["parts"][-1] + 1
    return states, parts


def completions(lines: list[dict[str, Any]]) -> list[str]:
    return [line["run"] for line in lines if "complete" in line]


def check_states(lines: list[dict[str, Any]], where: Any) -> int:
    """No state goes back, and none comes twice. The first part of a stream changes a run too."""
    last: dict[str, tuple[int, int]] = {}
    count = 0
    for line in lines:
        if "n" in line:
            count += 1
            before, now = last.get(line["run"]), (line["n"], line["streams"])
            is_last = before == now  # the final state changes only the status
            assert before is None or now >= before, (where, before, line)
            assert not is_last or _is_final(lines, line), (where, before, line)
            last[line["run"]] = now
    return count


def _is_final(lines: list[dict[str, Any]], line: dict[str, Any]) -> bool:
    after = [one for one in lines[lines.index(line) + 1 :] if one.get("run") == line["run"]]
    return not any("n" in one for one in after)


def check_parts(lines: list[dict[str, Any]], where: Any) -> int:
    """Every part once and in order. The server keeps the newest thousand of a v1 stream: who comes
    later has no others, once Redis lost them."""
    told: dict[str, list[int]] = {}
    for line in lines:
        if "parts" in line:
            told.setdefault(line["run"], []).extend(line["parts"])
    for parts in told.values():
        first = parts[0] if parts[-1] >= KEPT_BY_V1 else 0
        wrong = [(a, b) for a, b in zip([first - 1, *parts], parts, strict=False) if b != a + 1]
        assert wrong == [], (where, wrong[:5])
    return sum(len(parts) for parts in told.values())
