"""Write a stream to a file. Started again after a crash, it continues exactly where it was.

    export TRIGGER_SECRET_KEY=tr_…
    python stream_to_file.py run_1234 openai answer.jsonl

A second file keeps the position in the stream, and the length of the first file at that position.
Anything a crash left beyond that length is cut off and written again: no part is lost or doubled.
"""

import json
import os
import sys
from pathlib import Path

from trigger_realtime_sync import RealtimeClient

# The length of the file, and the position in the stream.
Progress = tuple[int, str | None]


def load(path: Path) -> Progress:
    if not path.exists():
        return 0, None
    size, last_event_id = json.loads(path.read_text())
    return size, last_event_id


def save(path: Path, progress: Progress) -> None:
    # Replaced in one step: a crash leaves the old state or the new one, never a part of one.
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(progress))
    os.replace(temporary, path)


def main(run_id: str, key: str, target: str) -> None:
    state = Path(target + ".state")
    size, last_event_id = load(state)
    with RealtimeClient() as client, open(target, "ab") as file:
        file.truncate(size)
        stream = client.subscribe_to_stream(run_id, key, last_event_id=last_event_id, max_parts=1)
        for part in stream.updates():
            file.write(json.dumps(part).encode() + b"\n")
            file.flush()
            save(state, (file.tell(), stream.last_event_id))


if __name__ == "__main__":
    main(*sys.argv[1:])
