"""The examples on the frameworks' own servers, seen through a socket."""

from __future__ import annotations

import importlib.util
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contrib.processes import EXAMPLES, Browser, Process, free_port, get, python, stop_seconds
from tests.contrib.sites import running_site
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

pytestmark = pytest.mark.web
Browse = Callable[..., Browser]

DEMOS = {
    "flask": ("flask_dashboard", "app.py"),
    "django": ("django_dashboard", "manage.py", "demo"),
}


@pytest.fixture(params=sorted(DEMOS))
def kind(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def flask_site(tmp_path: Path, server: RealtimeServer) -> Iterator[Any]:
    pytest.importorskip("flask", reason="Flask is not installed")
    with running_site("flask", server.url, tmp_path) as site:
        yield site


def test_one_command_shows_a_dashboard(kind, tmp_path):
    """It needs no account, as it has its own server, and it stops at once."""
    folder, *command = DEMOS[kind]
    port = free_port()
    env = {"DASHBOARD_DB": str(tmp_path / "dashboard.sqlite3"), "TRIGGER_SECRET_KEY": ""}
    log = tmp_path / "demo.log"
    with Process(
        *python(*command, "--port", str(port)), cwd=EXAMPLES / folder, env=env, log=log
    ) as process:
        process.wait_for_port(port)
        assert "<title>" in get(port, "/" if kind == "flask" else "/login")
        assert process.seconds_to_stop(signal.SIGINT) < stop_seconds()
        assert "Traceback" not in process.log
        # Nor does a check complain, of a token that the demonstration brings itself.
        assert "trigger_realtime." not in process.log


def test_what_can_be_no_run_is_not_found(flask_site):
    """Page and events answer 404 to an impossible id, instead of failing."""
    for path in ("/answers/a%20b", "/events/answers/a%20b", "/events/answers/%0A"):
        assert "Not Found" in get(flask_site.port, path)


def test_the_page_of_the_example_is_complete_in_itself(kind):
    """Nothing is loaded from elsewhere."""
    folder = EXAMPLES / DEMOS[kind][0]
    pages = [page.read_text() for page in folder.rglob("*.html")]
    assert pages
    for page in pages:
        assert "https://" not in page
        assert "src=" not in page


def test_many_tabs_of_a_development_server_share_a_subscription(flask_site, server, browse):
    """Thirty tabs on one run: one poll, until the last is closed, or just gone."""
    run_id = server.create_run(status="EXECUTING", tags=[flask_site.tag])
    tabs = [browse(flask_site.port, "/events/runs") for _ in range(30)]
    for tab in tabs:
        assert tab.next("run").data["id"] == run_id
    server.wait_until_held(1)
    assert server.open_connections == 1
    for tab in tabs:
        tab.close()
    eventually(lambda: server.open_connections == 0, "the subscription goes on")


def test_a_browser_that_reads_nothing_holds_nobody_back(flask_site, server, browse):
    """Its own socket fills up, while another browser is sent every change at once."""
    run_id = server.create_run(status="EXECUTING", tags=[flask_site.tag])
    stuck = socket.create_connection(("127.0.0.1", flask_site.port))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    stuck.sendall(b"GET /events/runs HTTP/1.0\r\n\r\n")
    with stuck:
        quick = browse(flask_site.port, "/events/runs")
        quick.next("run")
        for number in range(40):
            server.update_run(run_id, metadata={"n": number, "text": "x" * 200_000})
            while quick.next("run").data["metadata"]["n"] != number:
                pass
