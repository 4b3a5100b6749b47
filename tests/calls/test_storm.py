"""Random faults over triggers and batches: the server's books, beside what the caller was told."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.support.waiting import eventually
from trigger_realtime_sync import (
    ApiConnectionError,
    ApiError,
    BatchItem,
    BatchTriggerError,
    ProtocolError,
    TriggerRealtimeError,
)

SEEDS = range(8)
ROUNDS = 40
FAULTS: list[dict[str, Any]] = [
    {"reset": True},
    {"reset": True, "lost": True},
    {"status": 500},
    {"status": 500, "lost": True},
    {"status": 502, "lost": True},
    {"status": 503},
    {"status": 503, "headers": {"retry-after": "0"}},
    {"status": 429, "headers": {"retry-after": "0"}},
    {"status": 408},
    {"html": True},
    {"html": True, "lost": True},
    {"cut_at": 10},
    {"cut_body_at": 5},
    {"status": 500, "headers": {"x-should-retry": "false"}, "lost": True},
]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_run_is_made_twice(server, connect, seed):
    """With a key, whatever fails and however often it is called again: one run, of that key."""
    rng = random.Random(seed)
    client = connect(server)
    told: dict[str, set[str]] = {}
    for n in range(ROUNDS):
        key = f"{seed}-{n}"
        for _ in range(rng.randrange(4)):
            server.fail_next(match="trigger", **rng.choice(FAULTS))
        for _ in range(20):
            try:
                told.setdefault(key, set()).add(client.trigger("t", key, idempotency_key=key).id)
                break
            except (ApiConnectionError, ApiError, ProtocolError):
                continue
        else:
            raise AssertionError(f"{key} was never triggered")
    made: dict[str, set[str]] = {}
    for one in server.triggered("t"):
        made.setdefault(one.payload, set()).add(one.run_id)
    assert made == told
    assert {len(ids) for ids in made.values()} == {1}


@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_told_of_no_run_may_trust_it(server, connect, seed, soon):
    """Without a key: an error that says that nothing happened left nothing behind, and a run that
    was told is the only one where the server remembers the request."""
    rng = random.Random(seed)
    client = connect(server)
    told: dict[int, str | None] = {}
    doubted: set[int] = set()
    for n in range(ROUNDS // 4):
        for _ in range(rng.randrange(3)):
            server.fail_next(match="trigger", **rng.choice(FAULTS))
        try:
            told[n] = client.trigger("t", n, call_timeout=20).id
        except TriggerRealtimeError as error:
            told[n] = None
            if getattr(error, "may_have_happened", True):
                doubted.add(n)
    made = {n: set[str]() for n in told}
    for one in server.triggered("t"):
        made[one.payload].add(one.run_id)
    for n, run_id in told.items():
        if run_id is not None:
            assert made[n] == {run_id}
        elif n not in doubted:
            assert made[n] == set()
        else:
            assert len(made[n]) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_no_batch_is_lost(server, connect, seed):
    """With a key, called until it is told: each item once, whatever failed at which step."""
    rng = random.Random(seed)
    client = connect(server)
    count = 0
    for n in range(ROUNDS // 4):
        for kind in ("batch_create", "batch_items"):
            for _ in range(rng.randrange(4)):
                server.fail_next(match=kind, **rng.choice(FAULTS))
        items = [BatchItem("t", [n, index]) for index in range(rng.randrange(1, 5))]
        count += len(items)
        for _ in range(20):
            try:
                client.batch_trigger(items, idempotency_key=f"{seed}-{n}")
                break
            except (BatchTriggerError, ApiConnectionError, ApiError):
                continue
        else:
            raise AssertionError(f"batch {n} was never triggered")
    eventually(lambda: len({one.run_id for one in server.triggered("t")}) >= count)
    ids = {one.run_id: tuple(one.payload) for one in server.triggered("t")}
    assert set(Counter(ids.values()).values()) == {1}
    assert len(ids) == count


@pytest.mark.parametrize("seed", SEEDS)
def test_no_input_is_sent_twice(server, connect, seed):
    """Each arrives once, or not at all; and not at all only where the caller was told."""
    rng = random.Random(seed)
    client = connect(server)
    handle = client.trigger("t")
    sure: list[int] = []
    never: set[int] = set()
    for n in range(ROUNDS):
        for _ in range(rng.randrange(2)):
            server.fail_next(match="input", **rng.choice(FAULTS))
        try:
            handle.send("s", n)
            sure.append(n)
        except TriggerRealtimeError as error:
            if not getattr(error, "may_have_happened", True):
                never.add(n)
    arrived = server.inputs(handle.id, "s")
    assert max(Counter(arrived).values()) == 1
    assert [n for n in arrived if n in sure] == sure
    assert not never & set(arrived)
