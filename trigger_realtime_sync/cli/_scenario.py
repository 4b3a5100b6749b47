"""The runs of the demo: what tasks would do, played on the server in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from ..testing import RealtimeServer

TAG = "demo"
STREAM = "answer"

ANSWER = (
    "A queue keeps work that is still to be done. A worker takes the next job, does it, and "
    "says how it went; a job that failed is tried again after a while. Whoever asked for the "
    "work may look in now and then, or better, be told: that is what you see above, one line "
    "for each run. And this text? It comes word by word, while its run is still executing."
)

Step = tuple[float, Callable[[], object]]


@attrs.frozen
class Scene:
    """The runs of one round.

    Attributes:
        runs: their ids, in the order in which they were created.
        batch_id: the batch that they are in.
        writer_id: the run that streams its answer.
        steps: what happens when, in seconds from the start.
    """

    runs: list[str]
    batch_id: str
    writer_id: str
    steps: list[Step]


def set_scene(server: RealtimeServer) -> Scene:
    """Creates the runs, all queued."""

    born = datetime.now(timezone.utc) - timedelta(seconds=1)

    def create(task: str, *tags: str, **more: Any) -> str:
        nonlocal born
        born += timedelta(milliseconds=20)
        return server.create_run(task, tags=[TAG, *tags], created_at=born, **more)

    ids = {
        "import": create("import-products", "shop:42", payload={"feed": "products.csv"}),
        "video": create("transcode-video", "user:7", payload={"video": "intro.mov"}),
        "answer": create("answer-question", payload={"question": "What is a job queue?"}),
        "refund": create("approve-refund", "shop:42", payload={"order": 1017}),
        "crm": create("sync-contacts", "crm"),
        "report": create("weekly-report"),
        "mail": create("send-newsletter", "mail"),
    }
    steps: list[Step] = [
        *_import(server, ids["import"]),
        *_video(server, ids["video"]),
        *_answer(server, ids["answer"]),
        *_refund(server, ids["refund"]),
        *_contacts(server, ids["crm"]),
        *_mail(server, ids["mail"]),
        (5.0, partial(server.cancel_run, ids["report"])),
    ]
    return Scene(
        runs=list(ids.values()),
        batch_id=server.batch(*ids.values()),
        writer_id=ids["answer"],
        steps=sorted(steps, key=lambda step: step[0]),
    )


def play(scene: Scene, stopped: threading.Event, speed: float) -> None:
    """Plays the steps at their times, until the end or until told to stop."""
    clock = 0.0
    for at, act in scene.steps:
        if stopped.wait((at - clock) / speed):
            return
        clock = at
        act()


def _import(server: RealtimeServer, run_id: str) -> list[Step]:
    update = partial(server.update_run, run_id)
    steps: list[Step] = [(0.6, partial(update, status="EXECUTING"))]
    for step in range(1, 49):
        progress = {"current": step * 5, "total": 240}
        status = f"product {step * 5} of 240"
        metadata = {"progress": progress, "status": status}
        steps.append((0.7 + step * 0.22, partial(update, metadata=metadata)))
    return [*steps, (11.6, partial(server.complete_run, run_id, output={"imported": 240}))]


def _video(server: RealtimeServer, run_id: str) -> list[Step]:
    update = partial(server.update_run, run_id)
    steps: list[Step] = [(0.3, partial(update, status="EXECUTING"))]
    for percentage in range(4, 101, 4):
        status = "first pass" if percentage < 50 else "second pass"
        metadata = {"progress": {"percentage": percentage}, "status": status}
        steps.append((0.4 + percentage * 0.08, partial(update, metadata=metadata)))
    return [*steps, (8.6, partial(server.complete_run, run_id, output={"seconds": 94}))]


def _answer(server: RealtimeServer, run_id: str) -> list[Step]:
    steps: list[Step] = [(0.9, partial(server.update_run, run_id, status="EXECUTING"))]
    words = ANSWER.split(" ")
    for number, word in enumerate(words):
        token = word if number == 0 else f" {word}"
        steps.append((1.2 + number * 0.1, partial(server.append, run_id, STREAM, token)))
    end = 1.4 + len(words) * 0.1
    return [*steps, (end, partial(server.complete_run, run_id, output={"words": len(words)}))]


def _refund(server: RealtimeServer, run_id: str) -> list[Step]:
    update = partial(server.update_run, run_id)
    asked = {"status": "waits for a person to approve"}
    return [
        (0.8, partial(update, status="EXECUTING")),
        (1.9, partial(update, status="WAITING_TO_RESUME", metadata=asked)),
        (6.6, partial(update, status="EXECUTING", metadata={"status": "paying back"})),
        (7.8, partial(server.complete_run, run_id, output={"refunded": True})),
    ]


def _contacts(server: RealtimeServer, run_id: str) -> list[Step]:
    update = partial(server.update_run, run_id)
    steps: list[Step] = []
    for attempt in (1, 2, 3):
        start = 0.5 + (attempt - 1) * 2.9
        for number in range(1, 5):
            metadata = {
                "progress": {"percentage": number * 9 + attempt},
                "status": f"attempt {attempt} of 3",
            }
            act = partial(update, status="EXECUTING", metadata=metadata)
            steps.append((start + number * 0.4, act))
        retry = {"progress": {"percentage": 36 + attempt}, "status": "HTTP 503, trying again"}
        steps.append(
            (start + 2.0, partial(update, status="RETRYING_AFTER_FAILURE", metadata=retry))
        )
    message = "contacts.example.com answered 503, three times"
    steps[-1] = (8.4, partial(server.fail_run, run_id, message, name="ServiceUnavailable"))
    return steps


def _mail(server: RealtimeServer, run_id: str) -> list[Step]:
    update = partial(server.update_run, run_id)
    steps: list[Step] = [(3.6, partial(update, status="EXECUTING"))]
    for number in range(1, 21):
        metadata = {"progress": number / 20}
        steps.append((3.7 + number * 0.3, partial(update, metadata=metadata)))
    return [*steps, (10.0, partial(server.complete_run, run_id, output={"sent": 1280}))]
