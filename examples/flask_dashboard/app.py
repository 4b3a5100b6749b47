"""A dashboard with Flask: runs with progress bars, and an answer that is streamed word by word.

    pip install 'trigger-realtime-sync[flask]'
    python examples/flask_dashboard/app.py

Then open http://127.0.0.1:5000. It has its own server, with tasks that run on it. To see your
project instead, set TRIGGER_SECRET_KEY and run it with `--api https://api.trigger.dev`.
"""

import argparse
import re

from flask import Flask, abort, current_app, redirect, render_template, request, url_for

from trigger_realtime_sync.contrib.flask import TriggerRealtime, shared

TAG = "dashboard"

realtime = TriggerRealtime()


def create_app(**config) -> Flask:
    """Return the app. For its configuration see `trigger_realtime_sync.contrib.flask`.

    `TASKS` starts jobs and answers questions: your own code, which triggers tasks.
    """
    app = Flask(__name__)
    # Nobody logs in here, so whoever comes through one proxy counts as one visitor.
    app.config["TRIGGER_REALTIME_MAX_RELAYS_PER_USER"] = 200
    app.config.from_mapping(config)
    realtime.init_app(app)
    app.before_request(refuse_other_sites)
    app.add_url_rule("/", view_func=runs)
    app.add_url_rule("/jobs", view_func=start_job, methods=["POST"])
    app.add_url_rule("/questions", view_func=ask, methods=["GET", "POST"])
    app.add_url_rule("/answers/<run_id>", view_func=answer)
    app.add_url_rule("/events/runs", view_func=runs_events)
    app.add_url_rule("/events/answers/<run_id>", view_func=answer_events)
    return app


def refuse_other_sites():
    """Refuse what a page of another site made the browser send (CSRF): browsers say so."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "none") not in (
        "same-origin",
        "none",
    ):
        abort(403)


def runs():
    """Show the page that lists the runs."""
    can_start = current_app.config["TASKS"] is not None
    return render_template("runs.html", tag=TAG, can_start=can_start)


def runs_events():
    """Send the events of that page. All open pages share one subscription."""
    return realtime.sse_response(
        shared(
            realtime.client.subscribe_to_runs_with_tag,
            TAG,
            created_at="1h",
            skip_columns=("payload", "output"),
            throttle_in_ms=100,
        )
    )


def start_job():
    """Trigger a task: the button."""
    _tasks().start_job()
    return "", 204


def ask():
    """Show the page with the question; after it was asked, redirect to the answer."""
    question = request.form.get("question", "").strip()
    if not question:
        return render_template("answer.html", run_id=None)
    return redirect(url_for("answer", run_id=_tasks().ask(question), question=question), 303)


def answer(run_id: str):
    """Show the page with an answer that is still being written."""
    _check(run_id)
    question = request.args.get("question", "What is a job queue?")
    return render_template("answer.html", run_id=run_id, question=question)


def answer_events(run_id: str):
    """Send the events of that page: the run, and the parts of its streams."""
    _check(run_id)
    # In your project, check here that this user may see this run.
    return realtime.sse_response(
        shared(
            realtime.client.subscribe_to_run_with_streams,
            run_id,
            skip_columns=("payload",),
            throttle_in_ms=50,
        )
    )


def _check(run_id: str) -> None:
    """Answer 404 if this can't be the id of a run: following it would raise `ValueError`."""
    if not re.fullmatch(r"run_\w+", run_id):
        abort(404)


def _tasks():
    return current_app.config["TASKS"] or abort(501, "This server starts no tasks.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--api", help="the base URL of the API; default: a server in this process")
    parser.add_argument("--keep-alive", type=float, default=15, help="seconds")
    options = parser.parse_args()
    if options.api:
        serve(options, TRIGGER_REALTIME_BASE_URL=options.api, TASKS=None)
        return

    from tasks import Tasks

    from trigger_realtime_sync.testing import RealtimeServer

    with RealtimeServer() as server:
        tasks = Tasks(server)
        for _ in range(6):
            tasks.start_job()
        serve(
            options,
            TASKS=tasks,
            TRIGGER_REALTIME_BASE_URL=server.url,
            TRIGGER_REALTIME_ACCESS_TOKEN="tr_demo",
        )


def serve(options: argparse.Namespace, **config) -> None:
    app = create_app(TRIGGER_REALTIME_KEEP_ALIVE=options.keep_alive, **config)
    app.run(port=options.port, threaded=True)


if __name__ == "__main__":
    main()
