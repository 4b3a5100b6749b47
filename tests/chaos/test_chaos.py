"""Through whatever networks and servers do, what is promised holds.

python -m pytest tests/chaos                                  # a seed for each server
TRIGGER_CHAOS_ROUNDS=50 python -m pytest tests/chaos          # more
TRIGGER_CHAOS_SEED=17 python -m pytest tests/chaos            # the one that failed
"""

from __future__ import annotations

import gc
import io
import itertools
import logging
import os
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.faults import REFUSED, RETRY_AFTER, Plan
from tests.chaos.proxy import Proxy, Seen
from tests.chaos.world import HOLD, SECRET, Habits
from tests.chaos.world_of_redis import WorldOfRedis
from tests.chaos.world_of_s2 import WorldOfS2
from tests.support.process import open_sockets, resident_mb
from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync import RealtimeClient, RetryPolicy, Timeouts
from trigger_realtime_sync.testing import RealtimeServer

STORM_SECONDS = float(os.environ.get("TRIGGER_CHAOS_SECONDS", "2"))
RETRY = RetryPolicy(initial_delay=0.1, max_delay=0.6)
# Seconds for which the end of a stream is sought that has none: longer than any fault lasts.
STREAM_PATIENCE = 8.0
# Megabytes that the process may grow by in a round; the server is part of it.
MOST_GROWTH = 80


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that anything logs, urllib3's debugging included."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(threadName)s %(name)s %(message)s"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.removeHandler(handler)
    root.setLevel(before)


pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="counts what is left behind by means of Linux"
)


@pytest.mark.parametrize("streams", ["v1", "v2"])
@pytest.mark.parametrize("backend", ["native", "electric"])
def test_what_is_promised_holds(backend, streams, seed, log, clock):
    """States in order and none twice, the last one always; parts exact; nothing after cancel; no
    thread, socket or memory left; no more requests than the back-off allows; no token logged."""
    gc.collect()
    sockets, memory = open_sockets(), resident_mb()
    habits = Habits.of(seed)
    old = frozenset({"stale"} if habits.stamps_go_back else {})
    plan = Plan(seed, without=old, looks=habits.looks)
    with (
        RealtimeServer(
            backend,
            streams=streams,
            hold=HOLD,
            ping_interval=0.3,
            stream_idle=1.0,
            stream_step=0.4,
            # An old S2, in every second seed.
            ping_tail=seed % 2 == 0,
            stream_ids=habits.stream_ids,
            creates_streams=habits.creates_streams,
            **habits.electric,
        ) as server,
        Proxy(server.url, plan, server.rotate) as proxy,
    ):
        with RealtimeClient(
            base_url=proxy.url,
            retry=RETRY,
            timeouts=Timeouts(connect=2, read=1.5),
            stream_patience=STREAM_PATIENCE,
        ) as client:
            world_of = {"v1": WorldOfRedis, "v2": WorldOfS2}[streams]
            world = world_of(server, client, seed, clock)
            world.subscribe()
            world.storm(STORM_SECONDS)
            world.lose_streams()
            world.finish()
            plan.calm()
            wrong = world.check()
            shown = repr((client, world.watchers[0].subscription, threading.enumerate()))
        wrong += too_fast(proxy.seen)
        eventually(lambda: not proxy.open_connections, "connections are left", seconds=5)
    eventually(lambda: not threads_named("trigger-realtime"), "threads are left", seconds=5)
    eventually(lambda: not threads_named("raw-server"), seconds=5)
    gc.collect()
    eventually(lambda: open_sockets() <= sockets, "sockets are left", seconds=5)
    if resident_mb() > memory + MOST_GROWTH:
        wrong.append(f"memory grew from {memory:.0f} to {resident_mb():.0f} MB")
    assert any(SECRET.lower() in token for token in proxy.tokens)
    if SECRET in log.getvalue() + shown:
        wrong.append("a token was logged")
    if "the test server failed" in log.getvalue():
        wrong.append("the test server failed")
    again = f"TRIGGER_CHAOS_SEED={seed} python -m pytest tests/chaos -k '{backend} and {streams}'"
    faults = {one.fault.kind for one in proxy.seen if one.fault.kind}
    assert not wrong, f"{again}\n" + "\n".join(wrong[:40]) + f"\n{len(proxy.seen)} {faults}"
    assert len(faults) > 10


def too_fast(seen: list[Seen]) -> list[str]:
    """Where requests came sooner than the back-off and Retry-After allow.

    A single wait is random, from 0 on, so that only the sum of many tells: of twenty, a third of
    what is to be expected is five standard deviations below it.
    """
    wrong: list[str] = []
    waited = expected = 0.0
    waits = 0
    by_target: dict[str, list[Seen]] = {}
    for one in seen:
        by_target.setdefault(one.target, []).append(one)
    for target, requests in by_target.items():
        failures = 0
        for one, following in itertools.pairwise(requests):
            gap = following.at - one.at
            if one.fault.kind not in REFUSED:
                failures = 0
                continue
            if one.fault.kind == "503":
                failures += 1
                if gap < RETRY_AFTER:
                    wrong.append(f"{target}: {gap:.3f} s after a Retry-After of {RETRY_AFTER}")
                continue
            waits += 1
            ceiling = min(RETRY.max_delay, RETRY.initial_delay * RETRY.multiplier**failures)
            expected += ceiling / 2
            waited += gap
            failures += 1
        wrong += too_many(target, requests)
    if waits >= 20 and waited < expected / 3:
        wrong.append(f"waited {waited:.2f} s after failures, where {expected:.2f} is usual")
    return wrong


def too_many(target: str, requests: list[Seen], most: int = 60, seconds: float = 0.25) -> list[str]:
    """A hot loop: more requests of one target than its changes and failures can explain."""
    times = [one.at for one in requests]
    for first, last in zip(times, times[most:], strict=False):
        if last - first < seconds:
            return [f"{target}: {most} requests within {last - first:.3f} s"]
    return []
