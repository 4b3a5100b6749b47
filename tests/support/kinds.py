"""One run, followed by itself, by its tag or by its batch."""

from __future__ import annotations

from typing import Any

from trigger_realtime_sync.testing import RealtimeServer

KINDS = ("run", "tag", "batch")


def create(server: RealtimeServer) -> str:
    """Create a run that can be followed in each of these ways."""
    run_id = server.create_run(tags=["t"])
    server.batch(run_id, id="batch_1")
    return run_id


def subscribe(client: Any, kind: str, run_id: str, **options: Any) -> Any:
    """Subscribe to the run by itself, its tag or its batch."""
    if kind == "run":
        return client.subscribe_to_run(run_id, **options)
    if kind == "tag":
        return client.subscribe_to_runs_with_tag("t", **options)
    return client.subscribe_to_batch("batch_1", **options)
