"""The test server with few live polls, in a process of its own, told what to do by lines.

Arguments: the folder of the package, the backend, how many live polls it grants, and the subjects
that will be followed: their kinds and ids. Prints its URL. There is a run for each subject. Then it
reads `change SECONDS`, which numbers the changes that it makes, each of a run drawn at random; and
`rates`.
"""

from __future__ import annotations

import json
import random
import sys
import time
from itertools import groupby, pairwise
from typing import Any

# Seconds between two changes of one subscription's run, on average.
BETWEEN = 15.0
# Fewer requests without a place are no rate: who has one asks so now and then too.
LEAST = 2


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    package, backend, live_polls = sys.argv[1:4]
    sys.path.insert(0, package)
    from trigger_realtime_sync.testing import RealtimeServer

    with RealtimeServer(backend, live_polls=int(live_polls)) as server:
        runs = [_create(server, *subject.split(":")) for subject in sys.argv[4:]]
        say(server.url)
        for line in sys.stdin:
            match line.split():
                case ["change", seconds]:
                    server.clear_requests()
                    say(json.dumps({"changes": _change(server, runs, float(seconds))}))
                case ["rates"]:
                    say(json.dumps({"rates": _rates(server.requests)}))


def _create(server: Any, kind: str, name: str) -> str:
    if kind == "run":
        return str(server.create_run(id=name, status="EXECUTING"))
    if kind == "tag":
        return str(server.create_run(status="EXECUTING", tags=[name]))
    run = server.create_run(status="EXECUTING")
    server.batch(run, id=name)
    return str(run)


def _change(server: Any, runs: list[str], seconds: float) -> list[tuple[int, str, float]]:
    """Return the number of each change, its run, and when it was made."""
    changes: list[tuple[int, str, float]] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(random.expovariate(len(runs) / BETWEEN))
        number, run = len(changes), random.choice(runs)
        changes.append((number, run, time.monotonic()))
        server.update_run(run, metadata={"number": number})
    return changes


def _rates(requests: list[Any]) -> list[float]:
    """Return the requests a second of each subscription, while it was without a place."""

    def target(request: Any) -> str:
        return f"{request.path} {request.query.get('tags')}"

    feeds = [one for one in requests if one.kind in ("run", "runs", "batch")]
    rates = []
    for _, group in groupby(sorted(feeds, key=target), key=target):
        asked = list(group)
        # A live poll that was answered is followed by another one.
        waits = [b.at - a.at for a, b in pairwise(asked) if not (a.live and b.live)]
        if len(waits) >= max(LEAST, len(asked) / 2):
            rates.append(len(waits) / sum(waits))
    return rates


if __name__ == "__main__":
    main()
