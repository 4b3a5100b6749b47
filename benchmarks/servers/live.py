"""The project's own test server in a process of its own, told what to do line by line.

Arguments: the number of runs. Prints its URL; the runs are `run_0`, `run_1`, …. Then it reads
`update ID COUNT PAUSE`: changes that run so often, `metadata.t` being the time of
`time.monotonic_ns()` at which it was changed, as text.
"""

from __future__ import annotations

import sys
import time

from trigger_realtime_sync.testing import RealtimeServer


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    with RealtimeServer() as server:
        for n in range(int(sys.argv[1])):
            server.create_run("render-video", id=f"run_{n}", status="EXECUTING", tags=["all"])
        say(server.url)
        for line in sys.stdin:
            _, run_id, count, pause = line.split()
            for n in range(int(count)):
                server.update_run(run_id, metadata={"t": str(time.monotonic_ns()), "n": n})
                time.sleep(float(pause))
            say("done")


if __name__ == "__main__":
    main()
