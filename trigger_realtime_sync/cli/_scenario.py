"""The runs of the demo: what tasks would do, played on the server in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from ..testing import RealtimeServer

TAG = "demo"
STREAM = "answer"

ANSWER = (
    "A queue holds work that is still to be done. A worker takes the next job, does it, and "
    "reports how it went; a job that failed is tried again after a while. Whoever asked for the "
    "work can check now and then, or better, be notified: that is what you see above, one line for "
    "each run. And this text? It arrives word by word, while its run is still executing."
)

Step = tuple[float, Callable[[], object]]


@attrs.frozen
class Scene:
    """The runs of one round.

    Attributes:
        runs: the ids, in the order of creation.
        batch_id: the batch of all runs.
        writer_id: the run that streams its answer.
        steps: what happens, and when, in seconds from the start.
    """

    runs: list[str]
    batch_id: str
    writer_id: str
    steps: list[Step]


def set_scene(server: RealtimeServer) -> Scene:
    """Create the runs, all of them queued."""
    created_at = datetime.now(timezone.utc) - timedelta(seconds=1)
    steps: list[Step] = []
    run_ids = {}
    for number, (script, task, tags, payload) in enumerate(_RUNS, start=1):
        run_id = server.create_run(
            task,
            tags=[TAG, *tags],
            payload=payload,
            created_at=created_at + number * timedelta(milliseconds=20),
        )
        script(Actor(server, run_id, steps))
        run_ids[task] = run_id
    runs = list(run_ids.values())
    return Scene(
        runs=runs,
        batch_id=server.batch(*runs),
        writer_id=run_ids["answer-question"],
        steps=sorted(steps, key=itemgetter(0)),
    )


def play(scene: Scene, stopped: threading.Event, speed: float) -> None:
    """Play the steps at their times, until the last one or until `stopped` is set."""
    clock = 0.0
    for at, act in scene.steps:
        if stopped.wait((at - clock) / speed):
            return
        clock = at
        act()


@attrs.frozen
class Actor:
    """Adds the steps of one run. `at` is in seconds from the start."""

    _server: RealtimeServer
    _run_id: str
    _steps: list[Step]

    def execute(self, at: float) -> None:
        self._add(at, self._server.update_run, status="EXECUTING")

    def report(
        self, at: float, status: str | None = None, *, run_status: str | None = None, **more: Any
    ) -> None:
        metadata = more if status is None else {**more, "status": status}
        self._add(at, self._server.update_run, status=run_status, metadata=metadata)

    def write(self, at: float, part: Any) -> None:
        self._add(at, self._server.append, STREAM, part)

    def complete(self, at: float, **output: Any) -> None:
        self._add(at, self._server.complete_run, output=output)

    def fail(self, at: float, name: str, message: str) -> None:
        self._add(at, self._server.fail_run, message, name=name)

    def cancel(self, at: float) -> None:
        self._add(at, self._server.cancel_run)

    def _add(self, at: float, act: Callable[..., object], *arguments: Any, **options: Any) -> None:
        self._steps.append((at, partial(act, self._run_id, *arguments, **options)))


def _import_products(run: Actor) -> None:
    run.execute(0.6)
    for step in range(1, 49):
        done = step * 5
        progress = {"current": done, "total": 240}
        run.report(0.7 + step * 0.22, f"product {done} of 240", progress=progress)
    run.complete(11.6, imported=240)


def _transcode_video(run: Actor) -> None:
    run.execute(0.3)
    for percentage in range(4, 101, 4):
        status = "first pass" if percentage < 50 else "second pass"
        run.report(0.4 + percentage * 0.08, status, progress={"percentage": percentage})
    run.complete(8.6, seconds=94)


def _answer_question(run: Actor) -> None:
    run.execute(0.9)
    words = ANSWER.split(" ")
    for number, word in enumerate(words):
        run.write(1.2 + number * 0.1, word if number == 0 else f" {word}")
    run.complete(1.4 + len(words) * 0.1, words=len(words))


def _approve_refund(run: Actor) -> None:
    run.execute(0.8)
    run.report(1.9, "waiting for approval", run_status="WAITING_TO_RESUME")
    run.report(6.6, "paying back", run_status="EXECUTING")
    run.complete(7.8, refunded=True)


def _sync_contacts(run: Actor) -> None:
    for attempt in (1, 2, 3):
        start = 0.5 + (attempt - 1) * 2.9
        for number in range(1, 5):
            run.report(
                start + number * 0.4,
                f"attempt {attempt} of 3",
                run_status="EXECUTING",
                progress={"percentage": number * 9 + attempt},
            )
        if attempt < 3:
            run.report(
                start + 2.0,
                "HTTP 503, trying again",
                run_status="RETRYING_AFTER_FAILURE",
                progress={"percentage": 36 + attempt},
            )
    run.fail(8.4, "ServiceUnavailable", "contacts.example.com answered 503, three times")


def _weekly_report(run: Actor) -> None:
    run.cancel(5.0)


def _send_newsletter(run: Actor) -> None:
    run.execute(3.6)
    for number in range(1, 21):
        run.report(3.7 + number * 0.3, progress=number / 20)
    run.complete(10.0, sent=1280)


# Script, task, tags and payload of each run.
_RUNS: tuple[tuple[Callable[[Actor], None], str, list[str], Any], ...] = (
    (_import_products, "import-products", ["shop:42"], {"feed": "products.csv"}),
    (_transcode_video, "transcode-video", ["user:7"], {"video": "intro.mov"}),
    (_answer_question, "answer-question", [], {"question": "What is a job queue?"}),
    (_approve_refund, "approve-refund", ["shop:42"], {"order": 1017}),
    (_sync_contacts, "sync-contacts", ["crm"], None),
    (_weekly_report, "weekly-report", [], None),
    (_send_newsletter, "send-newsletter", ["mail"], None),
)
