"""Database connections while browsers look at a run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.settings import QUICK, TOKEN
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

pytest.importorskip("django", reason="Django is not installed")

from tests.contrib.django_settings import set_up

set_up()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.db import connection, connections, transaction  # noqa: E402
from django.db.backends.signals import connection_created  # noqa: E402
from django.test import RequestFactory, override_settings  # noqa: E402
from django.urls import path  # noqa: E402

from trigger_realtime_sync.contrib.django import views  # noqa: E402
from trigger_realtime_sync.contrib.django.client import get_client  # noqa: E402
from trigger_realtime_sync.contrib.sse import run_for_browser, shared  # noqa: E402

BROWSERS = 5


def _query() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _may_see(request: Any, **what: Any) -> bool:
    _query()
    return True


def _shows(run: Any) -> dict[str, Any]:
    _query()
    return run_for_browser(run)


def _source(request: Any, run_id: str) -> Any:
    return shared(get_client().subscribe_to_run, run_id)


_view = views.events_view(_source, permission=_may_see, run_to_dict=_shows)
urlpatterns = [path("<str:run_id>", _view)]


class Opened:
    """The connections that were opened since the test began."""

    def __init__(self) -> None:
        self._all: list[Any] = []
        self.count = 0

    def on_created(self, sender: Any, connection: Any, **more: Any) -> None:
        self._all.append(connection)
        self.count += 1

    @property
    def still(self) -> int:
        return sum(one.connection is not None for one in self._all)


@pytest.fixture
def opened(server: RealtimeServer) -> Iterator[Opened]:
    """Counts connections; they would live for ever, and middlewares ask who is logged in."""
    seen = Opened()
    connections["default"].close()
    values = {"ACCESS_TOKEN": TOKEN, "BASE_URL": server.url, "RETRY": QUICK, "KEEP_ALIVE": 0.05}
    database = {**connections.settings["default"], "CONN_MAX_AGE": None}
    connection_created.connect(seen.on_created)
    with (
        override_settings(TRIGGER_REALTIME=values, ROOT_URLCONF=__name__),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setitem(connections.settings, "default", database)
        yield seen
    connection_created.disconnect(seen.on_created)
    connections["default"].close()


def _environ(run_id: str) -> dict[str, Any]:
    return RequestFactory().get(f"/{run_id}").environ


def test_no_browser_holds_a_database_connection_under_wsgi(server, opened):
    """What the permission and `run_to_dict` open is closed while the browser waits for news."""
    run_id = server.create_run(status="EXECUTING")
    told, over = threading.Semaphore(0), threading.Event()

    def browse() -> None:
        response = WSGIHandler()(_environ(run_id), lambda status, headers: None)
        with ExitStack() as stack:
            stack.callback(response.close)
            for chunk in response:
                if b"event: run" in chunk:
                    told.release()
                if over.is_set():
                    break

    threads = [threading.Thread(target=browse) for _ in range(BROWSERS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert told.acquire(timeout=10)
    assert opened.count >= BROWSERS
    eventually(lambda: opened.still == 0, "a connection stays open")
    over.set()
    for thread in threads:
        thread.join(10)


def test_no_browser_holds_a_database_connection_under_asgi(server, opened):
    """Neither on the thread of the view, nor on that of the relay."""
    run_id = server.create_run(status="EXECUTING")

    async def browse(told: asyncio.Event, gone: asyncio.Event) -> None:
        asked = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> dict[str, Any]:
            if asked:
                return asked.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if b"event: run" in message.get("body", b""):
                told.set()

        await ASGIHandler()(_scope(run_id), receive, send)

    async def all_browse() -> None:
        gone = asyncio.Event()
        told = [asyncio.Event() for _ in range(BROWSERS)]
        tasks = [asyncio.create_task(browse(one, gone)) for one in told]
        for one in told:
            await asyncio.wait_for(one.wait(), 10)
        assert opened.count >= BROWSERS
        await asyncio.to_thread(eventually, lambda: opened.still == 0, "a connection stays open")
        gone.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)

    asyncio.run(all_browse())


def _scope(run_id: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": f"/{run_id}",
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
    }


def test_a_connection_inside_a_transaction_is_left_alone(server, opened):
    """Tests of a project run inside one, and would lose what they wrote."""
    request = RequestFactory().get("/")
    request.user = SimpleNamespace(is_authenticated=True, is_active=True)
    with transaction.atomic():
        response = _view(request, run_id=server.create_run())
        next(iter(response.streaming_content))
        assert connections["default"].connection is not None
        response.close()
