"""The commands `demo` and `serve`: a server in this process, and runs that are played on it."""

from __future__ import annotations

import argparse
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..models import AnyRun
from ._exits import CommandError, Exit
from ._look import look_of
from ._output import write
from ._parser import Commands
from ._scenario import STREAM, TAG, play, set_scene
from ._session import NOT_SHOWN, choose_view, session
from ._values import factor, port

if TYPE_CHECKING:
    from ..testing import RealtimeServer

TOKEN = "tr_demo"
# Runs that are triggered from outside are played by a function.
TASK = "make-thumbnails"
# Between two rounds of `serve`.
PAUSE_SECONDS = 3.0

NEXT_STEP = """\
Next: set TRIGGER_SECRET_KEY, take the id of one of your runs, and
    from trigger_realtime_sync import RealtimeClient
    with RealtimeClient() as client:
        print(client.wait_for_completion("run_1234", timeout=300).output)
"""

SERVING = """\
Serving the {backend} backend on {url}, with any token. In another terminal:

    export TRIGGER_API_URL={url} TRIGGER_ACCESS_TOKEN={token}
    trigger-realtime watch tag {tag}
    trigger-realtime trigger {task} '{{"video": "v1"}}' --wait

"""


def add_to(commands: Commands) -> None:
    """Add `demo` and `serve`."""
    about = "watch runs on a server in this process: no account or token needed"
    watching = commands.add("demo", about, demo, "trigger-realtime demo --speed 2")
    about = "run the demo's server for other clients; its runs play again and again"
    serving = commands.add(
        "serve", about, serve, "trigger-realtime serve --port 3040 --backend electric"
    )
    serving.add_argument("--port", type=port, default=3040, help="default: 3040; 0: any free port")
    serving.add_argument("--backend", choices=("native", "electric"), default="native")
    for command in (watching, serving):
        command.add_argument(
            "--speed", type=factor, default=1.0, metavar="N", help="play N times as fast"
        )


def demo(options: argparse.Namespace) -> int:
    """Run `demo`."""
    stopped = threading.Event()
    with _make_server() as server:
        scene = set_scene(server)
        player = threading.Thread(
            target=play,
            args=(scene, stopped, options.speed),
            name="trigger-realtime demo player",
            daemon=True,
        )
        try:
            with session(TOKEN, server.url) as here:
                runs = here.client.subscribe_to_batch(
                    scene.batch_id, skip_columns=NOT_SHOWN, **here.run_callbacks
                )
                words = here.client.subscribe_to_stream(
                    scene.writer_id, STREAM, **here.stream_callbacks
                )
                view = choose_view("demo")
                player.start()
                here.show(view, runs, words)
        finally:
            stopped.set()
    write(_summary(runs.runs) + NEXT_STEP)
    return Exit.COMPLETED


def serve(options: argparse.Namespace) -> int:
    """Run `serve`, until Ctrl-C."""
    server = _make_server(options.backend, options.port)
    try:
        server.start()
    except OSError as error:
        message = f"can't listen on port {options.port}: {error.strerror or error}"
        raise CommandError(message, Exit.UNAVAILABLE) from error
    server.task(TASK)(_make_thumbnails)
    with server:
        write(
            SERVING.format(backend=options.backend, url=server.url, token=TOKEN, tag=TAG, task=TASK)
        )
        stopped = threading.Event()
        previous: list[str] = []
        while True:
            scene = set_scene(server)
            write(f"new runs: batch {scene.batch_id}, stream {scene.writer_id} {STREAM}\n")
            play(scene, stopped, options.speed)
            # One finished round is kept for clients that come late; all would fill the memory.
            for run_id in previous:
                server.delete_run(run_id)
            previous = scene.runs
            stopped.wait(PAUSE_SECONDS / options.speed)


def _make_server(backend: str = "native", port: int = 0) -> RealtimeServer:
    from ..testing import RealtimeServer

    return RealtimeServer("electric" if backend == "electric" else "native", port=port)


def _make_thumbnails(payload: Any) -> dict[str, list[str]]:
    video = payload.get("video") if isinstance(payload, dict) else None
    return {"urls": [f"https://example.com/{video or 'none'}/{number}.png" for number in (1, 2)]}


def _summary(runs: list[AnyRun]) -> str:
    counts = Counter(look_of(run).group for run in runs)
    groups = ", ".join(f"{count} {group}" for group, count in counts.most_common())
    return f"{len(runs)} runs finished: {groups}.\n"
