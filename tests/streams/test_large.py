"""Large parts: time linear in their size. Endless lines: refused, in bounded memory."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from tests.support.raw import RawServer, by_path, endless
from tests.support.scripts import run
from tests.support.shape import row, snapshot
from tests.support.streams import PartRecorder, chunked, head
from tests.support.waiting import Gate
from trigger_realtime_sync.testing import RealtimeServer


def seconds_for(client: Any, server: RealtimeServer, size: int) -> float:
    run_id = server.create_run(status="EXECUTING")
    parts = PartRecorder()
    subscription = client.subscribe_to_stream(run_id, "s", on_stream=parts)
    server.wait_until_held(1, match="stream")
    text = "é\n" * (size // 3)
    started = time.process_time()
    server.append(run_id, "s", text)
    assert parts.wait(1, 30) == [text]
    taken = time.process_time() - started
    subscription.cancel()
    return taken


def test_ten_megabytes_take_ten_times_one(version, connect):
    """The time a part takes is linear in its size."""
    with RealtimeServer(streams=version) as server:
        client = connect(server)
        small = min(seconds_for(client, server, 1_000_000) for _ in range(3))
        large = min(seconds_for(client, server, 10_000_000) for _ in range(2))
    print(f"{version}: 1 MB {small * 1000:.0f} ms, 10 MB {large * 1000:.0f} ms")
    assert large < 20 * max(small, 0.02)


def test_large_parts_wait_at_the_server(version, connect):
    """Parts larger than what may wait are taken one at a time by a slow subscriber."""
    with RealtimeServer(streams=version) as server:
        run_id = server.create_run(status="EXECUTING")
        gate, parts = Gate(), PartRecorder()

        def on_stream(key: str, new: list[str]) -> None:
            parts(key, new)
            gate()

        subscription = connect(server).subscribe_to_stream(run_id, "s", on_stream=on_stream)
        for n in range(8):
            server.append(run_id, "s", f"{n}" * 2_000_000)
        assert gate.entered.wait(10)
        time.sleep(0.5)
        # One with the subscriber, one that waits, and what arrived with it in one read.
        assert len(subscription.parts) <= 3
        gate.go.set()
        parts.wait(8)
        assert [part[0] for part in parts.all] == [str(n) for n in range(8)]


ENDLESS = """
    import json, sys, threading
    from trigger_realtime_sync import ProtocolError, RealtimeClient, RetryPolicy
    from trigger_realtime_sync._http import retry as retries
    # What was live is given a while before it is given up.
    retries.UNREADABLE_SECONDS = 1.0
    url, kind = sys.argv[1:]
    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    retry = RetryPolicy(initial_delay=0.01, max_delay=0.05)
    with RealtimeClient("tr_x", base_url=url, retry=retry) as client:
        before = peak()
        errors, told = [], threading.Event()
        def on_error(error):
            errors.append((type(error).__mro__, error.terminal, str(error)))
            told.set()
        if kind == "runs":
            subscription = client.subscribe_to_runs_with_streams("t", on_error=on_error)
        elif kind == "run":
            subscription = client.subscribe_to_run_with_streams("run_1", on_error=on_error)
        else:
            subscription = client.subscribe_to_stream("run_1", "s", on_error=on_error)
        assert told.wait(60)
        mro, terminal, text = errors[0]
        grown = peak() - before
        print(json.dumps([ProtocolError in mro, terminal, grown, text, subscription.state.value]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of its memory from /proc")
def test_an_endless_line():
    """A line without an end is refused as a ProtocolError, which ends a subscription to it alone;
    what it costs is a small multiple of the longest event."""
    line = head("v2", transfer_encoding="chunked") + chunked(b"data: ")
    streams = endless(line, chunked(b"x" * 65536))
    with RawServer(by_path({"/streams/": streams}, snapshot(row(realtimeStreams="{s}")))) as server:
        for kind in ("stream", "run", "runs"):
            ran = run(ENDLESS, server.url, kind)
            refused, terminal, grown, text, state = json.loads(ran.out)
            print(f"{kind}: {grown // 1024} MiB more at the peak")
            assert refused
            assert terminal == (kind == "stream")
            assert state == ("FAILED" if kind == "stream" else "LIVE")
            assert "longer than" in text
            assert grown < 150 * 1024
