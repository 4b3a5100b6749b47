"""A stand-in for your Trigger.dev project: a server in this process, and tasks that run on it.

With a project of your own you need nothing of this: set TRIGGER_SECRET_KEY, and trigger tasks.
"""

import itertools
import random
import threading

from trigger_realtime_sync.testing import RealtimeServer

STREAM = "answer"

JOBS = [
    ("import-products", "product"),
    ("transcode-video", "frame"),
    ("send-newsletter", "reader"),
    ("resize-photos", "photo"),
    ("sync-contacts", "contact"),
    ("nightly-backup", "table"),
]

ANSWER = """A queue holds work that is still to be done. A worker takes the next job, does it, and \
reports how it went; a job that failed is tried again after a while.

Whoever asked for the work can check now and then, or better, be notified. The text you are \
reading arrives that way: a task writes it word by word to a stream, and one process of this web \
server reads the stream, once, and sends every word to all open pages.

Reload the page, or open it twice. The question is not asked again: everything written so far \
appears at once, and the rest as it is written."""


class Tasks:
    """Plays tasks on a server."""

    def __init__(self, server: RealtimeServer) -> None:
        self._server = server
        self._jobs = itertools.cycle(JOBS)

    def start_job(self, tag: str) -> str:
        """Trigger the next job, and return the id of its run."""
        task, unit = next(self._jobs)
        run_id = self._server.create_run(task, tags=[tag])
        self._play(self._work, run_id, unit)
        return run_id

    def ask(self, question: str) -> str:
        """Trigger the task that answers questions, and return the id of its run."""
        run_id = self._server.create_run(
            "answer-question", payload={"question": question}, realtime_streams=[STREAM]
        )
        self._play(self._answer, run_id)
        return run_id

    def _play(self, task, *arguments) -> None:
        threading.Thread(target=task, args=arguments, name="demo-task", daemon=True).start()

    def _work(self, run_id: str, unit: str) -> None:
        pause = threading.Event()
        total = random.randint(60, 400)
        fails = random.random() < 0.15
        pause.wait(random.uniform(0.2, 2.5))
        self._server.update_run(run_id, status="EXECUTING")
        steps = random.randint(25, 60)
        for step in range(1, steps + 1):
            pause.wait(random.uniform(0.08, 0.4))
            done = total * step // steps
            progress = {"current": done, "total": total}
            text = f"{unit} {done} of {total}"
            self._server.update_run(run_id, metadata={"progress": progress, "text": text})
            if fails and step > steps * 0.6:
                self._server.fail_run(run_id, f"The {unit} after {done} can't be read")
                return
        self._server.complete_run(run_id, output={"done": total})

    def _answer(self, run_id: str) -> None:
        pause = threading.Event()
        pause.wait(0.6)
        self._server.update_run(run_id, status="EXECUTING")
        words = ANSWER.split(" ")
        for number, word in enumerate(words):
            pause.wait(random.uniform(0.02, 0.12))
            self._server.append(run_id, STREAM, word if number == 0 else f" {word}")
        self._server.complete_run(run_id, output={"words": len(words)})
