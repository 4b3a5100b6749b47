"""A refund that a human approves: a run waits for a wait token, and a button completes it.

    pip install 'trigger-realtime-sync[flask]'
    python examples/flask_approval/app.py

Then open http://127.0.0.1:5001. It has its own server, with a task that runs on it. To use your
project instead, write the task (`tasks.py` shows it), set TRIGGER_SECRET_KEY and run it with
`--api https://api.trigger.dev`.

The app keeps nothing itself: what waits for a decision is the list of wait tokens.
"""

import argparse
import re
import uuid

from flask import Flask, abort, redirect, render_template, request, url_for

from trigger_realtime_sync.contrib.flask import TriggerRealtime, shared

TASK = "refund"
TAG = "approval"

realtime = TriggerRealtime()


def create_app(**config) -> Flask:
    """Return the app. For its configuration see `trigger_realtime_sync.contrib.flask`."""
    app = Flask(__name__)
    # Nobody logs in here, so whoever comes through one proxy counts as one visitor.
    app.config["TRIGGER_REALTIME_MAX_RELAYS_PER_USER"] = 200
    # A page must not wait as long as a script may.
    app.config["TRIGGER_REALTIME_CALL_TIMEOUT"] = 10.0
    app.config.from_mapping(config)
    realtime.init_app(app)
    app.before_request(refuse_other_sites)
    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/refunds", view_func=ask, methods=["POST"])
    app.add_url_rule("/refunds/<run_id>", view_func=refund)
    app.add_url_rule("/refunds/<run_id>/events", view_func=refund_events)
    app.add_url_rule("/approvals/<token_id>", view_func=decide, methods=["POST"])
    return app


def refuse_other_sites():
    """Refuse what a page of another site made the browser send (CSRF): browsers say so."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "none") not in (
        "same-origin",
        "none",
    ):
        abort(403)


def index():
    """Show the form, and what waits for a decision."""
    page = realtime.client.wait_tokens.list(status="WAITING", tags=TAG)
    waiting = [(token.id, _order_of(token)) for token in page.first(50)]
    # The form's own key: whoever sends it twice, by a double click say, asks for one refund.
    return render_template("index.html", waiting=waiting, key=uuid.uuid4().hex)


def ask():
    """Trigger the refund. Its task waits for the token."""
    key, order = request.form["key"], request.form["order"].strip()
    amount = request.form.get("amount", type=int)
    if not re.fullmatch(r"[0-9a-f]{32}", key) or not re.fullmatch(r"[\w-]{1,40}", order):
        abort(400, "That is no order.")
    if amount is None or not 0 < amount <= 10_000:
        abort(400, "That is no amount.")
    tags = [TAG, f"order:{order}", f"amount:{amount}"]
    token = realtime.client.wait_tokens.create(timeout="3d", tags=tags, idempotency_key=key)
    payload = {"order": order, "amount": amount, "token": token.id}
    handle = realtime.client.trigger(TASK, payload, tags=tags[1:], idempotency_key=key)
    return redirect(url_for("refund", run_id=handle.id, order=order), 303)


def refund(run_id: str):
    """Show the page of a refund, which changes as the run does."""
    return render_template("refund.html", run_id=run_id, order=request.args.get("order", ""))


def refund_events(run_id: str):
    """Send the events of that page."""
    # In your project, check here that this user may see this refund.
    return realtime.sse_response(shared(realtime.client.subscribe_to_run, run_id))


def decide(token_id: str):
    """Complete the token: the run goes on."""
    # In your project, check here that this user may approve. A token of something else is none of
    # this page's.
    token = realtime.client.wait_tokens.retrieve(token_id)
    if TAG not in token.tags:
        abort(404)
    data = {"approved": request.form["decision"] == "approve", "by": "the demo's user"}
    # The first decision counts, whoever else clicks meanwhile.
    realtime.client.wait_tokens.complete(token.id, data)
    return redirect(url_for("index"), 303)


def _order_of(token) -> dict:
    """Return the order and the amount, which are in the token's tags."""
    return dict(tag.split(":", 1) for tag in token.tags if ":" in tag)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--api", help="the base URL of the API; default: a server in this process")
    options = parser.parse_args()
    if options.api:
        create_app(TRIGGER_REALTIME_BASE_URL=options.api).run(port=options.port, threaded=True)
        return

    from tasks import play

    from trigger_realtime_sync.testing import RealtimeServer

    with RealtimeServer() as server:
        play(server)
        app = create_app(
            TRIGGER_REALTIME_BASE_URL=server.url, TRIGGER_REALTIME_ACCESS_TOKEN="tr_dev_demo"
        )
        app.run(port=options.port, threaded=True)


if __name__ == "__main__":
    main()
