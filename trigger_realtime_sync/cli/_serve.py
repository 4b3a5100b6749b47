"""The command `serve`: the demo's server, until Ctrl-C."""

from __future__ import annotations

import argparse
import threading

from ._demo import TOKEN, make_server
from ._exits import CommandError, Exit
from ._lines import write
from ._scenario import STREAM, TAG, play, set_scene

PAUSE_SECONDS = 3.0

READY = """\
Serving the {backend} backend on {url}, any token will do. Try, elsewhere:

    export TRIGGER_API_URL={url} TRIGGER_ACCESS_TOKEN={token}
    trigger-realtime watch tag {tag}

"""


def serve(options: argparse.Namespace) -> int:
    """`serve`."""
    server = make_server(options.backend, options.port)
    try:
        server.start()
    except OSError as error:
        message = f"can't listen on port {options.port}: {error.strerror or error}"
        raise CommandError(message, Exit.UNAVAILABLE) from error
    with server:
        write(READY.format(backend=options.backend, url=server.url, token=TOKEN, tag=TAG))
        stopped = threading.Event()
        before: list[str] = []
        while True:
            scene = set_scene(server)
            write(f"new runs: batch {scene.batch_id}, stream {scene.writer_id} {STREAM}\n")
            play(scene, stopped, options.speed)
            # One round stays for those who come late; keeping all would fill the memory.
            for run_id in before:
                server.delete_run(run_id)
            before = scene.runs
            stopped.wait(PAUSE_SECONDS / options.speed)
