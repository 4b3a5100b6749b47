"""Relays under uvicorn, hypercorn and daphne."""

from __future__ import annotations

import importlib.util
import signal
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contrib.events import text_of
from tests.contrib.processes import (
    EXAMPLES,
    HERE,
    Browser,
    Process,
    free_port,
    get,
    python,
    stop_seconds,
)
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

for _name in ("fastapi", "django"):
    pytest.importorskip(_name, reason=f"{_name} is not installed")

pytestmark = pytest.mark.web

# hypercorn's workers are not told to stop before it waits for their connections.
COMMANDS = {
    "uvicorn": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}"],
    "uvicorn-workers": ["uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--workers", "2"],
    "hypercorn": ["hypercorn", "--graceful-timeout", "1", "--bind", "127.0.0.1:{port}"],
    "hypercorn-workers": [
        "hypercorn",
        "--graceful-timeout",
        "1",
        "--bind",
        "127.0.0.1:{port}",
        "--workers",
        "2",
    ],
    "daphne": ["daphne", "--bind", "127.0.0.1", "--port", "{port}"],
}

Start = Callable[..., tuple[Process, int]]


@pytest.fixture(params=sorted(COMMANDS))
def kind(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param.partition("-")[0]) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def start(tmp_path: Path, server: RealtimeServer) -> Iterator[Start]:
    with ExitStack() as stack:

        def run(kind: str, app: str) -> tuple[Process, int]:
            port = free_port()
            command = [part.format(port=port) for part in COMMANDS[kind]]
            process = Process(
                *python("-m", *command, f"asgi_app:{app}"),
                cwd=HERE / "apps",
                env={"TRIGGER_API_URL": server.url},
                log=tmp_path / "server.log",
            )
            stack.enter_context(process)
            process.wait_for_port(port)
            return process, port

        yield run


@pytest.mark.parametrize("app", ["fastapi_app", "django_app"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_server_stops_at_once_with_a_hundred_browsers(start, browse, server, kind, app, number):
    """And no browser is told that its run has ended."""
    run_id = server.create_run(status="EXECUTING")
    process, port = start(kind, app)
    browsers = [browse(port, f"/runs/{run_id}/events") for _ in range(100)]
    for browser in browsers:
        assert browser.next("run").data["status"] == "EXECUTING"
    with ThreadPoolExecutor(len(browsers)) as readers:
        rests = [readers.submit(_read_and_close, browser) for browser in browsers]
        assert process.seconds_to_stop(number) < stop_seconds()
    assert [rest.result() for rest in rests] == [[] for _ in browsers]
    server.wait_for_connections(0)


def _read_and_close(browser: Browser) -> list[str]:
    names = [event.name for event in browser]
    browser.close()
    return names


@pytest.mark.parametrize("app", ["fastapi_app", "django_app"])
def test_a_closed_tab_gives_its_subscription_back_at_once(start, browse, server, kind, app):
    """The usual keep-alive is 15 s: nobody waits for it."""
    run_id = server.create_run(status="EXECUTING")
    process, port = start(kind, app)
    browser = browse(port, f"/runs/{run_id}/events")
    browser.next("run")
    server.wait_until_held(1)
    browser.close()
    eventually(lambda: server.held_polls == 0, "the run is still followed", 10)
    assert "Traceback" not in process.log


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn"], indirect=True)
def test_parts_go_on_where_they_were(start, browse, server, kind):
    """By the id of the last event."""
    run_id = server.create_run(status="EXECUTING")
    server.append(run_id, "text", *"abc")
    _, port = start(kind, "fastapi_app")
    browser = browse(port, f"/streams/{run_id}/text")
    before = browser.until(lambda events: text_of(events) == "abc")
    browser.close()
    server.append(run_id, "text", *"def")
    server.complete_run(run_id)
    again = browse(port, f"/streams/{run_id}/text", browser.last_event_id)
    assert text_of(before + list(again)) == "abcdef"


@pytest.mark.parametrize("kind", ["uvicorn"], indirect=True)
def test_the_example_shows_a_run_that_its_button_starts(browse, kind, tmp_path):
    """By the command that it names, with a server of its own; it stops at once."""
    port = free_port()
    command = ("-m", "uvicorn", "--app-dir", str(EXAMPLES / "fastapi_dashboard"), "app:app")
    process = Process(
        *python(*command, "--port", str(port)),
        env={"TRIGGER_SECRET_KEY": ""},
        log=tmp_path / "example.log",
    )
    with process:
        process.wait_for_port(port)
        page = get(port, "/")
        assert "follow(" in page
        assert "tr_dev_demo" not in page
        browser = browse(port, "/events")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/jobs", method="POST")
        with urllib.request.urlopen(request, timeout=15) as answer:
            assert answer.status == 204
        events = browser.until(lambda events: events[-1].data["isFinished"])
        assert events[-1].data["output"] == "12 pages"
        assert process.seconds_to_stop() < stop_seconds()
        assert "Traceback" not in process.log
