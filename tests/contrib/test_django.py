"""The Django app."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from tests.contrib.events import events_of, next_event
from tests.support.settings import QUICK, TOKEN
from trigger_realtime_sync import ConfigurationError, RealtimeClient
from trigger_realtime_sync.testing import RealtimeServer

pytest.importorskip("django", reason="Django is not installed")

from tests.contrib.django_settings import set_up

set_up()

from asgiref.sync import sync_to_async  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.auth.signals import user_logged_out  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.middleware.gzip import GZipMiddleware  # noqa: E402
from django.test import AsyncRequestFactory, RequestFactory, override_settings  # noqa: E402

from trigger_realtime_sync.contrib.django import views  # noqa: E402
from trigger_realtime_sync.contrib.django.checks import check_settings  # noqa: E402
from trigger_realtime_sync.contrib.django.client import get_client  # noqa: E402
from trigger_realtime_sync.contrib.django.signals import (  # noqa: E402
    part_received,
    run_completed,
    run_updated,
)
from trigger_realtime_sync.contrib.django.watching import (  # noqa: E402
    watch_batch,
    watch_run,
    watch_stream,
    watch_tag,
)

USER = SimpleNamespace(is_authenticated=True, is_active=True)


@pytest.fixture(autouse=True)
def client(server: RealtimeServer) -> Iterator[RealtimeClient]:
    values = {"ACCESS_TOKEN": TOKEN, "BASE_URL": server.url, "RETRY": QUICK, "KEEP_ALIVE": 0.05}
    with override_settings(TRIGGER_REALTIME=values):
        yield get_client()


@pytest.fixture
def heard() -> Iterator[list[tuple[str, Any]]]:
    """The signals that were sent."""
    told: list[tuple[str, Any]] = []

    def on_run(sender: Any, signal: Any, run: Any, **more: Any) -> None:
        told.append(("updated" if signal is run_updated else "completed", run.status.value))

    def on_part(sender: Any, run_id: str, key: str, parts: list[Any], **more: Any) -> None:
        told.append((key, parts))

    run_updated.connect(on_run)
    run_completed.connect(on_run)
    part_received.connect(on_part)
    yield told
    run_updated.disconnect(on_run)
    run_completed.disconnect(on_run)
    part_received.disconnect(on_part)


def _get(path: str = "/", user: Any = USER, **headers: str) -> Any:
    request = RequestFactory().get(path, headers=headers)
    request.user = user
    return request


async def _says_no_later(request: Any, **what: Any) -> bool:
    return False


def _ids(**settings: Any) -> list[str]:
    with override_settings(TRIGGER_REALTIME=settings):
        return [message.id for message in check_settings(None)]


def test_the_process_has_one_client_made_on_first_use(server):
    """It is made from the settings, also from those that a test overrides."""
    client = get_client()
    assert get_client() is client
    assert server.url in repr(client)
    with override_settings(TRIGGER_REALTIME={"BASE_URL": "http://other.example"}):
        assert "other.example" in repr(get_client())


def test_settings_that_work_pass_the_checks():
    """No message, and no request."""
    assert _ids(ACCESS_TOKEN="tr_x", KEEP_ALIVE=5, PERMISSION=views.anyone) == []


@pytest.mark.parametrize(
    ("settings", "ids"),
    [
        ({}, ["trigger_realtime.W001"]),
        ({"ACCESS_TOKEN": "tr_x", "BASEURL": "x"}, ["trigger_realtime.E002"]),
        ({"ACCESS_TOKEN": "tr_x", "BASE_URL": "ftp://x"}, ["trigger_realtime.E003"]),
        ({"ACCESS_TOKEN": "tr_x", "KEEP_ALIVE": 0}, ["trigger_realtime.E004"]),
        ({"ACCESS_TOKEN": "tr_x", "KEEP_ALIVE": "15"}, ["trigger_realtime.E004"]),
        ({"ACCESS_TOKEN": "tr_x", "PERMISSION": "no.such.thing"}, ["trigger_realtime.E005"]),
        ({"ACCESS_TOKEN": "tr_x", "PERMISSION": 7}, ["trigger_realtime.E005"]),
        ({"ACCESS_TOKEN": "tr_x", "MAX_AGE": "1h"}, ["trigger_realtime.E007"]),
        ({"ACCESS_TOKEN": "tr_x", "MAX_RELAYS": 0}, ["trigger_realtime.E008"]),
        ({"ACCESS_TOKEN": "tr_x", "MAX_RELAYS_PER_USER": "x"}, ["trigger_realtime.E008"]),
        ({"ACCESS_TOKEN": "tr_x", "RELAY_OWNER": "no.such.thing"}, ["trigger_realtime.E009"]),
        ({"ACCESS_TOKEN": "tr_x", "HEADERS": 7}, ["trigger_realtime.E003"]),
        ({"ACCESS_TOKEN": "tr_x", "BROWSER_URL": "x.example"}, ["trigger_realtime.E006"]),
    ],
)
def test_settings_that_can_not_work_are_found_by_the_checks(settings, ids):
    """Each kind of mistake has its own id."""
    assert _ids(**settings) == ids


def test_settings_that_are_no_dictionary_are_found_by_the_checks():
    """There is one message, and no other check runs."""
    with override_settings(TRIGGER_REALTIME="tr_x"):
        assert [message.id for message in check_settings(None)] == ["trigger_realtime.E001"]


@pytest.mark.parametrize(
    ("processes", "shared", "ids"),
    [("4", None, ["trigger_realtime.W002"]), ("4", "redis://localhost", []), ("1", None, [])],
)
def test_processes_that_share_nothing_are_warned_of(monkeypatch, processes, shared, ids):
    """Where there are several, each holds connections that the plan limits."""
    pytest.importorskip("redis")
    monkeypatch.setenv("WEB_CONCURRENCY", processes)
    with override_settings(TRIGGER_REALTIME={"ACCESS_TOKEN": "tr_x", "SHARED": shared}):
        assert [one.id for one in check_settings(None)] == ids


def test_the_checks_are_those_of_the_project():
    """`manage.py check` runs them."""
    with (
        override_settings(TRIGGER_REALTIME={"KEEP_ALIVE": -1}),
        pytest.raises(CommandError, match="KEEP_ALIVE"),
    ):
        call_command("check")


def test_a_run_sends_signals(server, heard):
    """Each change, then the end."""
    run_id = server.create_run(status="EXECUTING")
    subscription = watch_run(run_id)
    server.wait_until_held(1)
    server.complete_run(run_id)
    subscription.wait_for_completion(10)
    assert heard == [("updated", "EXECUTING"), ("updated", "COMPLETED"), ("completed", "COMPLETED")]


def test_asked_for_twice_signals_are_sent_once(server, heard):
    """A second call for a run returns the running subscription."""
    run_id = server.create_run()
    subscription = watch_run(run_id)
    assert watch_run(run_id) is subscription
    server.complete_run(run_id)
    subscription.wait_for_completion(10)
    assert heard.count(("completed", "COMPLETED")) == 1


def test_asked_for_by_two_threads_at_once_signals_are_sent_once(server, heard, monkeypatch):
    """Both get one subscription, even if neither finds one at first."""
    client, meeting = get_client(), threading.Barrier(2)
    look = client.get

    def looks_slowly(id_: str) -> Any:
        seen = look(id_)
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.1)
        return seen

    monkeypatch.setattr(client, "get", looks_slowly)
    run_id = server.create_run()
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(watch_run, [run_id, run_id]))
    assert both[0] is both[1]
    server.complete_run(run_id)
    both[0].wait_for_completion(10)
    assert heard.count(("completed", "COMPLETED")) == 1


def test_tags_batches_and_streams_send_signals(server, heard):
    """There is a function for each kind of subscription."""
    run_id = server.create_run(tags=["a"], status="EXECUTING")
    server.append(run_id, "text", "x", "y")
    server.complete_run(run_id)
    batch_id = server.batch(run_id)
    watch_stream(run_id, "text").wait_for_completion(10)
    assert ("text", ["x", "y"]) in heard
    watch_batch(batch_id).wait_for_completion(10)
    with watch_tag("a") as tagged:
        tagged.wait_for_completion(10, expected=1)
    assert heard.count(("completed", "COMPLETED")) == 3


def test_a_receiver_that_raises_keeps_nobody_from_being_told(server, heard):
    """Other receivers, and later changes, are not affected."""

    later: list[str] = []

    def breaks(sender: Any, **more: Any) -> None:
        raise RuntimeError("as the test wants it")

    def hears(sender: Any, run: Any, **more: Any) -> None:
        later.append(run.status.value)

    run_updated.connect(breaks)
    run_updated.connect(hears)
    try:
        run_id = server.create_run()
        server.complete_run(run_id)
        watch_run(run_id).wait_for_completion(10)
    finally:
        run_updated.disconnect(breaks)
        run_updated.disconnect(hears)
    assert later == ["COMPLETED"]
    assert heard == [("updated", "COMPLETED"), ("completed", "COMPLETED")]


def test_database_connections_are_closed_around_callbacks(server, client):
    """A callback that queries leaves no connection open on its thread."""
    used: list[Any] = []

    def queries(run: Any) -> None:
        wrapper = connections["default"]
        assert wrapper.connection is None
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert wrapper.connection is not None
        used.append(wrapper)

    run_id = server.create_run()
    server.complete_run(run_id)
    client.subscribe_to_run(run_id, on_update=queries).wait_for_completion(10)
    assert [wrapper.connection for wrapper in used] == [None]


def test_the_view_relays_a_run_to_who_is_logged_in(server):
    """As an event stream that ends with the run."""
    run_id = server.create_run()
    server.complete_run(run_id)
    response = views.run_events(_get(), run_id=run_id)
    assert response["Content-Type"].startswith("text/event-stream")
    assert response["X-Accel-Buffering"] == "no"
    names = [event.name for event in events_of(response.streaming_content) if event.name]
    assert names == ["run", "complete"]


@pytest.mark.parametrize(
    "user",
    [
        None,
        SimpleNamespace(is_authenticated=False, is_active=False),
        SimpleNamespace(is_authenticated=True, is_active=False),
    ],
)
def test_nobody_else_sees_anything(server, user):
    """403, and no subscription."""
    response = views.run_events(_get(user=user), run_id="run_1")
    assert response.status_code == 403
    assert not server.requests


def test_the_project_decides_who_sees_a_run(server):
    """By the setting, or for one view; the function gets the arguments from the URL."""
    asked: list[Any] = []

    def permission(request: Any, **what: Any) -> bool:
        asked.append(what)
        return bool(what["run_id"] == "run_mine")

    def source(request: Any, run_id: str) -> Any:
        return lambda **callbacks: get_client().subscribe_to_run(run_id, **callbacks)

    view = views.events_view(source, permission=permission)
    assert view(_get(user=None), run_id="run_other").status_code == 403
    response = view(_get(user=None), run_id="run_mine")
    assert response.status_code == 200
    response.close()
    assert asked == [{"run_id": "run_other"}, {"run_id": "run_mine"}]
    with override_settings(TRIGGER_REALTIME={"ACCESS_TOKEN": "tr_x", "PERMISSION": permission}):
        assert views.run_events(_get(), run_id="run_other").status_code == 403


async def _says_yes_later(request: Any, **what: Any) -> bool:
    return bool(what["run_id"])


@pytest.mark.parametrize("by_setting", [False, True])
def test_a_permission_may_be_awaited(server, client, by_setting):
    """Its result counts, and not the coroutine, which is always true; here under WSGI."""
    run_id = server.create_run()

    def status(permission: Any) -> int:
        if not by_setting:
            view = views.events_view(views._run, permission=permission)
            response = view(_get(), run_id=run_id)
        else:
            values = {**settings.TRIGGER_REALTIME, "PERMISSION": permission}
            with override_settings(TRIGGER_REALTIME=values):
                response = views.run_events(_get(), run_id=run_id)
        response.close()
        return int(response.status_code)

    assert status(_says_no_later) == 403
    assert not server.requests
    assert status(_says_yes_later) == 200


def test_a_permission_may_be_awaited_under_asgi(server, client):
    """On the loop of the server, by a view that runs in a thread."""
    loops: list[Any] = []

    async def permission(request: Any, **what: Any) -> bool:
        loops.append(asyncio.get_running_loop())
        return False

    view = views.events_view(views._run, permission=permission)

    async def ask() -> tuple[int, Any]:
        response = await sync_to_async(view)(AsyncRequestFactory().get("/"), run_id="run_1")
        return response.status_code, asyncio.get_running_loop()

    status, loop = asyncio.run(ask())
    assert (status, loops) == (403, [loop])


def test_a_user_who_logs_out_is_asked_again(server, client):
    """The open stream would go on with the runs of whoever was logged in."""
    user = SimpleNamespace(is_authenticated=True, is_active=True, pk=7)
    other = SimpleNamespace(is_authenticated=True, is_active=True, pk=8)
    run_id = server.create_run()
    responses = [views.run_events(_get(user=one), run_id=run_id) for one in (user, other)]
    mine, others = (events_of(response.streaming_content) for response in responses)
    user_logged_out.send(sender=type(user), request=None, user=user)
    assert "complete" not in [event.name for event in mine]
    user_logged_out.send(sender=type(user), request=None, user=None)
    server.complete_run(run_id)
    assert [event.name for event in others][-1] == "complete"


def test_the_permission_is_asked_again_after_a_time(server, client):
    """The relay ends by itself, without an end of the run."""
    values = {**settings.TRIGGER_REALTIME, "MAX_AGE": 0.1}
    with override_settings(TRIGGER_REALTIME=values):
        response = views.run_events(_get(), run_id=server.create_run())
    assert "complete" not in [event.name for event in events_of(response.streaming_content)]


@pytest.mark.parametrize(
    ("settings_", "asked_by"),
    [
        ({"MAX_RELAYS_PER_USER": 2}, [{"pk": 1}, {"pk": 1}, {"pk": 1}]),
        ({"MAX_RELAYS_PER_USER": 2}, [{}, {}, {}]),
        ({"MAX_RELAYS": 2}, [{"pk": 1}, {"pk": 2}, {"pk": 3}]),
        ({"MAX_RELAYS_PER_USER": 2, "RELAY_OWNER": lambda r: "all"}, [{"pk": 1}, {"pk": 2}, {}]),
    ],
)
def test_a_user_may_look_at_so_many_runs_at_a_time(server, client, settings_, asked_by):
    """The next one is told when to ask again: 429, with `Retry-After`. Others get in."""
    with override_settings(TRIGGER_REALTIME={**settings.TRIGGER_REALTIME, **settings_}):
        responses = []
        for user in asked_by:
            who = SimpleNamespace(is_authenticated=bool(user), is_active=True, **user)
            view = views.events_view(views._run, permission=views.anyone)
            responses.append(view(_get(user=who), run_id=server.create_run()))
        assert [one.status_code for one in responses] == [200, 200, 429]
        assert int(responses[-1]["Retry-After"]) > 0
        assert "no-store" in responses[-1]["Cache-Control"]
        if "MAX_RELAYS" not in settings_ and "RELAY_OWNER" not in settings_:
            who = SimpleNamespace(is_authenticated=True, is_active=True, pk=9)
            responses.append(views.run_events(_get(user=who), run_id=server.create_run()))
            assert responses[-1].status_code == 200
        for one in responses:
            one.close()


def test_a_mistake_of_the_project_is_no_bad_request(server, client, monkeypatch):
    """It is Django's to report, and a visitor does not read it."""

    def source(request: Any, run_id: str) -> Any:
        raise ValueError("the pin 1234 is wrong")

    view = views.events_view(source, permission=views.anyone)
    with pytest.raises(ValueError, match="pin"):
        view(_get(), run_id="run_1")
    monkeypatch.delenv("TRIGGER_SECRET_KEY", raising=False)
    monkeypatch.delenv("TRIGGER_ACCESS_TOKEN", raising=False)
    without = {**settings.TRIGGER_REALTIME, "ACCESS_TOKEN": None}
    with override_settings(TRIGGER_REALTIME=without), pytest.raises(ConfigurationError):
        views.run_events(_get(), run_id="run_1")


@pytest.mark.parametrize(
    ("path", "run_id", "status"), [("a", "run_1", 200), ("b", "\n", 400), ("c", "run_1", 403)]
)
def test_no_answer_is_kept_by_a_cache(client, path, run_id, status):
    """Nor is its type guessed from what it holds."""
    user = USER if status != 403 else None
    response = views.run_events(_get(user=user), run_id=run_id)
    assert response.status_code == status
    assert {"private", "no-store"} <= set(response["Cache-Control"].split(", "))
    assert response["X-Content-Type-Options"] == "nosniff"
    response.close()


@pytest.mark.parametrize("factory", [RequestFactory, AsyncRequestFactory])
def test_the_gzip_middleware_does_not_collect_the_events(server, factory):
    """It would collect events until there are enough to compress."""
    request = factory().get("/", headers={"Accept-Encoding": "gzip"})
    request.user = USER
    run_id = server.create_run()
    response = GZipMiddleware(lambda asked: views.run_events(asked, run_id=run_id))(request)
    assert not response.has_header("Content-Encoding")
    response.close()


def test_the_view_of_a_stream_resumes(server):
    """It continues after the last event that the browser names."""
    run_id = server.create_run(status="EXECUTING")
    server.append(run_id, "text", "a", "b")
    server.complete_run(run_id)
    request = _get(**{"Last-Event-ID": "text=1"})
    response = views.stream_events(request, run_id=run_id, key="text")
    parts = [e.data["parts"] for e in events_of(response.streaming_content) if e.name == "part"]
    assert parts == [["b"]]
    ended = views.stream_events(_get(**{"Last-Event-ID": "end"}), run_id=run_id, key="text")
    assert ended.status_code == 204


def test_bad_requests_are_answered(client):
    """A bad id with 400, HEAD without a subscription, a method that changes things with 405."""
    assert views.run_events(_get(), run_id="\n").status_code == 400
    head = RequestFactory().head("/")
    head.user = USER
    assert views.run_events(head, run_id="run_1").status_code == 200
    assert not client.subscriptions
    request = RequestFactory().post("/")
    request.user = USER
    assert views.run_events(request, run_id="run_1").status_code == 405


def test_closing_the_response_ends_the_subscription(server, client):
    """Servers close the response when the browser is gone."""
    response = views.run_events(_get(), run_id=server.create_run())
    next_event(events_of(response.streaming_content), "run")
    assert len(client.subscriptions) == 1
    response.close()
    assert not client.subscriptions


def test_under_asgi_the_response_is_asynchronous(server, client):
    """It ends with the run, and its subscription ends when the sending task is cancelled."""
    run_id = server.create_run()

    async def read(enough: Callable[[bytes], bool]) -> bytes:
        request = AsyncRequestFactory().get("/")
        request.user = USER
        response = views.run_events(request, run_id=run_id)
        assert response.is_async
        body = b""
        chunks = aiter(response.streaming_content)
        async for chunk in chunks:
            body += chunk
            if enough(body):
                break
        await chunks.aclose()
        return body

    assert b"event: run" in asyncio.run(read(lambda body: b"event: run" in body))
    assert not client.subscriptions
    server.complete_run(run_id)
    assert b"event: complete" in asyncio.run(read(lambda body: False))


def test_under_asgi_a_response_that_was_never_begun_ends_its_subscription(server, client):
    """The browser may be gone before there is anything to send."""
    request = AsyncRequestFactory().get("/")
    request.user = USER
    response = views.run_events(request, run_id=server.create_run())
    assert len(client.subscriptions) == 1
    response.close()
    assert not client.subscriptions


def _command(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("watch_run", *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_the_command_follows_a_run_to_its_end(server, heard):
    """One line for each change, as text or JSON; the signals are sent as well."""
    run_id = server.create_run()
    server.complete_run(run_id, output=[1])
    assert _command(run_id)[-1].endswith(" COMPLETED")
    assert json.loads(_command(run_id, "--json")[-1])["output"] == [1]
    assert ("completed", "COMPLETED") in heard


def test_the_command_shows_nothing_that_controls_a_terminal(server):
    """Neither as text, nor as JSON, nor in the message it ends with."""
    evil = "\x1b[2J\x9b31m\x7f\u202e"
    run_id = server.create_run(status=evil, tags=[evil])
    shown: list[str] = []
    for arguments in ((run_id,), (run_id, "--json")):
        out = io.StringIO()
        with pytest.raises(CommandError):
            call_command("watch_run", *arguments, "--timeout", "3", stdout=out)
        shown.append(out.getvalue())
    server.fail_run(run_id, evil)
    with pytest.raises(CommandError) as raised:
        _command(run_id)
    assert json.loads(shown[1])["tags"] == [evil]
    for text in (*shown, str(raised.value)):
        assert text.strip()
        assert text.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    ("end", "timeout", "code", "text"),
    [
        ("fail_run", "30", 1, "FAILED: It failed"),
        ("cancel_run", "30", 2, "CANCELED"),
        ("delete_run", "30", 1, "404"),
        ("catch_up", "0.1", 124, "did not finish within 0.1 s"),
    ],
)
def test_the_command_exits_as_the_run_ended(server, end, timeout, code, text):
    """1 for a failure, 2 for a cancelled run, 124 for a timeout."""
    run_id = server.create_run()
    getattr(server, end)(run_id)
    with pytest.raises(CommandError, match=text) as raised:
        _command(run_id, "--timeout", timeout)
    assert raised.value.returncode == code
