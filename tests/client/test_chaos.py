"""Random faults without end: every run is followed to its end, in order, and nothing twice."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any

import pytest

from tests.support.waiting import Recorder
from trigger_realtime_sync import RetryPolicy, TriggerRealtimeError
from trigger_realtime_sync._http import retry as failures
from trigger_realtime_sync.testing import RealtimeServer

# More of them: TRIGGER_TEST_FAULTS=20000. Another seed: TRIGGER_TEST_SEED=….
FAULTS = int(os.environ.get("TRIGGER_TEST_FAULTS", "1200"))
SEED = int(os.environ.get("TRIGGER_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
IMMEDIATELY = RetryPolicy(initial_delay=0.0001, max_delay=0.0005)
RUNS = 6


class Refusals:
    """Refuses a token, but never the one after it: a new token that is refused is the end. (A
    request that met a closed connection goes out again with the same one.)"""

    def __init__(self, server: RealtimeServer) -> None:
        self._server = server
        if not hasattr(server, "refused"):
            server.refused = {}  # type: ignore[attr-defined]

    def __call__(self, request: Any) -> bool:
        refused: dict[str, int] = self._server.refused  # type: ignore[attr-defined]
        asked = [one.headers for one in self._server.requests if one.path == request.path]
        count = len({headers["authorization"] for headers in asked})
        if count - refused.get(request.path, -2) < 2:
            return False
        refused[request.path] = count
        return True


def some_fault(rng: random.Random, backend: str, server: RealtimeServer) -> dict[str, Any]:
    return rng.choice(
        [
            {"status": rng.choice([500, 502, 503, 504, 524, 408, 429])},
            {"status": 503, "headers": {"Retry-After": "0"}, "html": True},
            {"html": True},
            {"reset": True},
            {"cut_at": rng.randrange(0, 700)},
            {"cut_body_at": rng.randrange(0, 300)},
            {"delay": rng.random() * 0.01},
            {"stale": True},
            {"status": 204},
            {"status": 401, "match": Refusals(server)},
            {"body": [{"headers": {"control": "must-refetch"}}], "status": 409},
            {
                "body": {"message": "Invalid request", "errors": {"offset": ["out of bounds"]}},
                "status": 400,
            },
            {"rotate": True} if backend == "electric" else {"reset": True},
            {"restore": True} if backend == "electric" else {"drop": True},
        ]
    )


def strike(server: RealtimeServer, rng: random.Random, fault: dict[str, Any]) -> None:
    if fault.pop("rotate", False):
        server.rotate(keep_handle=rng.random() < 0.3, send_handle=rng.random() < 0.7)
    elif fault.pop("restore", False):
        server.restore()
    elif fault.pop("drop", False):
        server.drop_connections(reset=rng.random() < 0.5)
    else:
        live = rng.choice([None, True, False])
        server.fail_next(live=live, after_hold=rng.random() < 0.5, **fault)


@pytest.mark.parametrize("backend", ["native", "electric"])
def test_every_state_arrives_in_order_and_the_last_one_always(
    backend: Any, connect: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever breaks, and however often."""
    print(f"TRIGGER_TEST_SEED={SEED}")
    caplog.set_level("CRITICAL")
    monkeypatch.setattr(failures, "RATE_LIMIT_FIRST_WAIT", 0.001)
    monkeypatch.setattr(failures, "UNREADABLE_LIMIT", 10**9)
    rng = random.Random(f"{SEED} {backend}")
    tokens = iter(range(10**9))
    with RealtimeServer(backend, hold=0.3) as server:
        client = connect(server, retry=IMMEDIATELY, access_token=lambda: f"tr_{next(tokens)}")
        runs = [server.create_run(tags=["t"], metadata={"step": -1}) for _ in range(RUNS)]
        recorders = {run_id: Recorder() for run_id in runs}
        singles = [client.subscribe_to_run(run_id, **recorders[run_id].options) for run_id in runs]
        tagged = Recorder()
        together = client.subscribe_to_runs_with_tag("t", **tagged.options)
        stop = threading.Event()
        for step in range(FAULTS // 2):
            strike(server, rng, some_fault(rng, backend, server))
            if step % 3 == 0:
                server.update_run(rng.choice(runs), metadata={"step": step})
            stop.wait(rng.random() * 0.006)
        for run_id in runs:
            server.update_run(run_id, metadata={"step": "last"})
            strike(server, rng, some_fault(rng, backend, server))
            server.complete_run(run_id, output=run_id)
        try:
            for run_id, single in zip(runs, singles, strict=True):
                assert single.wait_for_completion(20).output == run_id
            server.clear_faults()
            assert len(together.wait_for_completion(20, expected=RUNS)) == RUNS
        except TriggerRealtimeError as error:
            asked = [one for one in server.requests if one.kind == "runs"][-3:]
            last = [(round(time.monotonic() - one.at, 1), dict(one.query)) for one in asked]
            seen = [(run.id, run.status.value, str(run.updated_at)) for run in together.runs]
            said = f"{together.state} {last} {seen} {together.last_contact}"
            raise AssertionError(f"seed {SEED}: {error!r} {said}") from error
    for run_id in runs:
        in_order(recorders[run_id].updates)
        in_order([run for run in tagged.updates if run.id == run_id])
        assert len(recorders[run_id].completes) == 1
        assert recorders[run_id].errors == []
    assert sorted(run.id for run in tagged.completes) == sorted(runs)
    assert tagged.errors == []


def in_order(updates: list[Any]) -> None:
    times = [run.updated_at for run in updates]
    assert times == sorted(times), f"seed {SEED}: a state went back"
    assert len(set(times)) == len(times), f"seed {SEED}: a state came twice"
    assert updates[-1].is_success
