"""Seeds for the fuzzers: what real servers sent, as recorded in tests/recordings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.targets import PIECE

TESTS = Path(__file__).parents[1]
VECTORS = TESTS / "decode" / "vectors" / "superjson-2.2.1.json"


def seeds(target: str) -> list[bytes]:
    """Inputs of a target that are as they should be."""
    return list(_SEEDS[target]())


def _exchanges() -> Iterator[Any]:
    for path in sorted((TESTS / "recordings").glob("*.json")):
        if ".emitted." not in path.name and path.name != "calls_vectors.json":
            yield from ((path.name, one) for one in json.loads(path.read_text("utf-8")))


def _bodies(kind: str, *, ok: bool = True) -> Iterator[bytes]:
    for name, exchange in _exchanges():
        response = exchange["response"]
        if kind in name and (response["status"] == 200) == ok:
            yield "".join(chunk["text"] for chunk in response["body_chunks"]).encode()


def _feeds() -> Iterator[bytes]:
    for kind in ("run_lifecycle", "run_failed", "runs_with_tag", "batch"):
        bodies = list(_bodies(kind))
        yield PIECE.join(bodies)
        yield from bodies
    yield b'!{"message":"Invalid request","errors":{"offset":["out of bounds"]}}' + PIECE + b"204"
    yield b'#electric-handle:x\x1e[{"headers":{"control":"must-refetch"}}]'


def _v1() -> Iterator[bytes]:
    for body in _bodies("stream_v1"):
        yield body
        yield PIECE.join(body[i : i + 40] for i in range(0, len(body), 40))


def _v2() -> Iterator[bytes]:
    records = [
        {"seq_num": 0, "timestamp": 1, "headers": [["", "trim"]], "body": "x"},
        {"seq_num": 1, "timestamp": 1, "body": '{"data":{"a":[1]},"id":"e1"}'},
        {"seq_num": 2, "timestamp": 1, "headers": [["trigger-control", "turn"]]},
        {"seq_num": 3, "timestamp": 1, "headers": [["k", "v"]], "body": '{"data":"x","id":"e1"}'},
    ]
    batch = json.dumps({"records": records, "tail": {"seq_num": 4, "timestamp": 1}})
    ping = '{"timestamp":1,"tail":{"seq_num":4,"timestamp":1}}'
    yield f"event: batch\nid: 3,4,100\ndata: {batch}\n\nevent: ping\ndata: {ping}\n\n".encode()
    yield b"event: error\ndata: it broke\n\n"
    yield b": ping\r\n\r\n\xef\xbb\xbfdata: [DONE]\r\n\r\n"


def _packets() -> Iterator[bytes]:
    yield b'\x00{"a": [1, 2.5, null, true, "x"]}'
    yield b"\x02plain"
    yield b"\x03packets/run_1/payload.json"
    for vector in json.loads(VECTORS.read_text("utf-8"))["vectors"]:
        if vector["name"].endswith("in root") or vector["name"].startswith("cycle"):
            yield b"\x01" + json.dumps(vector["document"]).encode()


def _errors() -> Iterator[bytes]:
    for body in _bodies("errors", ok=False):
        yield b"\x01" + b"5" + PIECE + body
    yield b"\x1dMon, 23 Nov 2026 06:15:09 GMT" + PIECE + b'{"error": "slow down"}'


def _columns() -> Iterator[bytes]:
    yield from (b'{a,"b c",NULL,"\\"x\\""}', b"2026-11-23 06:15:09.97", b"t", b"-12", b"1.5e-7")
    yield from (b"2026-11-23T06:15:09.979Z", b'{"type":"STRING_ERROR","raw":"x"}', b"{1,2,NULL}")


def _batches() -> Iterator[bytes]:
    document = {"id": "b", "status": "PENDING", "runCount": 2, "runs": ["run_1", "run_2"]}
    yield json.dumps({**document, "processing": {"completedAt": "x", "errors": []}}).encode()


def _ids() -> Iterator[bytes]:
    yield from (b"42", b"1795414755739-0", b"v2:3,4,100", b"v2:3,4")
    yield from (b"v1:1795414755739-0,1795414755740-0,1,2,3", b"v1:")


_SEEDS = {
    "run_feed": _feeds,
    "run_feed_of_many": _feeds,
    "stream_v1": _v1,
    "stream_v2": _v2,
    "packet": _packets,
    "error_answer": _errors,
    "column": _columns,
    "batch_members": _batches,
    "last_event_id": _ids,
}
