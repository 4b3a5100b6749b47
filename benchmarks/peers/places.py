"""This project's client with more subscriptions than there are live polls.

Arguments: the folder of the package, the URL, and the subjects of the subscriptions: their kinds
and ids. Prints `{}` when each was told of its run. Then it reads `until NUMBERS`, waits until all
of these changes were told, and says what was: each run, the number of its change, and when.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import _worker


class Told:
    """What all subscriptions were told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.states: list[tuple[str, int, float]] = []

    def on_update(self, run: Any) -> None:
        now = time.monotonic()
        number = (run.metadata or {"number": -1})["number"]
        with self._changed:
            self.states.append((run.id, number, now))
            self._changed.notify_all()

    def wait_for(self, numbers: set[int]) -> None:
        self._wait(lambda: numbers <= {number for _, number, _ in self.states})

    def wait_for_runs(self, count: int) -> None:
        self._wait(lambda: len({run for run, _, _ in self.states}) == count)

    def _wait(self, came: Callable[[], bool]) -> None:
        with self._changed:
            if not self._changed.wait_for(came, _worker.LONGEST):
                raise SystemExit(f"{len(self.states)} states were told, but not all")


def main() -> None:
    package, url = sys.argv[1:3]
    subjects = [one.split(":") for one in sys.argv[3:]]
    sys.path.insert(0, package)
    from trigger_realtime_sync import RealtimeClient

    told = Told()
    with RealtimeClient(access_token="tr_x", base_url=url) as client:
        subscribe = {
            "run": client.subscribe_to_run,
            "tag": client.subscribe_to_runs_with_tag,
            "batch": client.subscribe_to_batch,
        }
        for kind, name in subjects:
            subscribe[kind](name, on_update=told.on_update)
        told.wait_for_runs(len(subjects))
        _worker.say()
        for line in sys.stdin:
            told.wait_for(set(json.loads(line.removeprefix("until "))))
            _worker.say(told=told.states)


if __name__ == "__main__":
    main()
