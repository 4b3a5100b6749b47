"""This project's client with subscriptions to runs that don't change.

Arguments: the folder of the package, the URL, how many runs, tags and batches. Prints `{}` when
each subscription was told of its runs. For each line it reads, it says how many are still live.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import _worker


def main() -> None:
    package, url = sys.argv[1:3]
    runs, tags, batches = map(int, sys.argv[3:6])
    sys.path.insert(0, package)
    import trigger_realtime_sync
    from trigger_realtime_sync import RealtimeClient

    if not Path(str(trigger_realtime_sync.__file__)).is_relative_to(package):
        raise SystemExit(f"there is no package in {package}")
    client = RealtimeClient(access_token="tr_x", base_url=url)
    counter = _worker.Counter(runs + tags + batches)
    subscriptions: list[Any] = [
        *(client.subscribe_to_run(f"run_{n}", on_update=_first(counter)) for n in range(runs)),
        *(
            client.subscribe_to_runs_with_tag(f"tag_{n}", on_update=_first(counter))
            for n in range(tags)
        ),
        *(
            client.subscribe_to_batch(f"batch_{n}", on_update=_first(counter))
            for n in range(batches)
        ),
    ]
    counter.wait()
    _worker.say()
    for _ in sys.stdin:
        _worker.say(live=sum(one.state.name == "LIVE" for one in subscriptions))
    # Nothing is measured any more.
    os._exit(0)


def _first(counter: _worker.Counter) -> Any:
    """Return a callback that counts once."""
    left = [1]

    def look(*_: Any) -> None:
        if left:
            counter.take(left.pop())

    return look


if __name__ == "__main__":
    main()
