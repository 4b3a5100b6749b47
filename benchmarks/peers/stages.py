"""What this project's own steps cost, one by one, without a network: microseconds per part or row.

`python stages.py v1|v2|rows COUNT` prints one line of JSON: step → microseconds, the least of a few
runs. The garbage collector is on, as it is for users.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))
if "--without-orjson" in sys.argv:
    sys.modules["orjson"] = None  # type: ignore[assignment]

import canned

from trigger_realtime_sync._decode.rows import RowDecoder
from trigger_realtime_sync._http.chunked import Dechunker
from trigger_realtime_sync._wire.joined import loads_all
from trigger_realtime_sync._wire.json import loads, stdlib_loads
from trigger_realtime_sync._wire.message_reader import MessageReader
from trigger_realtime_sync._wire.shape_log import ShapeLog
from trigger_realtime_sync._wire.sse import EventFramer
from trigger_realtime_sync._wire.stream_cursor import StreamCursor

PACKET = 65536
RUNS = 5
HEADERS = {"electric-handle": "h", "electric-offset": "1_1"}


def packets(raw: bytes) -> list[bytes]:
    return [raw[at : at + PACKET] for at in range(0, len(raw), PACKET)]


def stream(form: str, count: int) -> dict[str, float]:
    chunks = packets(canned.made(f"{form}-{count}"))

    def dechunk() -> list[bytes]:
        dechunker = Dechunker()
        return [dechunker.feed(chunk) for chunk in chunks]

    bodies = dechunk()

    def frame() -> list[Any]:
        framer = EventFramer()
        return [event for body in bodies for event in framer.feed(body)]

    events = frame()

    def parse() -> None:
        if form == "v1":
            loads_all([data for _, data, _ in events])
            return
        for _, data, _ in events:
            loads_all([record["body"] for record in loads(data)["records"]])

    def read() -> list[Any]:
        cursor = StreamCursor()
        cursor.open(form)
        return [cursor.feed(body) for body in bodies]

    steps = {"HTTP's chunks": dechunk, "events": frame, "JSON": parse, "all but the chunks": read}
    return {name: least(step) / count for name, step in steps.items()}


def rows(count: int) -> dict[str, float]:
    raw = canned.made(f"rows-{count}")
    columns = [message["value"] for message in stdlib_loads(raw) if "value" in message]

    chunks = packets(raw)

    def read() -> Any:
        reader = MessageReader()
        for chunk in chunks:
            reader.feed(chunk)
        return reader.close()

    def take_in() -> Any:
        decoder = RowDecoder()
        log = ShapeLog(decoder.decode, decoder.decode_many)
        return log.receive(HEADERS, read(), "a snapshot")

    decoder = RowDecoder()
    return {
        "JSON at once": least(lambda: stdlib_loads(raw)) / count,
        "JSON as it arrives": least(read) / count,
        "JSON, log and runs": least(take_in) / count,
        "runs, fields to be made when read": least(lambda: decoder.decode_many(columns)) / count,
        "runs, all fields": least(lambda: [decoder.decode(one) for one in columns]) / count,
    }


def least(step: Callable[[], object]) -> float:
    """Microseconds of the quickest run."""
    times = []
    for _ in range(RUNS):
        gc.collect()
        started = time.perf_counter()
        kept = step()
        times.append(time.perf_counter() - started)
        del kept
    return min(times) * 1e6


def main() -> None:
    kind, count, *_ = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    found = rows(int(count)) if kind == "rows" else stream(kind, int(count))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
