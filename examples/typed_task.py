"""Give types to payload and output: checked when they are read, known to mypy and pyright.

export TRIGGER_SECRET_KEY=tr_…
python typed_task.py run_1234
"""

import sys
from dataclasses import dataclass

from trigger_realtime_sync import PayloadError, RealtimeClient, Task


@dataclass
class Video:
    url: str
    height: int = 1080


@dataclass
class Thumbnails:
    urls: list[str]
    seconds: float


make_thumbnails = Task("make-thumbnails", payload=Video, output=Thumbnails)


def first_thumbnail(client: RealtimeClient, run_id: str) -> str:
    subscription = client.subscribe_to_run(run_id, task=make_thumbnails)
    output = subscription.result(timeout=300)
    return output.urls[0]


def main(run_id: str) -> int:
    with RealtimeClient() as client:
        try:
            print(first_thumbnail(client, run_id))
        except PayloadError as error:
            print(f"not what the task promised: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
