"""One process of a fleet, measured: `python fleet.py REPOSITORY OPTIONS`, with OPTIONS as JSON.

Answers each line on stdin by a line of JSON: `report` by what came since the last one.
"""

import json
import sys
import threading
import time

sys.path.insert(0, sys.argv[1])

from trigger_realtime_sync import RealtimeClient

OPTIONS = json.loads(sys.argv[2])


class Counter:
    """What the callbacks were told since the last report."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.late: list[float] = []
        self.parts = 0
        self.last_part = 0.0
        self.seen: set[str] = set()
        self.cpu = time.process_time()

    def on_update(self, run) -> None:
        now, metadata = time.time(), run.metadata or {}
        with self.lock:
            self.seen.add(run.id)
            if "at" in metadata:
                self.late.append(now - metadata["at"])

    def on_stream(self, key, parts) -> None:
        with self.lock:
            self.parts += len(parts)
            self.last_part = time.time()

    def report(self) -> dict:
        with self.lock:
            cpu = time.process_time()
            found = {
                "late": self.late,
                "parts": self.parts,
                "last_part": self.last_part,
                "seen": len(self.seen),
                "cpu": cpu - self.cpu,
                "threads": threading.active_count(),
                "mb": memory(),
            }
            self.late, self.parts, self.cpu = [], 0, cpu
            return found


def memory() -> float:
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    shared = None
    if OPTIONS["redis"]:
        from trigger_realtime_sync.sharing import RedisSharing

        shared = RedisSharing(OPTIONS["redis"])
    counter = Counter()
    with RealtimeClient("tr_bench", base_url=OPTIONS["url"], shared=shared) as client:
        for run_id in OPTIONS["runs"]:
            client.subscribe_to_run_with_streams(
                run_id, on_update=counter.on_update, on_stream=counter.on_stream, max_parts=0
            )
        for _ in sys.stdin:
            sys.stdout.write(json.dumps(counter.report()) + "\n")
            sys.stdout.flush()


main()
