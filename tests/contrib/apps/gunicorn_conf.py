"""What docs/workers.md recommends."""

from __future__ import annotations

import os
from typing import Any

if os.environ.get("PATCHED"):
    # Before anything is imported: with --preload the master makes the locks that workers use.
    from gevent import monkey

    monkey.patch_all()

from trigger_realtime_sync.contrib.sse import end_relays, end_relays_on_sigterm

# A connection that is kept alive is one more that a worker waits for before it stops.
keepalive = 0
# Tests leave nothing in the home directory.
control_socket_disable = True


def post_worker_init(worker: Any) -> None:
    end_relays_on_sigterm()


def worker_int(worker: Any) -> None:
    end_relays()


def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
    if not worker.alive:
        end_relays()


def worker_exit(server: Any, worker: Any) -> None:
    end_relays()
