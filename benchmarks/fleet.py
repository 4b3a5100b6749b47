"""Measures a fleet that shares by a Redis beside the same processes without it.

    benchmarks/run fleet
    benchmarks/run fleet --processes 6 --runs 10 --seconds 10

follows the same runs, each with a stream, in all processes, against the test server: first each for
itself, then shared. Counts connections at the server, and CPU at rest, under light and under full
load (5 and 30 changes a second, each told to all processes); changes are timed from the write at
the server to the callback.

Needs Linux, a `redis-server`, and a Python that has the project's requirements.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import attrs

from ._setup import HERE, REPOSITORY

HEAD = (
    "| | held polls, open streams | threads, MB each | CPU at rest | light: p50 / p99, CPU |"
    " full: p50 / p99, CPU | parts a second, each | Redis CPU: rest / light / full, memory |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


@attrs.frozen
class Load:
    """What a stretch of time cost: CPU as shares of one core, latencies in seconds."""

    late: list[float]
    cpu: float
    redis: float

    def shown(self) -> str:
        return f"{_ms(self.late, 0.5)} / {_ms(self.late, 0.99)} ms, {self.cpu:.0%}"


def _ms(late: list[float], share: float) -> str:
    return f"{sorted(late)[int(len(late) * share)] * 1000:.1f}" if late else "-"


class Fleet:
    """Processes that follow the same runs."""

    def __init__(self, processes: int, options: dict[str, Any]) -> None:
        command = [sys.executable, str(HERE / "peers" / "fleet.py"), str(REPOSITORY)]
        self._members = [
            subprocess.Popen(
                [*command, json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]

    def reports(self) -> list[dict[str, Any]]:
        for one in self._members:
            assert one.stdin is not None
            one.stdin.write("report\n")
            one.stdin.flush()
        return [json.loads(one.stdout.readline()) for one in self._members if one.stdout]

    def close(self) -> None:
        for one in self._members:
            assert one.stdin is not None
            one.stdin.close()
        for one in self._members:
            with suppress(subprocess.TimeoutExpired):
                one.wait(20)
            one.kill()
            one.wait()
            assert one.stdout is not None
            one.stdout.close()


@contextmanager
def redis_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a Redis of its own."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    folder = tempfile.mkdtemp()
    command = ["redis-server", "--port", str(port), "--dir", folder, "--save", ""]
    process = subprocess.Popen([*command, "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
    try:
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0", process
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def cpu_of(process: subprocess.Popen[bytes] | None) -> float:
    if process is None:
        return 0.0
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(options: argparse.Namespace, redis: Any) -> str:
    """Return one row of the table."""
    from trigger_realtime_sync.testing import RealtimeServer

    url, process = redis or (None, None)
    with RealtimeServer() as server:
        runs = [server.create_run("task", status="EXECUTING") for _ in range(options.runs)]
        for run in runs:
            server.append(run, "s", 0)
        fleet = Fleet(options.processes, {"url": server.url, "runs": runs, "redis": url})
        try:
            while not all(one["seen"] == len(runs) for one in fleet.reports()):
                time.sleep(0.5)
            time.sleep(5)
            polls, streams = server.held_polls, server.open_streams
            rest = stretch(fleet, process, options.seconds, lambda: time.sleep(0.1))
            few = runs[:5]
            light = stretch(fleet, process, options.seconds, lambda: change(server, few, 0.2))
            full = stretch(fleet, process, options.seconds, lambda: change(server, runs, 0.033))
            speed = parts_a_second(server, fleet, runs[0], options.parts)
            one = fleet.reports()[0]
            memory = memory_of(url) if url else "-"
        finally:
            fleet.close()
    name = "shared" if url else "each for itself"
    cpu = f"{rest.redis:.1%} / {light.redis:.1%} / {full.redis:.1%}, {memory}" if url else "-"
    return (
        f"| {name} | {polls}, {streams} | {one['threads']}, {one['mb']:.0f} | {rest.cpu:.1%}"
        f" | {light.shown()} | {full.shown()} | {speed:,.0f} | {cpu} |"
    )


def change(server: Any, runs: list[str], pause: float) -> None:
    for run in runs:
        server.update_run(run, metadata={"at": time.time()})
        time.sleep(pause)


def stretch(fleet: Fleet, process: Any, seconds: float, work: Any) -> Load:
    fleet.reports()
    began, redis = time.time(), cpu_of(process)
    while time.time() < began + seconds:
        work()
    time.sleep(1)
    reports, took = fleet.reports(), time.time() - began
    late = [one for report in reports for one in report["late"]]
    cpu = sum(report["cpu"] for report in reports) / took
    return Load(late, cpu, (cpu_of(process) - redis) / took)


def parts_a_second(server: Any, fleet: Fleet, run: str, count: int) -> float:
    fleet.reports()
    began, missing = time.time(), [count] * len(fleet._members)
    for at in range(0, count, 50):
        server.append(run, "s", *(f"word {n} " for n in range(at, at + 50)))
    while True:
        reports = fleet.reports()
        missing = [left - one["parts"] for left, one in zip(missing, reports, strict=True)]
        if max(missing) <= 0:
            return count / (max(one["last_part"] for one in reports) - began)
        time.sleep(0.2)


def memory_of(url: str) -> str:
    import redis

    client = redis.Redis.from_url(url)
    used = client.info("memory")["used_memory"]
    client.close()
    return f"{used / 1e6:.1f} MB"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each stretch")
    parser.add_argument("--parts", type=int, default=20_000)
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(REPOSITORY))
    sys.stdout.write(f"{options.processes} processes, {options.runs} runs\n\n{HEAD}\n")
    sys.stdout.write(f"{measure(options, None)}\n")
    sys.stdout.flush()
    with redis_server() as redis:
        sys.stdout.write(f"{measure(options, redis)}\n")


if __name__ == "__main__":
    main()
