"""Exactly once, in order, whole: whatever the writer, the network and the server do meanwhile.

`STREAM_SECONDS` is how long each format is tried, `STREAM_SEED` repeats a try.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from typing import Any

import pytest

from tests.support.streams import PartRecorder
from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer

SECONDS = float(os.environ.get("STREAM_SECONDS", "7"))
SEED = int(os.environ.get("STREAM_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
STREAMS = 12


class Writer(threading.Thread):
    """Writes random parts to one stream until the time is up, and finishes the run."""

    def __init__(self, server: RealtimeServer, version: str, seed: int, until: float) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.version = version
        self.run_id = server.create_run(status="EXECUTING")
        self.rng = random.Random(seed)
        self.until = until
        self.wanted: list[Any] = []

    def run(self) -> None:
        write = self.write_v1 if self.version == "v1" else self.write_v2
        while time.monotonic() < self.until and len(self.wanted) < 1500:
            write()
            pause = self.rng.choice([0, 0, 0, 0.002, 0.02, 0.02, 0.1, 0.3])
            # Past the idle close, which comes after a second.
            time.sleep(1.3 if self.rng.random() < 0.02 else pause)
        self.write_rest()
        self.server.complete_run(self.run_id)

    def part(self) -> Any:
        n = len(self.wanted)
        kind = self.rng.randrange(5)
        made = [n, f"word {n} é\u2028", {"n": n, "t": "x" * self.rng.randrange(200)}, [n], None]
        self.wanted.append(made[kind])
        return made[kind]

    rest = ""

    def write_v1(self) -> None:
        lines = [json.dumps(self.part()) + "\n" for _ in range(self.rng.randrange(1, 6))]
        if self.rng.random() < 0.2:
            lines.append("\n")
        text = self.rest + "".join(lines)
        cuts = sorted(self.rng.randrange(len(text) + 1) for _ in range(self.rng.randrange(3)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        # What is held back now is the start of a later entry: a line torn by the pause between.
        self.rest = pieces.pop() if self.rng.random() < 0.3 else ""
        self.server.append_raw(self.run_id, "s", *[piece for piece in pieces if piece])

    def write_v2(self) -> None:
        records: list[Any] = []
        for _ in range(self.rng.randrange(1, 6)):
            body = {"data": self.part(), "id": f"w{len(self.wanted)}"}
            records.append({"body": body})
            if self.rng.random() < 0.1:
                records.append({"body": body})
            if self.rng.random() < 0.1:
                records.append({"headers": [["", self.rng.choice(["trim", "fence"])]], "body": "x"})
            if self.rng.random() < 0.05:
                records.append({"headers": [["trigger-control", "turn-complete"]]})
        self.server.append_records(self.run_id, "s", *records)

    def write_rest(self) -> None:
        if self.rest:
            self.server.append_raw(self.run_id, "s", self.rest)


def disturb(server: RealtimeServer, version: str, rng: random.Random) -> None:
    """One random fault."""
    v2_error = b'event: error\ndata: {"message":"unavailable"}\n\n'
    sse = {"content-type": "text/event-stream", "x-stream-version": "v2"}
    faults: list[Any] = [
        {"cut_at": rng.randrange(600)},
        {"cut_at": rng.randrange(8000)},
        {"cut_body_at": rng.randrange(3000)},
        {"reset": True},
        {"status": rng.choice([500, 502, 503, 429])},
        {"html": True},
        {"delay": 0.1},
    ]
    if version == "v2":
        faults.append({"body": v2_error, "headers": sse})
    server.fail_next(match="stream", **rng.choice(faults))
    if rng.random() < 0.5:
        server.drop_connections(reset=rng.random() < 0.3)


@pytest.mark.parametrize("backend", ["native", "electric"])
def test_torn_and_cut_at_random(version, backend, connect):
    """Random entries, cuts, faults, pauses: each part once, in order, none torn."""
    print(f"STREAM_SEED={SEED}")
    rng = random.Random(SEED)
    until = time.monotonic() + SECONDS / 2
    with RealtimeServer(backend, streams=version, ping_interval=0.4) as server:
        client: RealtimeClient = connect(server)
        writers = [Writer(server, version, rng.randrange(2**31), until) for _ in range(STREAMS)]
        told = [PartRecorder() for _ in writers]
        subscriptions = [
            client.subscribe_to_stream(
                writer.run_id, "s", on_stream=parts, timeout_in_seconds=rng.choice([1, 1, 2])
            )
            for writer, parts in zip(writers, told, strict=True)
        ]
        iterated = client.subscribe_to_stream(writers[0].run_id, "s").updates()
        for writer in writers:
            writer.start()
        while time.monotonic() < until:
            disturb(server, version, rng)
            time.sleep(rng.choice([0.02, 0.05, 0.2]))
        server.clear_faults()
        for writer, parts, subscription in zip(writers, told, subscriptions, strict=True):
            writer.join()
            assert subscription.wait_for_completion(20) is not None
            assert parts.all == writer.wanted
            assert subscription.parts == writer.wanted
        assert list(iterated) == writers[0].wanted
        assert sum(len(writer.wanted) for writer in writers) > STREAMS * 50


@pytest.mark.parametrize("cut", range(0, 420, 7))
def test_an_answer_cut_in_its_head_says_nothing(cut, connect):
    """Wherever the head breaks off, its format's name included, the next body goes on."""
    with RealtimeServer(streams="v2") as server:
        run_id = server.create_run(status="EXECUTING")
        server.append_records(run_id, "s", *[{"body": {"data": n, "id": "x"}} for n in range(3)])
        server.append(run_id, "s", "a", "b")
        server.fail_next(cut_at=cut, match="stream", times=2)
        parts = PartRecorder()
        connect(server).subscribe_to_stream(run_id, "s", on_stream=parts, last_event_id="3")
        assert parts.wait(1) == ["b"]


def test_an_error_page_is_no_end(server, client):
    """A page of a proxy, with status 200, in place of the last body: its parts are still read."""
    run_id = server.create_run(status="EXECUTING")
    parts = PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts)
    server.append(run_id, "s", 1)
    parts.wait(1)
    server.fail_next(html=True, match="stream", times=3)
    server.fail_next(status=200, body="Bad gateway", match="stream")
    server.append(run_id, "s", 2, 3)
    server.drop_connections()
    server.complete_run(run_id)
    subscription.wait_for_completion(10)
    assert parts.all == [1, 2, 3]
