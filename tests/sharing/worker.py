"""A process of a fleet, which writes down what its callbacks are told, one JSON line for each.

python -m tests.sharing.worker OPTIONS     # a JSON object: see `main`
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from trigger_realtime_sync import RealtimeClient, RetryPolicy
from trigger_realtime_sync.sharing import RedisSharing


def main(options: dict[str, Any]) -> None:
    out, lock = open(options["out"], "a", buffering=1), threading.Lock()  # noqa: SIM115

    def note(**line: Any) -> None:
        with lock:
            out.write(json.dumps({**line, "at": time.time()}) + "\n")

    def told(run: Any) -> None:
        metadata = run.metadata or {}
        note(run=run.id, n=metadata.get("n", -1), streams=len(run.realtime_streams))

    shared = None
    if options.get("redis"):
        shared = RedisSharing(options["redis"], lease=options["lease"], **options["sharing"])
    client = RealtimeClient(
        options["token"],
        base_url=options["url"],
        retry=RetryPolicy(initial_delay=0.05, max_delay=0.5),
        shared=shared,
    )
    for run_id in options["runs"]:
        client.subscribe_to_run_with_streams(
            run_id,
            on_update=told,
            on_stream=lambda key, parts, run_id=run_id: note(run=run_id, parts=parts),
            on_complete=lambda run: note(run=run.id, complete=True),
            on_error=lambda error: note(error=repr(error), terminal=error.terminal),
        )
    note(ready=True)
    for line in sys.stdin:
        words = line.split()
        if words[:1] == ["status"] and client.sharing is not None:
            led = [one.target for one in client.sharing.led]
            note(led=led, followed=len(client.sharing.followed))
        elif words[:1] == ["cpu"]:
            note(cpu=time.process_time(), threads=threading.active_count())
    client.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
