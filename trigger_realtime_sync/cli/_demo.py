"""The command `demo`: a server, tasks and the live view, all in this process."""

from __future__ import annotations

import argparse
import threading
from collections import Counter
from typing import TYPE_CHECKING

from ..models import AnyRun
from ._exits import Exit
from ._follow import UNSHOWN, session
from ._lines import write
from ._scenario import STREAM, play, set_scene
from ._screen import choose_view

if TYPE_CHECKING:
    from ..testing import RealtimeServer

TOKEN = "tr_demo"

NEXT = """\
What to do next: set TRIGGER_SECRET_KEY, take the id of a run of your own, and
    from trigger_realtime_sync import RealtimeClient
    with RealtimeClient() as client:
        print(client.wait_for_completion("run_1234", timeout=300).output)
"""


def make_server(backend: str = "native", port: int = 0) -> RealtimeServer:
    """The server in this process, not started yet."""
    from ..testing import RealtimeServer

    return RealtimeServer("electric" if backend == "electric" else "native", port=port)


def demo(options: argparse.Namespace) -> int:
    """`demo`."""
    stopped = threading.Event()
    with make_server() as server:
        scene = set_scene(server)
        player = threading.Thread(
            target=play, args=(scene, stopped, options.speed), name="demo-tasks", daemon=True
        )
        try:
            with session(TOKEN, server.url) as here:
                runs = here.client.subscribe_to_batch(
                    scene.batch_id, skip_columns=UNSHOWN, **here.callbacks
                )
                words = here.client.subscribe_to_stream(
                    scene.writer_id,
                    STREAM,
                    on_stream=here.feed.on_stream,
                    on_error=here.feed.on_error,
                )
                view = choose_view("demo")
                player.start()
                here.show(view, runs, words)
        finally:
            stopped.set()
    write(_summary(runs.runs) + NEXT)
    return Exit.COMPLETED


def _summary(runs: list[AnyRun]) -> str:
    ends = Counter(run.status.value.lower() for run in runs)
    told = ", ".join(f"{count} {status}" for status, count in ends.most_common())
    return f"{len(runs)} runs finished: {told}.\n"
