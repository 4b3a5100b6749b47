"""Celery: trigger a run in a task and wait for it, or enqueue a task for each finished run.

    client = RealtimeClient()   # at import: empty in each child of the pool

    @app.task(bind=True, soft_time_limit=300)
    def thumbnails(self, video):
        return run_output(self, client, "make-thumbnails", {"video": video})

`run_output` triggers no second run where Celery runs the task a second time, and gives up before
the task's time is over. To enqueue a task for each run that has finished, at most once:

    process_result = enqueue_on_complete(tasks.process_result)
    client.subscribe_to_runs_with_tag("import", on_complete=process_result)

`on_complete` is called once per run and subscription: in each process that subscribes, and after a
restart again for runs that had already finished. Deriving the task id from the run id is not
enough, since Celery sends and runs a second message with the same id like the first. So a process
*claims* the run before it sends the message, in a place that all processes share, and only the
process that got the claim sends. If it dies between the two, the message is lost: at most once. If
the broker can't be reached, the claim is released and the error goes to `on_error`.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .. import ConfigurationError, RealtimeClient, Run, TriggerRealtimeError, WaitTimeout
from ..models import Task as RunTask

try:
    from celery import Task
    from celery.exceptions import SoftTimeLimitExceeded
except ModuleNotFoundError as error:
    if error.name != "celery":
        raise
    raise ModuleNotFoundError(
        "trigger_realtime_sync.contrib.celery needs Celery:"
        " pip install 'trigger-realtime-sync[celery]'",
        name="celery",
    ) from error

__all__ = [
    "Claims",
    "DjangoCacheClaims",
    "RedisClaims",
    "enqueue_on_complete",
    "run_output",
    "task_id_of",
]

NAMESPACE = uuid.UUID("7f0b0c0e-6d0a-5d0b-8a8f-3f9d9a3b5a52")
PREFIX = "trigger-realtime:claim:"
WEEK = 7 * 24 * 3600.0
"""Seconds for which a claim is kept: longer than a new subscription to a tag looks back."""

Arguments = Callable[[Run[Any, Any]], tuple[Sequence[Any], Mapping[str, Any]]]


class Claims(Protocol):
    """A record, shared by all processes, of which keys are taken."""

    def claim(self, key: str) -> bool:
        """Claim a key, atomically. Returns True for the first claim."""

    def release(self, key: str) -> None:
        """Release a claim."""


class RedisClaims:
    """Claims in Redis, by `SET NX`.

    Args:
        redis: a client of the package redis.
        seconds: for which a claim is kept.
    """

    def __init__(self, redis: Any, seconds: float = WEEK) -> None:
        self._redis = redis
        self._milliseconds = max(1, int(seconds * 1000))

    def claim(self, key: str) -> bool:
        return bool(self._redis.set(PREFIX + key, b"1", nx=True, px=self._milliseconds))

    def release(self, key: str) -> None:
        self._redis.delete(PREFIX + key)


class DjangoCacheClaims:
    """Claims in one of Django's caches, by `add`. All processes must share it: not `locmem`.

    Args:
        cache: `django.core.cache.cache`, or another cache.
        seconds: for which a claim is kept.
    """

    def __init__(self, cache: Any, seconds: float = WEEK) -> None:
        self._cache = cache
        self._seconds = seconds

    def claim(self, key: str) -> bool:
        return bool(self._cache.add(PREFIX + key, 1, timeout=self._seconds))

    def release(self, key: str) -> None:
        self._cache.delete(PREFIX + key)


def task_id_of(task: Task[Any, Any], run_id: str) -> str:
    """Return the id of the task for a run, equal in all processes: to look its result up by."""
    return str(uuid.uuid5(NAMESPACE, f"{task.name}\n{run_id}"))


def _run_id(run: Run[Any, Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    return [run.id], {}


def enqueue_on_complete(
    task: Task[Any, Any],
    *,
    claims: Claims | None = None,
    arguments: Arguments = _run_id,
    **options: Any,
) -> Callable[[Run[Any, Any]], None]:
    """Return an `on_complete` that enqueues a task for each run, at most once per run and task.

    Args:
        task: a Celery task.
        claims: where runs are claimed. Default: the result backend, if that is Redis.
        arguments: returns `(args, kwargs)` of the task. Default: the run's id alone, since the rest
            of a run may be large.
        options: passed to `task.apply_async`: `queue`, `countdown`… but not `task_id`, which is
            `task_id_of(task, run.id)`.

    Raises:
        ConfigurationError: no claims were given, and the result backend is not Redis.
    """
    if "task_id" in options:
        raise ConfigurationError("task_id is derived from the run's id, see task_id_of")
    chosen = claims if claims is not None else _claims_of_backend(task)

    def on_complete(run: Run[Any, Any]) -> None:
        task_id = task_id_of(task, run.id)
        args, kwargs = arguments(run)
        if not chosen.claim(task_id):
            return
        try:
            task.apply_async(args=args, kwargs=kwargs, task_id=task_id, **options)
        except BaseException:
            chosen.release(task_id)
            raise

    return on_complete


def _claims_of_backend(task: Task[Any, Any]) -> RedisClaims:
    backend = task.app.backend
    if not hasattr(backend, "client") or "redis" not in type(backend).__module__:
        raise ConfigurationError(
            "the result backend is not Redis: pass where runs are claimed, as claims=RedisClaims(…)"
        )
    return RedisClaims(backend.client)


def run_output(
    celery_task: Task[Any, Any],
    client: RealtimeClient,
    task: RunTask[Any, Any] | str,
    *payload: Any,
    margin: float = 5.0,
    cancels_late: bool = False,
    **options: Any,
) -> Any:
    """Trigger a run from a Celery task, wait for it, and return its output.

    Args:
        celery_task: the task that is executed: `self`, with `bind=True`.
        client: that of the module.
        task, payload: as in `client.trigger`.
        margin: seconds before the task's time limit, the soft one if it has both, at which to give
            up. The limit is counted from this call, so make it first.
        cancels_late: whether the run is cancelled then. Otherwise it goes on, and a second
            execution of the Celery task finds it.
        options: as in `client.trigger`. The `idempotency_key` is by default that of the Celery task
            and of its retry: a second execution of the same message follows the first one's run,
            and `self.retry()` triggers another one.

    Raises:
        WaitTimeout: the run has not finished, and the soft time limit is near.
        RunFailed: it did not succeed.
        TriggerRealtimeError: as `client.trigger` and `handle.result`.
    """
    if len(payload) > 1:
        raise TypeError("run_output takes a task and one payload")
    request = celery_task.request
    if options.get("idempotency_key") is None and request.id is not None:
        options["idempotency_key"] = [celery_task.name or "", request.id, str(request.retries)]
    ends = _end_of(celery_task, margin)
    if ends is not None and options.get("call_timeout") is None:
        options["call_timeout"] = max(1.0, ends - time.monotonic())
    handle = client.trigger(task, *payload, **options)
    try:
        left = None if ends is None else max(0.0, ends - time.monotonic())
        return handle.result(left)
    except (WaitTimeout, SoftTimeLimitExceeded):
        if cancels_late:
            with contextlib.suppress(TriggerRealtimeError):
                handle.cancel(call_timeout=max(1.0, min(margin, 5.0)))
        raise


def _end_of(celery_task: Task[Any, Any], margin: float) -> float | None:
    """Return when to give up, a moment of `time.monotonic()`; None if there is no time limit."""
    hard, soft = celery_task.request.timelimit or (None, None)
    limits = [soft or celery_task.soft_time_limit, hard or celery_task.time_limit]
    seconds = next((one for one in limits if one), None)
    return None if seconds is None else time.monotonic() + max(0.0, seconds - margin)
