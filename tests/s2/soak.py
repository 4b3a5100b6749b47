"""The official writer on a real S2, killed, frozen and cut for as long as you like: is it exact?

    python -m tests.s2.soak --minutes 60

One run after the other gets streams by the official SDK's writer; each is read by our client
through the server's route. Every few seconds S2 is killed and started again, or frozen, or the
connections of one side are cut. At the end of a run its parts are compared with what S2 holds, and
with what the writers were given where S2 has acknowledged it. Prints figures, and exits with 1 if a
part is wrong.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.s2.process import S2, parts_of
from tests.s2.route import Route
from tests.s2.wire import Wire
from tests.s2.writer import Writer
from tests.support.process import open_sockets, resident_mb
from tests.support.streams import PartRecorder
from trigger_realtime_sync import RealtimeClient, RetryPolicy
from trigger_realtime_sync.testing import RealtimeServer

KEYS = ("a", "b")
# Parts of one stream, and milliseconds between ten of them: half a minute or so.
PARTS, PAUSE_MS = 5000, 40
# Seconds for the last parts of a run that has finished.
END_SECONDS = 60.0


class Trouble(threading.Thread):
    """Makes trouble until it is stopped."""

    def __init__(self, s2: S2, route: Route, wire: Wire, rng: random.Random) -> None:
        super().__init__(name="trouble", daemon=True)
        self._s2, self._route, self._wire, self._rng = s2, route, wire, rng
        self._stopped = threading.Event()
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        makes = {
            "kills of S2": self._kill,
            "freezes of S2": self._freeze,
            "cuts of the reader": self._route.cut,
            "cuts of the writer": self._wire.cut,
        }
        while not self._stopped.wait(self._rng.uniform(0.5, 4.0)):
            what = self._rng.choice(list(makes))
            makes[what]()
            self.counts[what] += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _kill(self) -> None:
        self._s2.kill()
        self._s2.start()

    def _freeze(self) -> None:
        self._s2.freeze()
        time.sleep(self._rng.uniform(0.1, 2.0))
        self._s2.thaw()


class Soak:
    """Runs, one after the other."""

    def __init__(
        self, s2: S2, runs: RealtimeServer, route: Route, client: RealtimeClient, wire: Wire
    ) -> None:
        self._s2, self._runs, self._route, self._client, self._wire = s2, runs, route, client, wire
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.errors: list[Any] = []

    def one_run(self) -> None:
        run_id = self._runs.create_run(status="EXECUTING", realtime_streams=KEYS)
        parts = PartRecorder()
        subscription = self._client.subscribe_to_run_with_streams(
            run_id, on_stream=parts, on_error=self.errors.append, max_parts=1
        )
        endpoint = self._wire.endpoint
        writers = {
            key: Writer(endpoint, run_id, key, count=PARTS, pause_ms=PAUSE_MS) for key in KEYS
        }
        failed = {key: writer.wait(600) for key, writer in writers.items()}
        self._runs.complete_run(run_id)
        subscription.wait_for_completion(END_SECONDS)
        subscription.cancel()
        for key in KEYS:
            self._check(run_id, key, parts.by_stream.get(key, []), acknowledged=not failed[key])
        self.counts["runs"] += 1
        # They record every request, which is no memory of the client's.
        self._route.exchanges.clear()
        self._runs.clear_requests()

    def _check(self, run_id: str, key: str, told: list[Any], *, acknowledged: bool) -> None:
        records = self._retry(lambda: self._s2.records(run_id, key))
        held = parts_of(records)
        self.counts["parts"] += len(told)
        self.counts["records that S2 has twice"] += len(records) - len(held)
        self.counts["writers that gave up"] += not acknowledged
        if told != held:
            self.wrong.append(f"{run_id} {key}: {len(told)} parts told, {len(held)} held")
        if acknowledged and [part["n"] for part in told] != list(range(PARTS)):
            self.wrong.append(f"{run_id} {key}: not what the writer was given")

    @staticmethod
    def _retry(ask: Any) -> Any:
        # S2 may be away at this very moment.
        end = time.monotonic() + END_SECONDS
        while True:
            try:
                return ask()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.getLogger("trigger_realtime_sync").setLevel(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory() as folder,
        S2(Path(folder), disk=True) as s2,
        RealtimeServer() as runs,
        Route(s2, runs) as route,
        RealtimeClient(
            "tr_soak", base_url=route.url, retry=RetryPolicy(initial_delay=0.05, max_delay=1.0)
        ) as client,
    ):
        wire = Wire(s2.port)
        soak = Soak(s2, runs, route, client, wire)
        trouble = Trouble(s2, route, wire, random.Random(options.seed))
        trouble.start()
        started = time.monotonic()
        memory = [resident_mb()]
        while time.monotonic() - started < options.minutes * 60:
            soak.one_run()
            memory.append(resident_mb())
        trouble.stop()
        wire.close()
        minutes = (time.monotonic() - started) / 60
    counts = {**soak.counts, **trouble.counts}
    print(f"{minutes:.1f} minutes: " + ", ".join(f"{n:,} {what}" for what, n in counts.items()))
    print(f"memory after the first run {memory[1]:.0f} MB, at the end {memory[-1]:.0f} MB")
    print(f"after the end: {threading.active_count()} threads, {open_sockets()} sockets")
    print(f"errors reported: {len(soak.errors)} {soak.errors[:3]}")
    print(f"wrong: {len(soak.wrong)} {soak.wrong[:10]}")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
