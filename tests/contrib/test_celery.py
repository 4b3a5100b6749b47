"""Tasks for runs that have finished."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from trigger_realtime_sync import ConfigurationError, Run, RunFailed, WaitTimeout

celery = pytest.importorskip("celery", reason="Celery is not installed")

from trigger_realtime_sync.contrib.celery import (  # noqa: E402
    DjangoCacheClaims,
    RedisClaims,
    enqueue_on_complete,
    run_output,
    task_id_of,
)


class Claims:
    """Claims that all "processes" of a test see."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self._lock = threading.Lock()

    def claim(self, key: str) -> bool:
        with self._lock:
            first = key not in self.keys
            self.keys.add(key)
            return first

    def release(self, key: str) -> None:
        self.keys.discard(key)


class Redis:
    """The used part of a Redis client."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def set(self, key: str, value: Any, *, nx: bool, px: int) -> bool | None:
        if nx and key in self.values:
            return None
        self.values[key] = (value, px)
        return True

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


class Cache:
    """The used part of Django's cache."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def add(self, key: str, value: Any, timeout: float) -> bool:
        if key in self.values:
            return False
        self.values[key] = (value, timeout)
        return True

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Any:
    app = celery.Celery("shop", broker="memory://", backend="cache+memory://")

    @app.task(name="shop.process")
    def process(run_id: str) -> None: ...

    process.sent = []
    monkeypatch.setattr(process, "apply_async", lambda **options: process.sent.append(options))
    return process


def test_a_run_is_enqueued_once_however_many_processes_hear_of_its_end(task):
    """Only the first claim sends, and the task's id is derived from the run's."""
    claims = Claims()
    listeners = [enqueue_on_complete(task, claims=claims, queue="slow") for _ in range(5)]
    for listener in listeners:
        listener(Run(id="run_1"))
        listener(Run(id="run_1"))
    assert task.sent == [
        {"args": ["run_1"], "kwargs": {}, "task_id": task_id_of(task, "run_1"), "queue": "slow"}
    ]
    listeners[3](Run(id="run_2"))
    assert [sent["args"] for sent in task.sent] == [["run_1"], ["run_2"]]


def test_two_tasks_for_one_run_are_two_tasks(task):
    """A claim belongs to a run and a task."""
    claims = Claims()

    @task.app.task(name="shop.other")
    def other(run_id: str) -> None: ...

    assert task_id_of(task, "run_1") != task_id_of(other, "run_1")
    assert task_id_of(task, "run_1") == task_id_of(task, "run_1")
    enqueue_on_complete(task, claims=claims)(Run(id="run_1"))
    assert claims.claim(task_id_of(other, "run_1"))


def test_a_broker_that_fails_gives_the_claim_back(task, monkeypatch):
    """The callback raises the error, and the next process, or subscription, tries again."""

    def fails(**options: Any) -> None:
        raise ConnectionError("no broker")

    claims = Claims()
    listener = enqueue_on_complete(task, claims=claims)
    with monkeypatch.context() as broken:
        broken.setattr(task, "apply_async", fails)
        with pytest.raises(ConnectionError):
            listener(Run(id="run_1"))
    listener(Run(id="run_1"))
    assert len(task.sent) == 1


def test_the_arguments_are_chosen_by_the_caller(task):
    """Any part of the run can be passed."""
    listener = enqueue_on_complete(
        task, claims=Claims(), arguments=lambda run: ([], {"run_id": run.id, "ok": run.is_success})
    )
    listener(Run(id="run_1", status="COMPLETED"))
    assert task.sent[0]["kwargs"] == {"run_id": "run_1", "ok": True}


@pytest.mark.parametrize(
    "claims", [RedisClaims(Redis(), 60.0), DjangoCacheClaims(Cache(), 60.0)], ids=["redis", "cache"]
)
def test_claims_are_taken_once_until_they_are_released(claims):
    """In Redis and in Django's cache, for a bounded time."""
    assert claims.claim("a")
    assert not claims.claim("a")
    claims.release("a")
    assert claims.claim("a")
    store = getattr(claims, "_redis", None) or claims._cache
    assert [bound for _, bound in store.values.values()] in ([60_000], [60.0])


def test_claims_need_a_place_that_all_processes_see(task):
    """Without Redis as the result backend the place must be named; the id can't be chosen."""
    with pytest.raises(ConfigurationError, match="claims="):
        enqueue_on_complete(task)
    with pytest.raises(ConfigurationError, match="task_id"):
        enqueue_on_complete(task, claims=Claims(), task_id="mine")


def test_a_subscription_enqueues(server, client, task):
    """Two subscriptions are notified of the end, and one task is sent."""
    listener = enqueue_on_complete(task, claims=Claims())
    run_id = server.create_run()
    both = [client.subscribe_to_run(run_id, on_complete=listener) for _ in range(2)]
    server.complete_run(run_id)
    for subscription in both:
        subscription.wait_for_completion(10)
    assert [sent["args"] for sent in task.sent] == [[run_id]]


class Waiting:
    """A task that runs in this process, as a worker would run it."""

    def __init__(self, client: Any, **options: Any) -> None:
        app = celery.Celery("shop", broker="memory://", backend="cache+memory://")

        @app.task(bind=True, name="shop.thumbnails", max_retries=1, **options)
        def thumbnails(self, video, **more):
            return run_output(self, client, "make-thumbnails", {"video": video}, **more)

        self.task = thumbnails

    def run(self, *, id: str = "id-1", retries: int = 0, limits: Any = None, **more: Any) -> Any:
        """Run it as a message of this id."""
        self.task.push_request(id=id, retries=retries, timelimit=limits, args=(), kwargs={})
        try:
            return self.task.run("v1", **more)
        finally:
            self.task.pop_request()


@pytest.fixture
def waiting(client) -> Any:
    return lambda **options: Waiting(client, **options)


def test_a_task_triggers_and_returns_the_output(server, waiting):
    """In one line."""
    server.task("make-thumbnails")(lambda payload: {"of": payload["video"]})
    assert waiting().run() == {"of": "v1"}


def test_a_task_that_runs_twice_triggers_once(server, waiting):
    """A second message of the same id follows the same run; a retry triggers another one."""
    server.task("make-thumbnails")(lambda payload: 1)
    task = waiting()
    for retries in (0, 0, 1):
        assert task.run(retries=retries) == 1
    assert task.run(id="id-2") == 1
    assert len({one.run_id for one in server.triggered("make-thumbnails")}) == 3
    own = [task.run(id=one, idempotency_key="mine") for one in ("id-3", "id-4")]
    assert own == [1, 1]
    assert len({one.run_id for one in server.triggered("make-thumbnails")}) == 4


def test_a_call_outside_of_a_worker_has_no_key(server, waiting):
    """Each call is one of its own."""
    server.task("make-thumbnails")(lambda payload: 1)
    task = waiting().task
    assert [task("v1"), task("v1")] == [1, 1]
    assert len({one.run_id for one in server.triggered("make-thumbnails")}) == 2


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({"soft_time_limit": 5.3}, None),
        ({"time_limit": 5.3}, None),
        ({"soft_time_limit": 600}, (None, 5.3)),
        ({"soft_time_limit": 600, "time_limit": 600}, (5.3, 5.2)),
    ],
)
def test_a_task_gives_up_before_its_time_is_over(server, client, waiting, options, limits):
    """Whether the time limit is the task's or the message's; the run goes on."""
    with pytest.raises(WaitTimeout):
        waiting(**options).run(limits=limits, call_timeout=30)
    (asked,) = server.triggered("make-thumbnails")
    assert client.runs.retrieve(asked.run_id).status == "QUEUED"


def test_what_is_given_up_is_cancelled_where_that_is_asked_for(server, client, waiting):
    """So is what Celery's own limit ends in the middle of the wait."""
    with pytest.raises(WaitTimeout):
        waiting(soft_time_limit=5.2).run(cancels_late=True, call_timeout=30)
    (asked,) = server.triggered("make-thumbnails")
    assert client.runs.retrieve(asked.run_id).status == "CANCELED"

    def time_is_up(*arguments: Any) -> None:
        raise celery.exceptions.SoftTimeLimitExceeded

    def interrupt() -> None:
        server.wait_until_held(timeout=30)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, time_is_up)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(celery.exceptions.SoftTimeLimitExceeded):
            waiting().run(id="id-2", cancels_late=True)
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    asked = server.triggered("make-thumbnails")[-1]
    assert client.runs.retrieve(asked.run_id).status == "CANCELED"


def test_a_run_that_fails_fails_the_task(server, waiting):
    """With its own message."""

    @server.task("make-thumbnails")
    def fail(payload: Any) -> None:
        raise ValueError("out of paper")

    with pytest.raises(RunFailed, match="out of paper"):
        waiting().run()
