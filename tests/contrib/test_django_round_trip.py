"""Django: triggering after the commit, and pages that follow a run by themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.settings import QUICK, TOKEN
from trigger_realtime_sync import BadRequestError, PermissionDeniedError, RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer

pytest.importorskip("django", reason="Django is not installed")

from tests.contrib.django_settings import set_up

set_up()

from django.conf import settings  # noqa: E402
from django.db import transaction  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.template import Context, Engine, Template  # noqa: E402
from django.test import RequestFactory, override_settings  # noqa: E402

from trigger_realtime_sync.contrib.django import views  # noqa: E402
from trigger_realtime_sync.contrib.django.client import get_client  # noqa: E402
from trigger_realtime_sync.contrib.django.triggering import trigger_on_commit  # noqa: E402

TAGS = "trigger_realtime_sync.contrib.django.templatetags.trigger_realtime"
ENGINE = Engine(libraries={"trigger_realtime": TAGS})


@pytest.fixture(autouse=True)
def client(server: RealtimeServer) -> Iterator[RealtimeClient]:
    values = {"ACCESS_TOKEN": TOKEN, "BASE_URL": server.url, "RETRY": QUICK, "CALL_TIMEOUT": 5.0}
    with override_settings(TRIGGER_REALTIME=values):
        yield get_client()


def render(text: str, **context: Any) -> str:
    return Template("{% load trigger_realtime %}" + text, engine=ENGINE).render(Context(context))


def test_a_run_is_triggered_once_the_transaction_is_committed(server):
    """Not before, since the task would not find the data; `then` keeps its id."""
    kept: list[str] = []
    with transaction.atomic():
        trigger_on_commit(
            "ship", {"order": 1}, tags="a", then=lambda handle: kept.append(handle.id)
        )
        assert not server.triggered("ship")
    (asked,) = server.triggered("ship")
    assert (asked.payload, asked.options["tags"]) == ({"order": 1}, ["a"])
    assert kept == [asked.run_id]


def test_nothing_is_triggered_for_what_is_rolled_back(server):
    """Nor for a savepoint alone."""

    def fail() -> None:
        with transaction.atomic():
            trigger_on_commit("ship")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError):
            fail()
        trigger_on_commit("other")
    assert [one.task for one in server.triggered()] == ["other"]


def test_without_a_transaction_it_is_triggered_at_once(server):
    """As `on_commit` does."""
    trigger_on_commit("ship", None)
    (asked,) = server.triggered("ship")
    assert asked.payload is None


@pytest.mark.parametrize(
    ("arguments", "options", "name"),
    [
        (("ship", {1, object()}), {}, "payload"),
        (("ship",), {"delay": "tomorrow"}, "delay"),
        (("ship",), {"dealy": "5m"}, "dealy"),
        (("",), {}, "task"),
        (("ship", 1, 2), {}, "one payload"),
    ],
)
def test_a_mistake_is_told_where_it_is_made(server, arguments, options, name):
    """And not after the commit, when nobody can take it back."""
    with transaction.atomic(), pytest.raises((TypeError, ValueError), match=name):
        trigger_on_commit(*arguments, **options)
    assert not server.requests


def test_a_trigger_that_fails_is_raised_by_what_committed(server):
    """Or, where that is asked for, logged, so that other hooks are called."""
    server.fail_next(match="trigger", status=400)
    with pytest.raises(BadRequestError), transaction.atomic():
        trigger_on_commit("ship", call_timeout=5)
    called: list[bool] = []
    server.fail_next(match="trigger", status=400)
    with transaction.atomic():
        trigger_on_commit("ship", robust=True)
        transaction.on_commit(lambda: called.append(True))
    assert called


def test_a_view_triggers_and_a_template_follows(server, client, connect):
    """Three lines; the page holds a token for exactly this run, and never the secret key."""

    def view(request: Any) -> HttpResponse:
        handle = client.trigger("ship", {"order": 7}, idempotency_key="order-7")
        return HttpResponse(
            render('{% realtime_run run as it %}{{ it|json_script:"run" }}', run=handle)
        )

    server.task("ship")(lambda payload: payload["order"])
    text = view(RequestFactory().post("/")).content.decode()
    assert text.startswith('<script id="run" type="application/json">')
    props = json.loads(text.partition(">")[2].partition("<")[0])
    assert props["baseURL"] == server.url
    browser = connect(server, access_token=props["accessToken"])
    assert browser.wait_for_completion(props["runId"], timeout=10).output == 7
    with pytest.raises(PermissionDeniedError):
        browser.runs.retrieve(server.create_run())
    assert TOKEN not in text


def test_the_tag_gives_the_token_alone(server, connect):
    """Of an id as well; its life is an option."""
    run_id = server.create_run()
    token = render('{% realtime_token run expires_in="1h" %}', run=run_id)
    assert connect(server, access_token=token).runs.retrieve(run_id).id == run_id


def test_what_a_template_does_not_find_is_an_error(server):
    """Django renders it as an empty text, and a scope without an id means all runs."""
    for text in ("{% realtime_token order.run %}", "{% realtime_run order.run as it %}"):
        with pytest.raises(TypeError, match="needs a run"):
            render(text)
    assert not server.requests


def test_what_stands_in_a_page_is_escaped():
    """An id can't end the script that it stands in, nor an attribute."""
    text = render(
        '{% realtime_run run as it %}{{ it|json_script:"run" }}', run="run_1</script>\"'&"
    )
    assert text.count("</script>") == 1


def test_a_page_asks_for_another_token(server, connect):
    """The view asks first whether this user may see this run, and nothing caches the answer."""
    run_id = server.create_run()
    view = views.token_view(permission=lambda request, run_id: "mine" in request.GET)
    request = RequestFactory().get("/")
    assert view(request, run_id=run_id).status_code == 403
    assert not server.requests
    answer = view(RequestFactory().get("/?mine"), run_id=run_id)
    assert {"private", "no-store"} <= set(answer.headers["Cache-Control"].split(", "))
    token = json.loads(answer.content)["accessToken"]
    assert connect(server, access_token=token).runs.retrieve(run_id).id == run_id
    # Nobody is logged in.
    assert views.token_view(permission=views.logged_in)(request, run_id=run_id).status_code == 403


def test_a_view_of_its_own_names_the_run(server):
    """That of an order, say; what can be no run is a bad request."""

    def run_of(request: Any, order: int) -> str:
        if order == 0:
            raise ValueError("no such order")
        return f"run_{order}"

    view = views.token_view(run_of, permission=views.anyone, base_url="https://x.example")
    answer = json.loads(view(RequestFactory().get("/"), order=7).content)
    assert (answer["runId"], answer["baseURL"]) == ("run_7", "https://x.example")
    assert view(RequestFactory().get("/"), order=0).status_code == 400
    assert view(RequestFactory().post("/"), order=7).status_code == 405


def test_browsers_may_reach_the_api_elsewhere(monkeypatch):
    """By a setting of its own; otherwise where the client does, whatever says so."""
    text = "{% realtime_run 'run_1' as it %}{{ it.baseURL }}"
    url = settings.TRIGGER_REALTIME["BASE_URL"]
    assert render(text) == url
    monkeypatch.setenv("TRIGGER_API_URL", url)
    without = {**settings.TRIGGER_REALTIME, "BASE_URL": None}
    with override_settings(TRIGGER_REALTIME=without):
        assert render(text) == url
    values = {**settings.TRIGGER_REALTIME, "BROWSER_URL": "https://trigger.example.com"}
    with override_settings(TRIGGER_REALTIME=values):
        assert render(text) == "https://trigger.example.com"
