"""Celery: a task for each run that has finished, at most once.

    process_result = enqueue_on_complete(tasks.process_result)
    client.subscribe_to_runs_with_tag("import", on_complete=process_result)

`on_complete` is called once per run and subscription: in each process that subscribes, and again
after a restart for the runs that have finished already. A task id made from the run's id does not
help by itself, since Celery sends and runs a second message of the same id like the first. So
before the message is sent the run is *claimed* where all processes see it, and only the one that
got the claim sends. A process that dies between the two loses the message: at most once. A broker
that can't be reached gives the claim back, and the error goes to `on_error`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from .. import ConfigurationError, Run

try:
    from celery import Task
except ModuleNotFoundError as error:
    if error.name != "celery":
        raise
    raise ModuleNotFoundError(
        "trigger_realtime_sync.contrib.celery needs Celery:"
        " pip install 'trigger-realtime-sync[celery]'",
        name="celery",
    ) from error

__all__ = ["Claims", "DjangoCacheClaims", "RedisClaims", "enqueue_on_complete", "task_id_of"]

NAMESPACE = uuid.UUID("7f0b0c0e-6d0a-5d0b-8a8f-3f9d9a3b5a52")
PREFIX = "trigger-realtime:claim:"
WEEK = 7 * 24 * 3600.0
"""How long a claim is kept, in seconds: longer than the runs that a new subscription shows."""

Arguments = Callable[[Run[Any, Any]], tuple[Sequence[Any], Mapping[str, Any]]]


class Claims(Protocol):
    """Where all processes see who was first."""

    def claim(self, key: str) -> bool:
        """Whether this is the first claim of the key. Atomic."""

    def release(self, key: str) -> None:
        """Gives a claim back."""


class RedisClaims:
    """Claims in Redis, by `SET NX`.

    Args:
        redis: a client of the package redis.
        seconds: how long a claim is kept.
    """

    def __init__(self, redis: Any, seconds: float = WEEK) -> None:
        self._redis = redis
        self._milliseconds = max(1, int(seconds * 1000))

    def claim(self, key: str) -> bool:
        return bool(self._redis.set(PREFIX + key, b"1", nx=True, px=self._milliseconds))

    def release(self, key: str) -> None:
        self._redis.delete(PREFIX + key)


class DjangoCacheClaims:
    """Claims in one of Django's caches, by `add`: one that all processes share, not `locmem`.

    Args:
        cache: `django.core.cache.cache`, or another one.
        seconds: how long a claim is kept.
    """

    def __init__(self, cache: Any, seconds: float = WEEK) -> None:
        self._cache = cache
        self._seconds = seconds

    def claim(self, key: str) -> bool:
        return bool(self._cache.add(PREFIX + key, 1, timeout=self._seconds))

    def release(self, key: str) -> None:
        self._cache.delete(PREFIX + key)


def task_id_of(task: Task[Any, Any], run_id: str) -> str:
    """The id of the task for a run: the same in every process, to look its result up by."""
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
    """An `on_complete` that sends a task for each finished run, at most once per run and task.

    Args:
        task: a Celery task.
        claims: where runs are claimed. By default in the result backend, if that is Redis.
        arguments: makes `(args, kwargs)` of the task; by default the run's id alone, since what a
            run holds may be large.
        options: of `task.apply_async`: `queue`, `countdown`…; not `task_id`, which is `task_id_of`.

    Raises:
        ConfigurationError: no claims were given, and the result backend is not Redis.
    """
    if "task_id" in options:
        raise ConfigurationError("task_id is made from the run's id")
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
            "the result backend is not Redis: say where runs are claimed, claims=RedisClaims(…) say"
        )
    return RedisClaims(backend.client)
