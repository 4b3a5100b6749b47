"""The app that gunicorn serves in the tests: it relays runs and streams."""

from __future__ import annotations

import os
from typing import Any

import flask

from trigger_realtime_sync import RetryPolicy
from trigger_realtime_sync.contrib.flask import TriggerRealtime, shared

realtime = TriggerRealtime(retry=RetryPolicy(initial_delay=0.01, max_delay=0.1))
app = flask.Flask(__name__)
app.config["TRIGGER_REALTIME_KEEP_ALIVE"] = 0.2
# All browsers of the tests have one address.
app.config["TRIGGER_REALTIME_MAX_RELAYS_PER_USER"] = None
realtime.init_app(app)

# With --preload this runs in the master: what becomes of it in a worker?
inherited = None
if "RUN_OF_THE_MASTER" in os.environ:
    inherited = realtime.client_of(app).subscribe_to_run(os.environ["RUN_OF_THE_MASTER"])


@app.get("/runs/<run_id>")
def run_events(run_id: str) -> Any:
    return realtime.sse_response(shared(realtime.client.subscribe_to_run, run_id))


@app.get("/streams/<run_id>/<key>")
def stream_events(run_id: str, key: str) -> Any:
    return realtime.sse_response(shared(realtime.client.subscribe_to_stream, run_id, key))


@app.get("/inherited")
def inherited_state() -> str:
    return "none" if inherited is None else inherited.state.value


@app.after_request
def name_worker(response: Any) -> Any:
    response.headers["X-Worker"] = str(os.getpid())
    return response
