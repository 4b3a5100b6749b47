"""A Celery app: its children follow runs in tasks, its parent enqueues what has finished."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_ready, worker_shutting_down

from trigger_realtime_sync import RealtimeClient, RetryPolicy, WaitTimeout
from trigger_realtime_sync.contrib.celery import enqueue_on_complete, run_output

app = Celery("shop", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.worker_prefetch_multiplier = 1
app.conf.broker_connection_retry_on_startup = True
# One for the parent and, after the fork, one for each child.
client = RealtimeClient(retry=RetryPolicy(initial_delay=0.01, max_delay=0.1))


@app.task(name="shop.follow")
def follow(run_id: str) -> dict[str, Any]:
    run = client.wait_for_completion(run_id, timeout=30)
    return {"pid": os.getpid(), "status": run.status.value, "output": run.output}


@app.task(
    bind=True,
    name="shop.thumbnails",
    soft_time_limit=60,
    # Handed out again if its child is killed.
    acks_late=True,
    reject_on_worker_lost=True,
)
def thumbnails(self: Any, video: str) -> dict[str, Any]:
    app.backend.client.rpush("started", os.getpid())
    output = run_output(self, client, "make-thumbnails", {"video": video})
    return {"pid": os.getpid(), "output": output}


@app.task(bind=True, name="shop.late", soft_time_limit=30)
def late(self: Any, cancels: bool) -> dict[str, Any]:
    try:
        run_output(self, client, "never", margin=28, cancels_late=cancels, call_timeout=20)
    except WaitTimeout as error:
        return {"gave_up": type(error).__name__}
    return {}


@app.task(name="shop.finished")
def finished(run_id: str) -> str:
    app.backend.client.rpush("finished", run_id)
    return run_id


@worker_ready.connect
def subscribe(**more: Any) -> None:
    client.subscribe_to_runs_with_tag("shop", on_complete=enqueue_on_complete(finished))


@worker_shutting_down.connect
def unsubscribe(**more: Any) -> None:
    client.close()
