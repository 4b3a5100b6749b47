"""The Flask extension."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contrib.events import events_of, next_event
from tests.support.settings import QUICK, TOKEN
from trigger_realtime_sync import ConfigurationError, PermissionDeniedError, RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer

flask = pytest.importorskip("flask", reason="Flask is not installed")

from trigger_realtime_sync.contrib.flask import TriggerRealtime, shared  # noqa: E402

# Of the test client of Flask 2.3 with Werkzeug 3.0.
pytestmark = pytest.mark.filterwarnings("ignore:The '__version__' attribute:DeprecationWarning")


@pytest.fixture
def realtime() -> TriggerRealtime:
    return TriggerRealtime(retry=QUICK)


@pytest.fixture
def app(server: RealtimeServer, realtime: TriggerRealtime) -> Iterator[Any]:
    app = flask.Flask("shop")
    app.config["TRIGGER_REALTIME_ACCESS_TOKEN"] = TOKEN
    app.config["TRIGGER_REALTIME_BASE_URL"] = server.url
    realtime.init_app(app)

    @app.get("/runs/<run_id>/events")
    def events(run_id: str) -> Any:
        return realtime.sse_response(shared(realtime.client.subscribe_to_run, run_id))

    yield app
    realtime.client_of(app).close()


def test_each_app_has_one_client_made_from_its_configuration(app, realtime, server):
    """Each use gets the same client; another app has another."""
    with app.app_context():
        client = realtime.client
        assert isinstance(client, RealtimeClient)
        assert realtime.client is client
    assert server.url in repr(client)
    other = flask.Flask("other")
    other.config["TRIGGER_REALTIME_BASE_URL"] = "http://other.example"
    realtime.init_app(other)
    with other.app_context():
        assert "other.example" in repr(realtime.client)


def test_callbacks_run_in_an_application_context(app, realtime, server):
    """`current_app` works in every callback, and teardown functions run after it."""
    told: queue.Queue[Any] = queue.Queue()
    app.teardown_appcontext(lambda error: told.put("torn down"))
    run_id = server.create_run()
    server.complete_run(run_id)
    with app.app_context():
        client = realtime.client
    told.get(timeout=5)

    subscription = client.subscribe_to_run(
        run_id,
        on_update=lambda run: told.put(("update", flask.current_app.name)),
        on_complete=lambda run: told.put(("complete", flask.current_app.name)),
    )
    subscription.wait_for_completion(10)
    assert [told.get(timeout=5) for _ in range(4)] == [
        ("update", "shop"),
        "torn down",
        ("complete", "shop"),
        "torn down",
    ]


def test_a_response_relays_a_run(app, server):
    """It is an event stream that proxies must not cache or collect, and it ends with the run."""
    run_id = server.create_run()
    server.complete_run(run_id, output=1)
    response = app.test_client().get(f"/runs/{run_id}/events")
    assert response.mimetype == "text/event-stream"
    assert response.headers["Cache-Control"] == "private, no-store, no-transform"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Accel-Buffering"] == "no"
    names = [event.name for event in events_of([response.data]) if event.name]
    assert names == ["run", "complete"]


def test_a_browser_that_leaves_ends_the_subscription(app, realtime, server):
    """Closing the response is enough."""
    run_id = server.create_run()
    response = app.test_client().get(f"/runs/{run_id}/events", buffered=False)
    next_event(events_of(response.response), "run")
    assert len(realtime.client_of(app).subscriptions) == 1
    response.close()
    assert not realtime.client_of(app).subscriptions


def test_a_head_request_subscribes_to_nothing(app, realtime, server):
    """Its response has the same headers and no body."""
    response = app.test_client().head(f"/runs/{server.create_run()}/events")
    assert response.mimetype == "text/event-stream"
    assert not realtime.client_of(app).subscriptions


def test_a_browser_that_knows_the_end_is_told_to_stop(app, server):
    """Only 204 keeps `EventSource` from connecting again."""
    response = app.test_client().get("/runs/run_1/events", headers={"Last-Event-ID": "end"})
    assert response.status_code == 204
    assert not server.requests


def test_an_id_that_can_not_be_is_a_bad_request(app, caplog):
    """A visitor made it up; any other `ValueError` is the app's own mistake, and reported."""
    response = app.test_client().get("/runs/%0A/events")
    assert (response.status_code, response.mimetype) == (400, "text/plain")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    app.config["TRIGGER_REALTIME_KEEP_ALIVE"] = -1
    response = app.test_client().get("/runs/run_1/events")
    assert response.status_code == 500
    assert "keep_alive" in caplog.text
    assert "keep_alive" not in response.text


def test_a_visitor_may_look_at_so_many_runs_at_a_time(app, server):
    """By address, by the user of Flask-Login, or as the app says; the next is answered 429."""
    app.secret_key = "only for tests"
    app.config["TRIGGER_REALTIME_MAX_RELAYS_PER_USER"] = 1
    run_id = server.create_run()
    opened = []

    def status(user: str | None = None) -> int:
        browser = app.test_client()
        with browser.session_transaction() as session:
            session["_user_id"] = user
        opened.append(browser.get(f"/runs/{run_id}/events", buffered=False))
        return int(opened[-1].status_code)

    assert [status(), status(), status("a"), status("a"), status("b")] == [200, 429, 200, 429, 200]
    assert int(opened[1].headers["Retry-After"]) > 0
    app.config["TRIGGER_REALTIME_RELAY_OWNER"] = lambda: flask.request.path
    assert [status("c"), status("d")] == [200, 429]
    for response in opened:
        response.close()


def test_permission_is_asked_again_after_a_time(app, server):
    """The relay ends by itself, without an end of the run."""
    app.config["TRIGGER_REALTIME_MAX_AGE"] = 0.1
    response = app.test_client().get(f"/runs/{server.create_run()}/events")
    assert [event.name for event in events_of([response.data]) if event.name] in ([], ["run"])


def test_a_bound_that_can_not_be_is_found_at_the_start(realtime):
    """And not by the first visitor."""
    other = flask.Flask("other")
    other.config["TRIGGER_REALTIME_MAX_RELAYS"] = 0
    with pytest.raises(ValueError, match="per_process"):
        realtime.init_app(other)


def test_a_view_triggers_and_hands_the_browser_a_token(app, realtime, server, connect):
    """For exactly this run, by the names of the official hooks; never the secret key."""

    @app.post("/orders")
    def order() -> Any:
        handle = realtime.client.trigger("ship", flask.request.json, call_timeout=5)
        return realtime.run_props(handle, expires_in="1h")

    server.task("ship")(lambda payload: payload["order"])
    props = app.test_client().post("/orders", json={"order": 7}).json
    (asked,) = server.triggered("ship")
    assert (props["runId"], props["baseURL"]) == (asked.run_id, server.url)
    browser = connect(server, access_token=props["accessToken"])
    assert browser.wait_for_completion(props["runId"], timeout=10).output == 7
    with pytest.raises(PermissionDeniedError):
        browser.runs.retrieve(server.create_run())
    assert TOKEN not in str(props)


def test_a_template_hands_the_browser_a_token(app, realtime, server):
    """Escaped for where it stands; a run that the template does not find is an error."""

    @app.get("/page")
    def show() -> Any:
        source = (
            '<div data-token="{{ realtime_token(run) }}">'
            "<script>{{ realtime_run(run)|tojson }}</script>"
        )
        run = flask.request.args.get("run", "run_1</script>")
        return flask.render_template_string(source, run=run)

    with app.app_context():
        assert realtime.run_props("run_1")["baseURL"] == server.url
    app.config["TRIGGER_REALTIME_BROWSER_URL"] = "https://trigger.example.com"
    text = app.test_client().get("/page").text
    assert text.count("</script>") == 1
    assert '"baseURL": "https://trigger.example.com"' in text
    assert TOKEN not in text
    app.testing = True
    with pytest.raises(TypeError, match="needs a run"):
        app.test_client().get("/page?run=")


def test_what_is_wrong_is_said_at_once(realtime):
    """An unknown option, and an app without `init_app`, raise an error."""
    with pytest.raises(ConfigurationError, match="acess_token"):
        TriggerRealtime(acess_token="x")
    with flask.Flask("bare").app_context(), pytest.raises(RuntimeError, match="init_app"):
        _ = realtime.client
