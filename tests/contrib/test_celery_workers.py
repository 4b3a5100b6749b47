"""Celery's prefork pool with Redis: children fork, follow runs, are killed, and stop."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contrib.processes import HERE, Process, free_port, python, stop_seconds
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed"),
    *(
        pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"{name} is not installed")
        for name in ("celery", "redis")
    ),
]

Start = Callable[[], Process]


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    server = shutil.which("redis-server") or ""
    log = tmp_path / "redis.log"
    options = ("--port", str(port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1")
    with Process(server, *options, cwd=tmp_path, log=log) as process:
        process.wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def environment(server: RealtimeServer, redis_url: str) -> dict[str, str]:
    return {"TRIGGER_API_URL": server.url, "REDIS_URL": redis_url}


class Sender:
    """Sends tasks, and reads their results from Redis."""

    def __init__(self, app: Any, redis: Any) -> None:
        self._app = app
        self._redis = redis

    def follow(self, run_id: str) -> str:
        """Send the task that follows a run, and return the id of the task."""
        return str(self._app.send_task("shop.follow", [run_id]).id)

    def send(self, name: str, *arguments: Any) -> str:
        """Send a task, and return its id."""
        return str(self._app.send_task(name, arguments).id)

    def started(self, count: int) -> list[int]:
        """Wait until so many executions have started, and return the children's ids."""

        def enough() -> list[Any] | None:
            pids = self._redis.lrange("started", 0, -1)
            return pids if len(pids) >= count else None

        return [int(pid) for pid in eventually(enough, "the task did not start", 30)]

    def result(self, task_id: str) -> dict[str, Any]:
        """Return the result of the task."""
        key = f"celery-task-meta-{task_id}"
        meta = json.loads(eventually(lambda: self._redis.get(key), "the task did not end", 20))
        assert meta["status"] == "SUCCESS", meta
        return dict(meta["result"])

    @property
    def finished(self) -> list[str]:
        """Return the runs that were enqueued as finished."""
        return [run_id.decode() for run_id in self._redis.lrange("finished", 0, -1)]


@pytest.fixture
def sender(environment: dict[str, str]) -> Iterator[Sender]:
    import celery
    import redis

    with celery.Celery("sender", broker=environment["REDIS_URL"]) as app:
        client = redis.Redis.from_url(environment["REDIS_URL"])
        yield Sender(app, client)
        client.close()
        client.connection_pool.disconnect()


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    with ExitStack() as stack:

        def run() -> Process:
            log = tmp_path / f"worker-{len(list(tmp_path.iterdir()))}.log"
            command = python("-m", "celery", "--app", "celery_app", "worker", "--loglevel", "INFO")
            options = ("--concurrency", "2", "--hostname", f"{log.stem}@test", "--without-mingle")
            process = Process(*command, *options, cwd=HERE / "apps", env=environment, log=log)
            stack.enter_context(process)
            process.wait_for_log(" ready.", 30)
            return process

        yield run


def test_children_follow_runs_and_are_replaced_when_they_are_killed(start, server, sender):
    """Each child has a client that works, beside the parent's subscription."""
    process = start()
    server.wait_until_held(1, match="runs")
    first = server.create_run(status="EXECUTING")
    task_id = sender.follow(first)
    server.wait_until_held(1, match="run")
    server.complete_run(first, output="one")
    said = sender.result(task_id)
    assert (said["status"], said["output"]) == ("COMPLETED", "one")
    assert said["pid"] != process.popen.pid

    os.kill(said["pid"], signal.SIGKILL)
    runs = [server.create_run(status="EXECUTING") for _ in range(2)]
    task_ids = [sender.follow(run_id) for run_id in runs]
    server.wait_until_held(2, 20, match="run")
    for run_id in runs:
        server.complete_run(run_id, output="two")
    pids = {sender.result(task_id)["pid"] for task_id in task_ids}
    assert len(pids) == 2
    assert said["pid"] not in pids
    assert server.held_polls >= 1, "the parent's subscription is gone"


def test_two_workers_enqueue_a_finished_run_once(start, server, sender):
    """Both are notified of the end, and so is a worker that starts later."""
    start()
    start()
    server.wait_until_held(2, match="runs")
    run_id = server.create_run(tags=["shop"])
    server.complete_run(run_id)
    eventually(lambda: sender.finished, "the run was not enqueued", 20)
    late = start()
    server.wait_until_held(3, 20, match="runs")
    other = server.create_run(tags=["shop"])
    server.complete_run(other)
    eventually(lambda: len(sender.finished) >= 2, "the second run was not enqueued", 20)
    assert sender.finished == [run_id, other]
    assert "Traceback" not in late.log


def test_a_worker_stops_at_once_with_subscriptions_open(start, server):
    """The parent's subscription ends at once; Celery itself takes 1.5 to 2.5 s to stop."""
    process = start()
    server.wait_until_held(1, match="runs")
    process.popen.send_signal(signal.SIGTERM)
    server.wait_for_connections(0, stop_seconds())
    process.popen.wait(15)


def test_a_worker_that_waits_for_a_run_stops_at_once_when_told_not_to_wait(start, server, sender):
    """SIGTERM lets a task finish; SIGQUIT ends it, blocked on the network or not."""
    process = start()
    sender.follow(server.create_run(status="EXECUTING"))
    server.wait_until_held(1, match="run")
    process.popen.send_signal(signal.SIGQUIT)
    server.wait_for_connections(0, stop_seconds())
    process.popen.wait(15)


def test_a_task_that_runs_twice_follows_the_run_of_the_first_time(start, server, sender):
    """The child is killed while it waits; the message is handed out again, and its run is found."""
    start()
    task_id = sender.send("shop.thumbnails", "v1")
    (killed,) = sender.started(1)
    server.wait_until_held(1, 20, match="run")
    os.kill(killed, signal.SIGKILL)
    first, second = sender.started(2)
    assert (first, second != first) == (killed, True)
    eventually(lambda: len(server.triggered("make-thumbnails")) == 2, "it did not trigger", 20)
    runs = {one.run_id for one in server.triggered("make-thumbnails")}
    assert len(runs) == 1
    server.complete_run(runs.pop(), output=["v1.png"])
    assert sender.result(task_id) == {"pid": second, "output": ["v1.png"]}


def test_a_task_gives_up_before_celery_interrupts_it(start, server, sender, client):
    """By its own time limit; its run is cancelled where that is asked for."""
    start()
    ids = [sender.send("shop.late", cancels) for cancels in (False, True)]
    assert [sender.result(one) for one in ids] == [{"gave_up": "WaitTimeout"}] * 2
    statuses = [client.runs.retrieve(one.run_id).status for one in server.triggered("never")]
    assert sorted(status.value for status in statuses) == ["CANCELED", "QUEUED"]
