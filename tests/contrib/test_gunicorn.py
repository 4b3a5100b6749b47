"""Relays under gunicorn: workers of each kind fork, subscribe, are killed, and stop."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contrib.events import Event, text_of
from tests.contrib.processes import HERE, Browser, Process, free_port, get, python, stop_seconds
from tests.support.waiting import eventually
from trigger_realtime_sync.testing import RealtimeServer

pytest.importorskip("gunicorn", reason="gunicorn is not installed")
pytest.importorskip("flask", reason="Flask is not installed")

pytestmark = pytest.mark.web

KINDS = {
    "sync": ["--worker-class", "sync", "--workers", "4"],
    "sync-threads": ["--worker-class", "sync", "--threads", "16", "--workers", "2"],
    "gthread": ["--worker-class", "gthread", "--threads", "16", "--workers", "2"],
    "gevent": ["--worker-class", "gevent", "--workers", "2"],
}
WORKERS = {"sync": 4, "sync-threads": 2, "gthread": 2, "gevent": 2}

Start = Callable[..., tuple[Process, int]]
Browse = Callable[..., Browser]


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "gevent" and importlib.util.find_spec("gevent") is None:
        pytest.skip("gevent is not installed")
    return str(request.param)


@pytest.fixture
def start(tmp_path: Path, server: RealtimeServer) -> Iterator[Start]:
    with ExitStack() as stack:

        def run(kind: str, *more: str, **env: str) -> tuple[Process, int]:
            port = free_port()
            process = Process(
                *python("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *KINDS[kind], *more),
                *("--config", "gunicorn_conf.py", "--log-level", "info", "relay_app:app"),
                cwd=HERE / "apps",
                env={
                    "TRIGGER_API_URL": server.url,
                    "PATCHED": "yes" if kind == "gevent" else "",
                    **env,
                },
                log=tmp_path / "gunicorn.log",
            )
            stack.enter_context(process)
            process.wait_for_port(port)
            return process, port

        yield run


def _read_and_close(browser: Browser) -> list[Event]:
    events = list(browser)
    browser.close()
    return events


def _rests_while_it_stops(
    process: Process, browsers: list[Browser], number: int
) -> list[list[Event]]:
    """Return the browsers' last events while the server stops, which must be soon."""
    with ThreadPoolExecutor(len(browsers)) as readers:
        # As real ones do: gunicorn waits up to 2 s for a browser to close a connection that ended.
        rests = [readers.submit(_read_and_close, browser) for browser in browsers]
        assert process.seconds_to_stop(number) < stop_seconds()
    return [rest.result() for rest in rests]


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["", "preload"])
def test_browsers_share_a_subscription_per_worker_until_the_last_leaves(
    start, browse, server, kind, preload
):
    """Each browser sees the run and its changes, and closed tabs end their subscriptions."""
    run_id = server.create_run(status="EXECUTING", metadata={"n": 0})
    process, port = start(kind, *preload)
    count = 3 if kind == "sync" else 12
    browsers = [browse(port, f"/runs/{run_id}") for _ in range(count)]
    for browser in browsers:
        assert browser.next("run").data["metadata"] == {"n": 0}
    workers = len({browser.worker for browser in browsers})
    server.wait_until_held(workers)
    assert server.held_polls == workers
    server.update_run(run_id, metadata={"n": 1})
    for browser in browsers:
        assert browser.next("run").data["metadata"] == {"n": 1}

    server.wait_until_held(workers)
    for browser in browsers:
        browser.close()
    eventually(lambda: server.held_polls == 0, "an upstream poll is still held")
    server.complete_run(run_id)
    assert [event.name for event in browse(port, f"/runs/{run_id}")] == ["run", "complete"]
    assert process.seconds_to_stop() < stop_seconds()
    assert "Traceback" not in process.log


def test_a_worker_inherits_no_subscription_of_the_master(start, browse, server, kind):
    """With --preload the subscription is cancelled in the worker, whose client still works."""
    run_id = server.create_run(status="EXECUTING")
    _, port = start(kind, "--preload", RUN_OF_THE_MASTER=run_id)
    server.wait_until_held(1)
    assert get(port, "/inherited") == "CANCELLED"
    browser = browse(port, f"/runs/{run_id}")
    assert browser.next("run").data["status"] == "EXECUTING"
    server.wait_until_held(2)
    server.complete_run(run_id)
    assert [event.name for event in browser] == ["run", "complete"]


def test_a_worker_that_is_killed_is_replaced_and_its_browser_goes_on(start, browse, server, kind):
    """No part of the stream is lost or repeated by the next worker."""
    run_id = server.create_run(status="EXECUTING")
    server.append(run_id, "text", *(f"{number} " for number in range(10)))
    _, port = start(kind)
    browser = browse(port, f"/streams/{run_id}/text")
    before = browser.until(lambda events: text_of(events).endswith("9 "))
    assert browser.worker is not None
    os.kill(int(browser.worker), signal.SIGKILL)
    assert not [event for event in browser if event.name != "run"]
    server.append(run_id, "text", *(f"{number} " for number in range(10, 20)))

    again = browse(port, f"/streams/{run_id}/text", browser.last_event_id)
    assert again.worker != browser.worker
    after = again.until(lambda events: text_of(events).endswith("19 "))
    assert text_of(before + after) == "".join(f"{number} " for number in range(20))


def test_workers_stop_at_once_with_browsers_connected(start, browse, server, kind):
    """A deploy takes less than two seconds, and browsers are not sent an end of the run."""
    run_id = server.create_run(status="EXECUTING")
    process, port = start(kind)
    browsers = [browse(port, f"/runs/{run_id}") for _ in range(WORKERS[kind])]
    for browser in browsers:
        browser.next("run")
    assert _rests_while_it_stops(process, browsers, signal.SIGTERM) == [[] for _ in browsers]
    server.wait_for_connections(0)
    assert "Traceback" not in process.log
    assert "Worker exiting" in process.log


class Stalled:
    """A browser that keeps its connection and reads nothing."""

    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect(("127.0.0.1", port))
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("kind", ["gthread", "gevent"], indirect=True)
def test_workers_stop_with_browsers_that_have_stalled(start, server, kind):
    """A thread that is blocked in a write does not keep its worker for gunicorn's 30 s."""
    run_id = server.create_run(status="EXECUTING")
    process, port = start(kind, "--workers", "1")
    with ExitStack() as stack:
        for _ in range(3):
            stack.callback(Stalled(port, f"/streams/{run_id}/text").close)
        for _ in range(60):
            server.append(run_id, "text", "x" * 200_000)
        server.wait_until_held(1)
        # Each has a megabyte or so on its way, and a write that blocks.
        time.sleep(1)
        assert process.seconds_to_stop() < stop_seconds() + 2
    server.wait_for_connections(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["SIGINT", "SIGQUIT"])
def test_workers_that_may_not_wait_stop_at_once(start, browse, server, kind, number):
    """Ctrl-C: a thread that still writes to a browser does not keep its process alive."""
    run_id = server.create_run(status="EXECUTING")
    process, port = start(kind)
    browsers = [browse(port, f"/runs/{run_id}") for _ in range(WORKERS[kind])]
    for browser in browsers:
        browser.next("run")
    assert not any(_rests_while_it_stops(process, browsers, number))
    server.wait_for_connections(0)


@pytest.mark.parametrize(("last", "grace"), [("/inherited", 30), ("/runs/{}", 1)])
@pytest.mark.parametrize("kind", ["gthread", "gevent"], indirect=True)
def test_a_worker_that_has_had_its_requests_is_replaced(start, browse, server, kind, last, grace):
    """`max_requests` sends no signal: the end of the last request lets the browsers go.

    If that is a relay itself, the `graceful_timeout` does.
    """
    run_id = server.create_run(status="EXECUTING")
    options = ("--workers", "1", "--max-requests", "2", "--graceful-timeout", str(grace))
    process, port = start(kind, *options)
    browser = browse(port, f"/runs/{run_id}")
    browser.next("run")
    started = time.monotonic()
    final = browse(port, last.format(run_id))
    assert list(browser) == []
    assert time.monotonic() - started < stop_seconds() + (grace if "runs" in last else 0)
    browser.close()
    final.close()
    process.wait_for_log("Worker exiting", stop_seconds())
    assert browse(port, f"/runs/{run_id}").next("run").data["status"] == "EXECUTING"


@pytest.mark.parametrize("kind", ["gthread", "gevent"], indirect=True)
def test_a_hundred_tabs_cost_one_connection(start, browse, server, kind):
    """All browsers see each change of the run that they share, until the last is closed."""
    run_id = server.create_run(status="EXECUTING", metadata={"n": 0})
    _, port = start(kind, "--workers", "1", *(["--threads", "120"] if kind == "gthread" else []))
    tabs = [browse(port, f"/runs/{run_id}") for _ in range(100)]
    for tab in tabs:
        assert tab.next("run").data["metadata"] == {"n": 0}
    server.wait_until_held(1)
    assert server.open_connections == 1
    server.update_run(run_id, metadata={"n": 1})
    for tab in tabs:
        assert tab.next("run").data["metadata"] == {"n": 1}
    assert len({(one.path, one.query["offset"]) for one in server.requests}) == len(server.requests)
    for tab in tabs:
        tab.close()
    server.wait_for_connections(0)


def test_a_worker_that_is_told_to_stop_is_replaced(start, browse, server, kind):
    """A reload disconnects the browsers of the old workers, and new workers serve them."""
    run_id = server.create_run(status="EXECUTING")
    process, port = start(kind)
    browser = browse(port, f"/runs/{run_id}")
    browser.next("run")
    process.popen.send_signal(signal.SIGHUP)
    assert list(browser) == []

    def served_by_another() -> bool:
        again = browse(port, f"/runs/{run_id}")
        return again.worker != browser.worker and "run" in (event.name for event in again)

    # Until it has stopped, the old worker may still take a connection and let it go at once.
    eventually(served_by_another)
