"""The test server with runs that never change, in a process of its own, told what to do by lines.

Arguments: the folder of the package, the backend, seconds of a hold. Prints its URL; the runs are
`run_0`, …, the tags `tag_0`, …, the batches `batch_0`, …: see `RUNS`, `TAGS` and `BATCHES`. Then it
reads `held COUNT`, which waits for so many held polls; `clear`, which forgets the requests; and
`count`, which counts them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

RUNS, TAGS, BATCHES = 50, 40, 10
# Of each tag and each batch.
MEMBERS = 3
LONGEST = 120.0


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    package, backend, hold = sys.argv[1:4]
    sys.path.insert(0, package)
    from trigger_realtime_sync.testing import RealtimeServer

    with RealtimeServer(backend, hold=float(hold)) as server:
        _fill(server)
        say(server.url)
        for line in sys.stdin:
            match line.split():
                case ["held", count]:
                    server.wait_until_held(int(count), LONGEST)
                    say("{}")
                case ["clear"]:
                    server.clear_requests()
                    say("{}")
                case ["count"]:
                    say(json.dumps(_counts(server)))


def _fill(server: Any) -> None:
    create_run, batch = server.create_run, server.batch
    for n in range(RUNS):
        create_run("render-video", id=f"run_{n}", status="EXECUTING")
    for n in range(TAGS):
        for _ in range(MEMBERS):
            create_run("render-video", status="EXECUTING", tags=[f"tag_{n}"])
    for n in range(BATCHES):
        members = [create_run("render-video", status="EXECUTING") for _ in range(MEMBERS)]
        batch(*members, id=f"batch_{n}")


def _counts(server: Any) -> dict[str, int]:
    requests = server.requests
    api = sum(request.path.startswith("/api/") for request in requests)
    live = sum(request.live for request in requests)
    return {"all": len(requests), "not_live": len(requests) - live - api, "api": api}


if __name__ == "__main__":
    main()
