"""The REST API, asked once a second: what one does without the Realtime API."""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from typing import Any

import _plain
import _worker
import requests

PERIOD = 1.0


def poll(url: str, run_id: str, tell: Any) -> None:
    session = requests.Session()
    session.headers.update(_plain.HEADERS)
    last: Any = None
    while True:
        started = time.monotonic()
        run = session.get(f"{url}/api/v3/runs/{run_id}").json()
        if run != last:
            last = run
            tell(functools.partial(run.get, "metadata"))
        time.sleep(max(0.0, PERIOD - (time.monotonic() - started)))


def main() -> None:
    _, url, count = sys.argv[1:]

    def watch(run_id: str, tell: Any) -> None:
        threading.Thread(target=poll, args=(url, run_id, tell), daemon=True).start()

    _worker.Idle(watch).serve(int(count))
    os._exit(0)


if __name__ == "__main__":
    main()
